//! The access log: workers format lines into batches, one thread writes them.
//!
//! Invariants: a worker never waits for the log; a batch that does not fit into the queue and lines that the disk
//! refuses are counted as lost. Limits: lines of a process that is killed are lost up to one batch a worker.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use isobar_config::LogTarget;

/// Batches that wait for the writer: at 32 KiB each, 8 MiB at most.
const QUEUE_MAX: usize = 256;

/// A batch is handed over when it is this long, or when the worker's housekeeping comes by.
const BATCH_BYTES: usize = 32 * 1024;

enum Message {
    Batch { bytes: Vec<u8>, n_lines: u64 },
    Reopen,
    Stop,
}

/// The sending side; each worker has a batch of its own.
#[derive(Clone)]
pub(crate) struct LogQueue {
    queue: SyncSender<Message>,
}

/// The thread that writes.
pub(crate) struct LogWriter {
    queue: SyncSender<Message>,
    thread: JoinHandle<()>,
    lost: Arc<AtomicU64>,
}

impl LogWriter {
    /// Opens the target and starts the thread.
    pub(crate) fn start(target: &LogTarget) -> io::Result<Self> {
        let sink = Sink::open(target)?;
        let (queue, batches) = sync_channel(QUEUE_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_batches(&batches, sink, &counter))?;
        Ok(Self { queue, thread, lost })
    }

    pub(crate) fn queue(&self) -> LogQueue {
        LogQueue { queue: self.queue.clone() }
    }

    /// Lines that the target refused.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Opens the file again by its name, for log rotation.
    pub(crate) fn reopen(&self) {
        if self.queue.send(Message::Reopen).is_err() {
            tracing::error!("the access log's thread is gone");
        }
    }

    /// Writes what was handed over and ends.
    pub(crate) fn stop(self) {
        if self.queue.send(Message::Stop).is_err() || self.thread.join().is_err() {
            tracing::error!("the access log's thread ended early; its last lines are lost");
        }
    }
}

fn write_batches(batches: &Receiver<Message>, mut sink: Sink, lost: &AtomicU64) {
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
            Message::Reopen => {
                if let Err(error) = sink.reopen() {
                    tracing::warn!(%error, "the access log could not be reopened; the old file stays in use");
                }
            }
            Message::Stop => return,
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

/// Lines of one worker that are not handed over yet.
pub(crate) struct LogBatch {
    queue: LogQueue,
    bytes: Vec<u8>,
    n_lines: u64,
}

impl LogBatch {
    pub(crate) fn new(queue: LogQueue) -> Self {
        Self { queue, bytes: Vec::with_capacity(BATCH_BYTES), n_lines: 0 }
    }

    /// Appends a line made by `write`; returns the number of lines lost.
    pub(crate) fn line(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        write(&mut self.bytes);
        self.bytes.push(b'\n');
        self.n_lines += 1;
        if self.bytes.len() >= BATCH_BYTES { self.flush() } else { 0 }
    }

    /// Hands the lines over; returns the number of lines lost because the writer is behind.
    pub(crate) fn flush(&mut self) -> u64 {
        if self.n_lines == 0 {
            return 0;
        }
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(BATCH_BYTES));
        let n_lines = std::mem::take(&mut self.n_lines);
        match self.queue.queue.try_send(Message::Batch { bytes, n_lines }) {
            Ok(()) => 0,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => n_lines,
        }
    }
}
