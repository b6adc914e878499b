//! Counts the frames of a connection that cost work and carry no request, and tells when there are too many.
//!
//! The library bounds what it must remember: CONTINUATION frames, small and empty DATA, resets of streams that were not
//! taken yet, errors that it has to answer. What it answers or forgets at once it takes without end; that is counted
//! here, on the frames as they come ([`Frames`]).
//!
//! Invariants: a frame is counted once, however its bytes were split into reads; the count of one second never outlives
//! the next. Limit: rates, not proportions, so a caller stays below them for as long as it likes.

use std::time::Duration;

use h2::Reason;
use isobar_core::Instant;

use super::frames::{ACK, CONTINUATION, DATA, Frame, Frames, HEADERS, PING, RST_STREAM, SETTINGS};

/// Over this time frames are counted together.
const WINDOW: Duration = Duration::from_secs(1);

/// PING and SETTINGS in a window, beyond which they must be fewer than a number for what was asked and sent: each makes us
/// send an answer. Libraries that measure the path by PING do so ten times a second, or for each answer that comes.
const ANSWERED_MAX: u32 = 200;

/// `RST_STREAM` of young streams in a window, beyond which they must be fewer than half of the requests. A page that is left cancels what it
/// has open, at most a hundred or so; who cancels everything that it asks for is not in want of answers.
const RESETS_MAX: u32 = 200;

/// PRIORITY, unknown frames and `WINDOW_UPDATE` in a window, beyond which they must be fewer than a number for what was
/// asked and sent: cheap to take, but not free.
const IDLE_MAX: u32 = 2_000;

/// A caller may send one such frame for each of these bytes sent to it: a frame with a short message of gRPC, and more than
/// the answer to a PING.
const BYTES_PER_FRAME: u64 = 32;

/// The same for each request: clients of gRPC speak of the windows of the stream and of the connection before and after each
/// short answer, and measure the path.
const FRAMES_PER_REQUEST: u64 = 4;

/// Why a connection was closed before its caller did, as a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CloseReason {
    /// Too many PING or SETTINGS.
    PingFlood,
    /// Requests that their caller resets at once.
    ResetFlood,
    /// Frames that say nothing.
    IdleFlood,
    /// The library's own bounds: CONTINUATION, small or empty DATA, resets and errors.
    OtherFlood,
    /// What came is not HTTP/2.
    ProtocolError,
    /// The peer took nothing or said nothing in time.
    Timeout,
}

impl CloseReason {
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::PingFlood, "ping-flood"),
        (Self::ResetFlood, "reset-flood"),
        (Self::IdleFlood, "idle-flood"),
        (Self::OtherFlood, "other-flood"),
        (Self::ProtocolError, "protocol-error"),
        (Self::Timeout, "timeout"),
    ];
}

/// Why a connection must end, and what its caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) close: CloseReason,
    pub(super) reason: Reason,
}

impl From<Reason> for Verdict {
    fn from(reason: Reason) -> Self {
        Self { close: CloseReason::ProtocolError, reason }
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Meter {
    frames: Frames,
    rates: Rates,
}

#[derive(Debug, Default)]
struct Rates {
    window_began: Instant,
    now: Counts,
    before: Counts,
    newest: u32,
    /// What `newest` was when the window before and the present one began: streams up to the first are older than a
    /// window, and their resets are those of callers that waited, as for a deadline.
    newest_at: [u32; 2],
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    requests: u32,
    answered: u32,
    resets: u32,
    idle: u32,
    bytes_sent: u64,
}

impl Meter {
    /// For a connection that begins with `preface_len` bytes that are no frame.
    pub(super) fn new(preface_len: usize) -> Self {
        Self { frames: Frames::new(preface_len), rates: Rates::default() }
    }

    /// Counts bytes that were sent.
    pub(super) fn sent(&mut self, n: usize) {
        self.rates.now.bytes_sent += n as u64;
    }

    /// Looks at received bytes; an error is why the connection must end, and how many bytes came before that.
    /// `clock` is asked only where a frame is counted.
    pub(super) fn received(
        &mut self,
        bytes: &[u8],
        clock: impl Fn() -> Instant,
    ) -> Result<(), (Verdict, usize)> {
        let Self { frames, rates } = self;
        frames.walk(bytes, |frame| {
            let close = rates.count(frame, &clock)?;
            Some(Verdict { close, reason: Reason::ENHANCE_YOUR_CALM })
        })
    }
}

impl Rates {
    fn count(&mut self, frame: Frame, clock: &impl Fn() -> Instant) -> Option<CloseReason> {
        match frame.kind {
            DATA | CONTINUATION => return None,
            HEADERS => {
                self.now.requests += 1;
                self.newest = self.newest.max(frame.stream);
                return None;
            }
            _ => {}
        }
        let now = clock();
        if now.since(self.window_began) >= WINDOW {
            self.before = self.now;
            self.now = Counts::default();
            self.window_began = now;
            self.newest_at = [self.newest_at[1], self.newest];
        }
        match frame.kind {
            SETTINGS | PING if frame.flags & ACK == 0 => {
                self.now.answered += 1;
                let too_many = self.now.answered > ANSWERED_MAX && self.is_beyond_measure(self.now.answered);
                too_many.then_some(CloseReason::PingFlood)
            }
            RST_STREAM if frame.stream <= self.newest_at[0] => None,
            RST_STREAM => {
                self.now.resets += 1;
                let requests = self.now.requests + self.before.requests;
                let too_many = self.now.resets > RESETS_MAX && self.now.resets > requests / 2;
                too_many.then_some(CloseReason::ResetFlood)
            }
            _ => {
                self.now.idle += 1;
                let too_many = self.now.idle > IDLE_MAX && self.is_beyond_measure(self.now.idle);
                too_many.then_some(CloseReason::IdleFlood)
            }
        }
    }

    /// Whether so many frames are more than what was asked and sent explains.
    fn is_beyond_measure(&self, n: u32) -> bool {
        let sent = (self.now.bytes_sent + self.before.bytes_sent) / BYTES_PER_FRAME;
        let asked = u64::from(self.now.requests + self.before.requests) * FRAMES_PER_REQUEST;
        u64::from(n) > sent + asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, len: usize) -> Vec<u8> {
        on_stream(0, kind, flags, len)
    }

    fn on_stream(stream: u16, kind: u8, flags: u8, len: usize) -> Vec<u8> {
        let [s0, s1] = stream.to_be_bytes();
        let mut bytes = vec![0, (len >> 8) as u8, len as u8, kind, flags, 0, 0, s0, s1];
        bytes.resize(bytes.len() + len, 0xFF);
        bytes
    }

    fn verdict(frames: &[Vec<u8>], piece: usize) -> Option<CloseReason> {
        let mut meter = Meter::new(3);
        let all = [b"PRI".to_vec(), frames.concat()].concat();
        all.chunks(piece)
            .find_map(|bytes| meter.received(bytes, || Instant(5)).err().map(|(verdict, _)| verdict.close))
    }

    #[test]
    fn the_verdict_does_not_depend_on_how_bytes_were_split() {
        let pings = vec![frame(6, 0, 8); ANSWERED_MAX as usize + 1];
        let resets = vec![on_stream(1, 3, 0, 4); RESETS_MAX as usize + 1];
        let priorities = vec![frame(2, 0, 5); IDLE_MAX as usize + 1];
        for piece in [1, 7, 8192] {
            assert_eq!(verdict(&pings, piece), Some(CloseReason::PingFlood));
            assert_eq!(verdict(&pings[1..], piece), None);
            assert_eq!(verdict(&resets, piece), Some(CloseReason::ResetFlood));
            assert_eq!(verdict(&priorities, piece), Some(CloseReason::IdleFlood));
        }
    }

    #[test]
    fn requests_data_and_acknowledgements_are_no_flood() {
        let frames: Vec<_> = (0..5000_u16)
            .map(|n| match n % 3 {
                0 => on_stream(n * 2 + 1, 1, 4, 20),
                1 => on_stream(n * 2 - 1, 0, 1, 600),
                _ => frame(6, 1, 8),
            })
            .collect();
        // Acknowledgements that nobody asked for are counted with what says nothing.
        assert_eq!(verdict(&frames[..3000], 4096), None);
    }

    #[test]
    fn resets_of_less_than_half_of_the_requests_are_no_flood() {
        let frames: Vec<_> = (0..9000_u16)
            .map(|n| if n % 3 == 2 { frame(3, 0, 4) } else { on_stream(n * 2 + 1, 1, 5, 9) })
            .collect();
        assert_eq!(verdict(&frames, 1000), None);
    }

    #[test]
    fn windows_that_are_updated_for_each_request_are_no_flood() {
        let frames: Vec<_> = (0..9000_u16)
            .map(|n| if n % 3 == 0 { on_stream(n * 2 + 1, 1, 5, 9) } else { frame(8, 0, 4) })
            .collect();
        assert_eq!(verdict(&frames, 1000), None);
        let updates: Vec<_> = frames.into_iter().filter(|frame| frame[3] == 8).collect();
        assert_eq!(verdict(&updates, 1000), Some(CloseReason::IdleFlood));
    }

    #[test]
    fn a_ping_for_each_request_is_no_flood() {
        let frames: Vec<_> = (0..9000_u16)
            .map(|n| if n % 2 == 0 { on_stream(n + 1, 1, 5, 9) } else { frame(6, 0, 8) })
            .collect();
        assert_eq!(verdict(&frames, 1000), None);
    }

    #[test]
    fn resets_of_requests_that_were_waited_for_are_no_flood() {
        let close = |n_seconds: u64| {
            let mut meter = Meter::new(0);
            let n = RESETS_MAX as u16 + 1;
            let opened: Vec<u8> = (0..n).flat_map(|n| on_stream(n * 2 + 1, 1, 5, 9)).collect();
            assert_eq!(meter.received(&opened, || Instant(0)), Ok(()));
            for second in 1..=n_seconds {
                let now = Instant(second * WINDOW.as_nanos() as u64);
                assert_eq!(meter.received(&frame(6, 0, 8), || now), Ok(()));
            }
            let resets: Vec<u8> = (0..n).flat_map(|n| on_stream(n * 2 + 1, 3, 0, 4)).collect();
            let now = Instant(n_seconds * WINDOW.as_nanos() as u64 + 1);
            meter.received(&resets, || now).err().map(|(verdict, _)| verdict.close)
        };
        assert_eq!(close(1), Some(CloseReason::ResetFlood), "not yet a second old for sure");
        assert_eq!(close(2), None);
    }

    #[test]
    fn what_was_counted_in_one_second_is_gone_in_the_next() {
        let mut meter = Meter::new(0);
        for second in 0..5 {
            let now = Instant(second * WINDOW.as_nanos() as u64 + 1);
            for _ in 0..ANSWERED_MAX {
                assert_eq!(meter.received(&frame(6, 0, 8), || now), Ok(()));
            }
        }
    }
}
