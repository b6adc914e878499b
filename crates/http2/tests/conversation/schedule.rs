//! The order in which everybody acts, drawn from a seed.

use std::collections::BTreeSet;

use isobar_http2::{Bounds, Connection, Read, Reason};

use crate::end::{End, Outcome, Task};
use crate::message::{self, Asked, Written};
use crate::wire::noise::Noise;
use crate::wire::{self, WINDOW};

/// Things that are done in a conversation, at most: far more than any takes.
const STEPS_MAX: usize = 3_000_000;

/// Things done in vain before everything is looked through for what is left to do.
const VAIN_MAX: usize = 60;

/// What happens besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incident {
    None,
    /// Either side resets streams, or gives them back early.
    Resets,
    /// The server says goodbye.
    Leave,
    /// The socket is gone.
    Lost,
    /// The server ends the connection.
    Failed,
}

/// A request and its answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    request: Written,
    asked: Asked,
    response: Written,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) was_reset: bool,
    is_open: bool,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Conversation {
    client: End,
    server: End,
    pub(crate) exchanges: Vec<Exchange>,
    /// Requests that the server began with.
    pub(crate) taken: BTreeSet<usize>,
    incident: Incident,
    has_happened: bool,
    /// Bytes that travel, are read or are written at once, at most.
    piece_max: usize,
    noise: Noise,
}

impl Conversation {
    fn new(seed: u64, incident: Incident) -> Self {
        let mut noise = Noise::new(seed);
        let mut bounds = || {
            let window = noise.pick(&[WINDOW, WINDOW, 100_001, 1 << 20]);
            let bounds = Bounds {
                streams_max: 1 + noise.below(8) as u32,
                stream_window: window,
                connection_window: noise.pick(&[WINDOW, window.max(80_000), 4 << 20]),
                head_bytes: 1 << 20,
                continuations_max: 64,
                ..wire::BOUNDS
            };
            (bounds, window)
        };
        let ((of_server, server_window), (of_client, client_window)) = (bounds(), bounds());
        let n = 1 + noise.below(12);
        let exchanges = (0..n).map(|n| {
            let (request, asked) = message::request(&mut noise, n);
            let response = message::response(&mut noise, asked);
            Exchange { request, asked, response, outcome: None, was_reset: false, is_open: false }
        });
        Self {
            exchanges: exchanges.collect(),
            client: End::new(Connection::client(of_client, false), client_window),
            server: End::new(Connection::server(of_server, false), server_window),
            taken: BTreeSet::new(),
            incident,
            has_happened: incident == Incident::None,
            piece_max: noise.pick(&[60, 1000, 20_000, 100_000]),
            noise,
        }
    }

    /// A conversation to its end.
    pub(crate) fn run(seed: u64, incident: Incident) -> Self {
        let mut this = Self::new(seed, incident);
        let mut n_vain = 0;
        for _ in 0..STEPS_MAX {
            n_vain = if this.step() { 0 } else { n_vain + 1 };
            if n_vain > VAIN_MAX {
                n_vain = 0;
                if !this.sweep() && !this.unblock() {
                    this.conclude();
                    return this;
                }
            }
        }
        panic!("it goes on and on: {this:?}");
    }

    /// Nothing is left to do: everything must be over.
    fn conclude(&self) {
        for (n, exchange) in self.exchanges.iter().enumerate() {
            assert!(exchange.outcome.is_some(), "exchange {n} stands still: {self:?}");
        }
        assert_eq!((self.client.connection.n_streams(), self.server.connection.n_streams()), (0, 0));
        let ends = (self.client.connection.end(), self.server.connection.end());
        let expected = match self.incident {
            Incident::None | Incident::Resets | Incident::Leave => (None, None),
            Incident::Lost => (Some(Reason::NO_ERROR), Some(Reason::NO_ERROR)),
            Incident::Failed => (Some(Reason::NO_ERROR), Some(Reason::INTERNAL_ERROR)),
        };
        assert_eq!(ends, expected, "windows are kept, and everything else");
    }

    pub(crate) fn has_left(&self) -> bool {
        self.server.connection.has_left()
    }

    /// One thing that somebody may do; whether it was of use.
    fn step(&mut self) -> bool {
        let len = 1 + self.noise.below(self.piece_max);
        match self.noise.below(12) {
            0 | 1 => self.client.send(len, &mut self.server.coming),
            2 | 3 => self.server.send(len, &mut self.client.coming),
            4 => self.client.receive(len),
            5 => self.server.receive(len) | self.accept(),
            6 => self.open(),
            7 if self.noise.one_in(20) => self.narrow(),
            7 if self.noise.one_in(40) => self.happen(),
            choice => {
                let is_client = choice.is_multiple_of(2);
                let end = if is_client { &self.client } else { &self.server };
                if end.tasks.is_empty() {
                    return false;
                }
                let place = self.noise.below(end.tasks.len());
                self.act(is_client, place, len)
            }
        }
    }

    /// Everything that may be done, once.
    fn sweep(&mut self) -> bool {
        let mut is_of_use = self.client.send(usize::MAX, &mut self.server.coming);
        is_of_use |= self.server.send(usize::MAX, &mut self.client.coming);
        is_of_use |= self.client.receive(usize::MAX);
        is_of_use |= self.server.receive(usize::MAX) | self.accept() | self.open();
        for is_client in [true, false] {
            let end = if is_client { &self.client } else { &self.server };
            for place in (0..end.tasks.len()).rev() {
                is_of_use |= self.act(is_client, place, self.piece_max);
            }
        }
        is_of_use
    }

    /// What keeps a conversation that has not ended from going on by rights.
    fn unblock(&mut self) -> bool {
        if !self.has_happened {
            return self.happen();
        }
        let mut is_of_use =
            widen(&mut self.client, &mut self.server) | widen(&mut self.server, &mut self.client);
        if self.server.connection.end().is_some() && self.client.connection.end().is_none() {
            // What the server said last was received: the socket is closed.
            self.client.connection.lost();
            self.client.wake();
            is_of_use = true;
        }
        is_of_use
    }

    /// Changes the windows of one side's streams, to something less or back to what they were.
    fn narrow(&mut self) -> bool {
        let is_client = self.noise.one_in(2);
        let (end, to) = if is_client {
            (&mut self.client, &mut self.server)
        } else {
            (&mut self.server, &mut self.client)
        };
        if !end.is_at_frame || !end.connection.is_greeted() {
            return false;
        }
        end.is_narrow = !end.is_narrow;
        let window = if end.is_narrow { self.noise.pick(&[0, 1, 300, 5000, WINDOW - 1]) } else { end.window };
        to.coming.extend(wire::settings(&[(4, window)]));
        true
    }

    fn happen(&mut self) -> bool {
        if self.has_happened && self.incident != Incident::Resets {
            return false;
        }
        self.has_happened = true;
        match self.incident {
            Incident::None => {}
            Incident::Resets => self.reset(),
            Incident::Leave => self.server.connection.leave(),
            Incident::Failed => self.server.connection.fail(Reason::INTERNAL_ERROR),
            Incident::Lost => {
                self.client.connection.lost();
                self.server.connection.lost();
            }
        }
        if self.incident == Incident::Lost {
            (self.client.coming, self.server.coming) = (Vec::new(), Vec::new());
        }
        self.client.wake();
        self.server.wake();
        true
    }

    fn reset(&mut self) {
        let end = if self.noise.one_in(2) { &mut self.client } else { &mut self.server };
        if end.tasks.is_empty() {
            return;
        }
        let place = self.noise.below(end.tasks.len());
        let task = &end.tasks[place];
        self.exchanges[task.exchange].was_reset = true;
        let reason = self.noise.pick(&[Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR]);
        end.connection.reset(task.key, reason);
        // Who resets a stream looks at it again himself.
        let task = &mut end.tasks[place];
        (task.may_read, task.may_write) = (true, true);
    }

    // The client.

    fn open(&mut self) -> bool {
        let due: Vec<_> = (0..self.exchanges.len())
            .filter(|&n| !self.exchanges[n].is_open && self.exchanges[n].outcome.is_none())
            .collect();
        let connection = &mut self.client.connection;
        if due.is_empty() || !connection.is_greeted() && connection.end().is_none() {
            return false;
        }
        let n = self.noise.pick(&due);
        let exchange = &mut self.exchanges[n];
        if !connection.is_open() {
            exchange.outcome = Some(Outcome::Unprocessed);
            return true;
        }
        let Some(key) = connection.open() else { return false };
        exchange.is_open = true;
        self.client.tasks.push(Task::new(key, n, exchange.request.clone()));
        true
    }

    fn act(&mut self, is_client: bool, place: usize, len: usize) -> bool {
        let end = if is_client { &mut self.client } else { &mut self.server };
        let (task, connection) = (&mut end.tasks[place], &mut end.connection);
        let mut is_of_use = task.write(connection, &mut self.noise, len);
        if is_client && let Some(asked) = connection.take_asked(task.key) {
            assert_eq!(asked, b"dGhlIHNhbXBsZSBub25jZQ==");
            connection.prove(task.key, [b'p'; 28]);
        }
        is_of_use |= task.read(connection, len);
        if task.broken.is_some() || task.is_over(connection) {
            let task = end.release(place);
            if is_client {
                self.end_of_client(&task);
            } else {
                self.end_of_server(&task);
            }
            return true;
        }
        is_of_use
    }

    fn end_of_client(&mut self, task: &Task) {
        let exchange = &mut self.exchanges[task.exchange];
        exchange.is_open = false;
        match task.broken {
            Some(broken) if broken.is_unprocessed => {
                // It is tried again, as whoever meets a bound does.
                assert!(!self.taken.contains(&task.exchange), "it was begun with");
            }
            Some(_) => exchange.outcome = Some(Outcome::Broken),
            None => {
                let came = message::read_response(&task.came, exchange.asked);
                assert_eq!(came, exchange.response.message, "what is read is what was written");
                exchange.outcome = Some(Outcome::Whole);
            }
        }
    }

    // The server.

    fn accept(&mut self) -> bool {
        let Some((key, asks)) = self.server.connection.accept() else { return false };
        if asks {
            self.server.connection.fill_in_key(key, [b'k'; 24]);
        }
        // A head is complete before its request is offered.
        let mut came = vec![0; 100];
        let read = self.server.connection.read(key, &mut came);
        let Read::Bytes(n) = read else { panic!("no head: {read:?}") };
        came.truncate(n);
        let n = message::number(&came).expect("the first line");
        assert!(self.taken.insert(n), "no request is made twice");
        let exchange = &self.exchanges[n];
        assert_eq!(asks, exchange.asked == Asked::Tunnel);
        let mut task = Task::new(key, n, exchange.response.clone());
        task.came = came;
        self.server.tasks.push(task);
        true
    }

    fn end_of_server(&mut self, task: &Task) {
        if task.broken.is_none() {
            let came = message::read_request(&task.came);
            assert_eq!(
                came, self.exchanges[task.exchange].request.message,
                "what is read is what was written"
            );
        }
    }
}

/// Gives the windows of one side's streams back what was taken from them.
fn widen(end: &mut End, to: &mut End) -> bool {
    let was_narrow = std::mem::take(&mut end.is_narrow);
    if was_narrow {
        to.coming.extend(wire::settings(&[(4, end.window)]));
    }
    was_narrow
}
