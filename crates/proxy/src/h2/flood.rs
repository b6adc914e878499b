//! Counts the frames of a connection that cost work and carry no request, and tells when there are too many.
//!
//! The codec bounds what it must remember: CONTINUATION frames, mistakes that it has to answer, what waits to be sent. What
//! it answers or forgets at once it takes without end; that is counted here, frame by frame.
//!
//! Invariant: the count of one second never outlives the next. Limit: rates, not proportions, so a caller stays below them
//! for as long as it likes.

use std::time::Duration;

use isobar_core::Instant;
use isobar_http2::{FrameHead, flag, kind};

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

/// Empty frames of DATA in a window that do not end their message: nobody has a reason for more than a few.
const EMPTY_MAX: u32 = 200;

/// Requests after which the clock is looked at, where nothing but requests comes.
const REQUESTS_PER_LOOK: u32 = 64;

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
    /// CONTINUATION without end, empty DATA, one mistake after the other.
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

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Meter {
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
    empty: u32,
    idle: u32,
    bytes_sent: u64,
}

impl Meter {
    /// Counts bytes that were sent.
    pub(super) fn sent(&mut self, n: usize) {
        self.now.bytes_sent += n as u64;
    }

    /// Counts a frame that came: why the connection must end, if it must. `clock` is asked only where it matters.
    pub(super) fn received(&mut self, frame: FrameHead, clock: impl Fn() -> Instant) -> Option<CloseReason> {
        match frame.kind {
            kind::DATA if frame.len > 0 || frame.has(flag::END_STREAM) => return None,
            kind::CONTINUATION => return None,
            kind::HEADERS => {
                self.now.requests += 1;
                self.newest = self.newest.max(frame.stream);
                if self.now.requests.is_multiple_of(REQUESTS_PER_LOOK) {
                    self.turn(clock());
                }
                return None;
            }
            _ => {}
        }
        self.turn(clock());
        match frame.kind {
            kind::DATA => {
                self.now.empty += 1;
                (self.now.empty > EMPTY_MAX).then_some(CloseReason::OtherFlood)
            }
            kind::SETTINGS | kind::PING if !frame.has(flag::ACK) => {
                self.now.answered += 1;
                let too_many = self.now.answered > ANSWERED_MAX && self.is_beyond_measure(self.now.answered);
                too_many.then_some(CloseReason::PingFlood)
            }
            kind::RST_STREAM if frame.stream <= self.newest_at[0] => None,
            kind::RST_STREAM => {
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

    /// Begins another window where it is time to.
    fn turn(&mut self, now: Instant) {
        if now.since(self.window_began) >= WINDOW {
            self.before = self.now;
            self.now = Counts::default();
            self.window_began = now;
            self.newest_at = [self.newest_at[1], self.newest];
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

    fn frame(kind: u8, flags: u8, len: usize) -> FrameHead {
        on_stream(0, kind, flags, len)
    }

    fn on_stream(stream: u32, kind: u8, flags: u8, len: usize) -> FrameHead {
        FrameHead { kind, flags, stream, len }
    }

    fn received(meter: &mut Meter, frames: &[FrameHead], now: u64) -> Option<CloseReason> {
        frames.iter().find_map(|frame| meter.received(*frame, || Instant(now)))
    }

    fn verdict(frames: &[FrameHead]) -> Option<CloseReason> {
        received(&mut Meter::default(), frames, 5)
    }

    #[test]
    fn one_frame_more_than_its_kind_may_is_a_flood() {
        let floods = [
            (frame(6, 0, 8), ANSWERED_MAX, CloseReason::PingFlood),
            (frame(4, 0, 6), ANSWERED_MAX, CloseReason::PingFlood),
            (on_stream(1, 3, 0, 4), RESETS_MAX, CloseReason::ResetFlood),
            (on_stream(1, 0, 0, 0), EMPTY_MAX, CloseReason::OtherFlood),
            (frame(2, 0, 5), IDLE_MAX, CloseReason::IdleFlood),
        ];
        for (frame, max, close) in floods {
            let frames = vec![frame; max as usize + 1];
            assert_eq!(verdict(&frames), Some(close));
            assert_eq!(verdict(&frames[1..]), None, "{close:?}");
        }
    }

    #[test]
    fn requests_data_and_acknowledgements_are_no_flood() {
        let frames: Vec<_> = (0..5000_u32)
            .map(|n| match n % 3 {
                0 => on_stream(n * 2 + 1, 1, 4, 20),
                1 => on_stream(n * 2 - 1, 0, 1, 600),
                _ => frame(6, 1, 8),
            })
            .collect();
        // Acknowledgements that nobody asked for are counted with what says nothing.
        assert_eq!(verdict(&frames[..3000]), None);
    }

    #[test]
    fn resets_of_less_than_half_of_the_requests_are_no_flood() {
        let frames: Vec<_> = (0..9000_u32)
            .map(|n| if n % 3 == 2 { frame(3, 0, 4) } else { on_stream(n * 2 + 1, 1, 5, 9) })
            .collect();
        assert_eq!(verdict(&frames), None);
    }

    #[test]
    fn windows_that_are_updated_for_each_request_are_no_flood() {
        let frames: Vec<_> = (0..9000_u32)
            .map(|n| if n % 3 == 0 { on_stream(n * 2 + 1, 1, 5, 9) } else { frame(8, 0, 4) })
            .collect();
        assert_eq!(verdict(&frames), None);
        let updates: Vec<_> = frames.into_iter().filter(|frame| frame.kind == 8).collect();
        assert_eq!(verdict(&updates), Some(CloseReason::IdleFlood));
    }

    #[test]
    fn a_ping_for_each_request_is_no_flood() {
        let frames: Vec<_> = (0..9000_u32)
            .map(|n| if n % 2 == 0 { on_stream(n + 1, 1, 5, 9) } else { frame(6, 0, 8) })
            .collect();
        assert_eq!(verdict(&frames), None);
    }

    #[test]
    fn resets_of_requests_that_were_waited_for_are_no_flood() {
        let close = |n_seconds: u64| {
            let mut meter = Meter::default();
            let n = RESETS_MAX + 1;
            let opened: Vec<_> = (0..n).map(|n| on_stream(n * 2 + 1, 1, 5, 9)).collect();
            assert_eq!(received(&mut meter, &opened, 0), None);
            for second in 1..=n_seconds {
                assert_eq!(received(&mut meter, &[frame(6, 0, 8)], second * WINDOW.as_nanos() as u64), None);
            }
            let resets: Vec<_> = (0..n).map(|n| on_stream(n * 2 + 1, 3, 0, 4)).collect();
            received(&mut meter, &resets, n_seconds * WINDOW.as_nanos() as u64 + 1)
        };
        assert_eq!(close(1), Some(CloseReason::ResetFlood), "not yet a second old for sure");
        assert_eq!(close(2), None);
    }

    #[test]
    fn what_was_counted_in_one_second_is_gone_in_the_next() {
        let mut meter = Meter::default();
        for second in 0..5 {
            for _ in 0..ANSWERED_MAX {
                assert_eq!(
                    received(&mut meter, &[frame(6, 0, 8)], second * WINDOW.as_nanos() as u64 + 1),
                    None
                );
            }
        }
    }
}
