//! The access log: workers format lines into batches, one thread writes them.
//!
//! A new configuration may name another target: the new one is opened before anything changes, and the old one's
//! thread ends when the last batch that leads to it is gone, after it wrote what it was handed.
//!
//! Invariants: a worker never waits for the log; a batch that does not fit into the queue and lines that the disk
//! refuses are counted as lost. Limits: lines of a process that is killed are lost up to one batch a worker.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use isobar_config::LogTarget;

use crate::metrics::Counter;

/// Batches that wait for the writer: at 32 KiB each, 8 MiB at most.
const QUEUE_MAX: usize = 256;

/// A batch is handed over when it is this long, or when the worker's housekeeping comes by.
const BATCH_BYTES: usize = 32 * 1024;

/// The access log's target cannot be written.
#[derive(Debug, thiserror::Error)]
#[error(
    "the access log {target} cannot be opened: {source}; check `access_log.to` and its folder's permissions"
)]
pub struct LogError {
    target: String,
    source: io::Error,
}

/// How often a stop looks whether the last lines are written.
const JOIN_STEP: Duration = Duration::from_millis(2);

enum Message {
    Batch {
        bytes: Vec<u8>,
        n_lines: u64,
    },
    /// There is something else to do than to write.
    Wake,
}

/// The sending side; each worker has a batch of its own.
#[derive(Clone)]
pub(crate) struct LogQueue {
    queue: SyncSender<Message>,
    /// The file is to be opened again.
    reopen: Arc<AtomicBool>,
}

impl LogQueue {
    /// Opens the file again by its name, for log rotation.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Relaxed);
        // Where the queue is full the batches in it wake the thread; waiting for room would hold up every other signal.
        if let Err(TrySendError::Disconnected(_)) = self.queue.try_send(Message::Wake) {
            tracing::error!("the access log's thread is gone");
        }
    }
}

/// The thread that writes to one target, for as long as a queue leads to it.
pub(crate) struct LogWriter {
    pub(crate) target: LogTarget,
    pub(crate) queue: LogQueue,
    thread: JoinHandle<()>,
}

impl LogWriter {
    /// Opens the target and starts the thread; `lost` counts the lines that the target refuses.
    pub(crate) fn start(target: &LogTarget, lost: &Arc<AtomicU64>) -> Result<Self, LogError> {
        Self::open(target, Arc::clone(lost)).map_err(|source| {
            let target = match target {
                LogTarget::Stdout => "stdout".to_owned(),
                LogTarget::File(path) => path.display().to_string(),
            };
            LogError { target, source }
        })
    }

    fn open(target: &LogTarget, lost: Arc<AtomicU64>) -> io::Result<Self> {
        let sink = Sink::open(target)?;
        let (queue, batches) = sync_channel(QUEUE_MAX);
        let reopen = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&reopen);
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_batches(&batches, sink, &lost, &asked))?;
        Ok(Self { target: target.clone(), queue: LogQueue { queue, reopen }, thread })
    }

    /// Gives the control side's queue up: the thread ends when the workers' are gone.
    pub(crate) fn retire(self) -> RetiredLog {
        RetiredLog(self.thread)
    }
}

/// A writer on its way to its end.
pub(crate) struct RetiredLog(JoinHandle<()>);

impl RetiredLog {
    pub(crate) fn has_ended(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits until everything is written, or until `end`; every queue that leads to it must be gone.
    pub(crate) fn join(self, end: Instant) {
        while !self.has_ended() {
            if Instant::now() >= end {
                tracing::warn!("the access log's target takes nothing: its last lines are lost");
                return;
            }
            std::thread::sleep(JOIN_STEP);
        }
        if self.0.join().is_err() {
            tracing::error!("the access log's thread ended early; its last lines are lost");
        }
    }
}

fn write_batches(batches: &Receiver<Message>, mut sink: Sink, lost: &AtomicU64, reopen: &AtomicBool) {
    let mut failing = false;
    for message in batches {
        match message {
            Message::Batch { bytes, n_lines } => match sink.write(&bytes) {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!(lost = lost.load(Relaxed), "the access log is written again");
                }
                Ok(()) => {}
                Err(error) => {
                    lost.fetch_add(n_lines, Relaxed);
                    if !failing {
                        tracing::warn!(%error, "access log lines are lost; see isobar_access_log_lines_lost_total");
                    }
                    failing = true;
                }
            },
            Message::Wake => {}
        }
        if reopen.swap(false, Relaxed)
            && let Err(error) = sink.reopen()
        {
            tracing::warn!(%error, "the access log could not be reopened; the old file stays in use");
        }
    }
}

enum Sink {
    Stdout(io::Stdout),
    File {
        path: PathBuf,
        file: File,
        /// The last write ended inside a line.
        torn: bool,
    },
}

impl Sink {
    fn open(target: &LogTarget) -> io::Result<Self> {
        Ok(match target {
            LogTarget::Stdout => Self::Stdout(io::stdout()),
            LogTarget::File(path) => Self::File { path: path.clone(), file: append_to(path)?, torn: false },
        })
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File { path, file, .. } = self {
            *file = append_to(path)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => {
                let mut locked = stdout.lock();
                locked.write_all(bytes)?;
                locked.flush()
            }
            Self::File { file, torn, .. } => {
                if *torn {
                    file.write_all(b"\n")?;
                }
                let written = file.write_all(bytes);
                *torn = written.is_err();
                written
            }
        }
    }
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Lines of one worker that are not handed over yet; dropping this hands over the last.
pub(crate) struct LogBatch {
    queue: LogQueue,
    lines: RefCell<Lines>,
    /// Lines that are lost because the writer is behind.
    lost: Arc<Counter>,
    /// The configuration goes on with another log, and nobody comes by to hand over what this one holds.
    retired: Cell<bool>,
}

struct Lines {
    bytes: Vec<u8>,
    n: u64,
}

impl LogBatch {
    /// `lost` belongs to the worker that writes the lines.
    pub(crate) fn new(queue: LogQueue, lost: Arc<Counter>) -> Self {
        let lines = Lines { bytes: Vec::with_capacity(BATCH_BYTES), n: 0 };
        Self { queue, lines: RefCell::new(lines), lost, retired: Cell::new(false) }
    }

    /// Appends a line made by `write`.
    pub(crate) fn line(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut lines = self.lines.borrow_mut();
        write(&mut lines.bytes);
        lines.bytes.push(b'\n');
        lines.n += 1;
        if lines.bytes.len() >= BATCH_BYTES || self.retired.get() {
            self.hand_over(&mut lines);
        }
    }

    /// Hands over what there is.
    pub(crate) fn flush(&self) {
        self.hand_over(&mut self.lines.borrow_mut());
    }

    /// Hands over what there is, and each later line at once.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        self.flush();
    }

    fn hand_over(&self, lines: &mut Lines) {
        if lines.n == 0 {
            return;
        }
        let bytes = std::mem::replace(&mut lines.bytes, Vec::with_capacity(BATCH_BYTES));
        let n_lines = std::mem::take(&mut lines.n);
        let sent = self.queue.queue.try_send(Message::Batch { bytes, n_lines });
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = sent {
            self.lost.add(n_lines);
        }
    }
}

impl Drop for LogBatch {
    fn drop(&mut self) {
        self.flush();
    }
}
