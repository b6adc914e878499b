//! One end of a conversation: its connection, and the tasks that hold its streams.

use isobar_http2::{Broken, Connection, Key, Read, WriteError};

use crate::message::Written;
use crate::wire::noise::Noise;

/// How an exchange ended for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Both messages came as they were written.
    Whole,
    Broken,
    /// The server did not begin with it, and never will.
    Unprocessed,
}

/// Who holds a stream.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one stream")]
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) key: Key,
    /// The exchange that it is part of.
    pub(crate) exchange: usize,
    out: Written,
    n_out: usize,
    is_finished: bool,
    pub(crate) came: Vec<u8>,
    /// Nobody has told it to wait.
    pub(crate) may_read: bool,
    pub(crate) may_write: bool,
    pub(crate) is_read: bool,
    pub(crate) broken: Option<Broken>,
}

impl Task {
    pub(crate) fn new(key: Key, exchange: usize, out: Written) -> Self {
        Self {
            key,
            exchange,
            out,
            n_out: 0,
            is_finished: false,
            came: Vec::new(),
            may_read: true,
            may_write: true,
            is_read: false,
            broken: None,
        }
    }

    /// Reads once; whether that was of use.
    pub(crate) fn read(&mut self, connection: &mut Connection, len: usize) -> bool {
        if !self.may_read || self.is_read || self.broken.is_some() {
            return false;
        }
        let mut buffer = vec![0; len];
        match connection.read(self.key, &mut buffer) {
            Read::Bytes(n) => self.came.extend_from_slice(&buffer[..n]),
            Read::End => self.is_read = true,
            Read::Broken(broken) => self.broken = Some(broken),
            Read::Blocked => self.may_read = false,
        }
        self.may_read
    }

    /// Everything was taken, and the end said where the text does not.
    fn is_written(&self) -> bool {
        self.n_out == self.out.text.len() && (self.is_finished || !self.out.ends_with_stream)
    }

    /// Writes once, in two slices; whether that was of use.
    pub(crate) fn write(&mut self, connection: &mut Connection, noise: &mut Noise, len: usize) -> bool {
        if !self.may_write || self.broken.is_some() || self.is_written() {
            return false;
        }
        let rest = &self.out.text[self.n_out..];
        if rest.is_empty() {
            connection.finish(self.key);
            self.broken = connection.broken(self.key);
            self.is_finished = true;
            return true;
        }
        let part = &rest[..(1 + noise.below(len)).min(rest.len())];
        let (first, second) = part.split_at(noise.below(part.len() + 1));
        match connection.write(self.key, first, second) {
            Ok(0) => self.may_write = false,
            Ok(n) => self.n_out += n,
            Err(WriteError::Broken(broken)) => self.broken = Some(broken),
            Err(WriteError::Invalid(why)) => panic!("{why}: {:?}", String::from_utf8_lossy(rest)),
        }
        self.may_write
    }

    /// It read everything, and everything that it wrote is sent.
    pub(crate) fn is_over(&self, connection: &Connection) -> bool {
        let is_over = self.is_read && self.is_written();
        assert!(!is_over || connection.is_sent(self.key), "the end of what was written is sent");
        is_over
    }
}

/// A connection, and bytes on their way to it.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) tasks: Vec<Task>,
    pub(crate) coming: Vec<u8>,
    /// What was moved out of the connection last was a whole frame.
    pub(crate) is_at_frame: bool,
    /// The windows that it gives its peer's streams.
    pub(crate) window: u32,
    /// They were changed to something less.
    pub(crate) is_narrow: bool,
}

impl End {
    pub(crate) fn new(connection: Connection, window: u32) -> Self {
        let (tasks, coming) = (Vec::new(), Vec::new());
        Self { connection, tasks, coming, is_at_frame: false, window, is_narrow: false }
    }

    /// Tells those that may act again.
    pub(crate) fn wake(&mut self) {
        let tasks = &mut self.tasks;
        self.connection.take_touched(|key| {
            for task in tasks.iter_mut().filter(|task| task.key == key) {
                (task.may_read, task.may_write) = (true, true);
            }
        });
    }

    /// Moves up to `n` bytes out; whether there were any.
    pub(crate) fn send(&mut self, n: usize, to: &mut Vec<u8>) -> bool {
        let output = self.connection.output();
        let n = n.min(output.len());
        if n == 0 {
            return false;
        }
        self.is_at_frame = n == output.len();
        to.extend_from_slice(&output[..n]);
        self.connection.sent(n);
        self.wake();
        true
    }

    /// Takes up to `n` bytes that came; whether there were any.
    pub(crate) fn receive(&mut self, n: usize) -> bool {
        let n = n.min(self.coming.len());
        if n == 0 || self.connection.is_stuffed() {
            return false;
        }
        let bytes: Vec<u8> = self.coming.drain(..n).collect();
        self.connection.receive(&bytes, |_| Ok(()));
        self.wake();
        true
    }

    /// Gives a stream back.
    pub(crate) fn release(&mut self, place: usize) -> Task {
        let task = self.tasks.swap_remove(place);
        self.connection.release(task.key);
        self.wake();
        task
    }
}
