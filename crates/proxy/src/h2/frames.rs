//! The frames of a connection as they come: a walk from head to head over bytes that are read anyway.
//!
//! The library calls most of what is wrong a protocol error. What a caller can be told more exactly is found here before
//! the library sees it: sizes (RFC 9113, section 4.2), windows that cannot be (6.5.2), streams that are over (5.1).
//!
//! Invariants: the verdict does not depend on how bytes were split into reads; a stream counts as over by what its caller
//! said itself, so frames that crossed a reset of ours are no error. Limit: of the streams that are over the last
//! [`ENDED_MAX`] are remembered; what comes on older ones is the library's matter alone.

use h2::Reason;

/// The head of a frame (RFC 9113, section 4.1).
const HEAD: usize = 9;

/// Streams that are over and remembered: who errs so does it soon, and a search through these costs little.
const ENDED_MAX: usize = 64;

/// One setting.
const SETTING: usize = 6;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The head of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    len: usize,
    pub(super) stream: u32,
}

impl Frame {
    fn of(head: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = head;
        Self {
            kind,
            flags,
            len: usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c),
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7FFF_FFFF,
        }
    }

    /// What is wrong with its size.
    fn check_size(&self) -> Option<Reason> {
        let is_right = match self.kind {
            PRIORITY => self.len == 5,
            RST_STREAM | WINDOW_UPDATE => self.len == 4,
            PING => self.len == 8,
            SETTINGS if self.flags & ACK != 0 => self.len == 0,
            SETTINGS => self.len.is_multiple_of(SETTING),
            _ => true,
        };
        (!is_right).then_some(Reason::FRAME_SIZE_ERROR)
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Frames {
    /// The part of a frame's head that came.
    head: [u8; HEAD],
    n_head: usize,
    /// Bytes up to the next frame's head.
    skip: usize,
    /// The part of a setting that came; `None` outside of SETTINGS.
    setting: Option<([u8; SETTING], usize)>,
    /// The largest stream that the caller began.
    newest: u32,
    /// A header block is not complete: nothing but its rest may come.
    in_block: bool,
    /// Streams that their caller ended, in a ring.
    ended: [u32; ENDED_MAX],
    n_ended: usize,
}

impl Frames {
    /// For a connection that begins with `preface_len` bytes that are no frame.
    pub(super) fn new(preface_len: usize) -> Self {
        Self {
            head: [0; HEAD],
            n_head: 0,
            skip: preface_len,
            setting: None,
            newest: 0,
            in_block: false,
            ended: [0; ENDED_MAX],
            n_ended: 0,
        }
    }

    /// Looks at received bytes and shows every frame whose head they complete; the first thing that is wrong, by the
    /// frames themselves or by `look`, ends the walk: it and the number of bytes before that frame.
    pub(super) fn walk<V: From<Reason>>(
        &mut self,
        bytes: &[u8],
        mut look: impl FnMut(Frame) -> Option<V>,
    ) -> Result<(), (V, usize)> {
        let mut at = 0;
        while at < bytes.len() {
            if self.skip > 0 {
                let n = self.skip.min(bytes.len() - at);
                self.skip -= n;
                self.read_settings(&bytes[at..at + n]).map_err(|reason| (reason.into(), at))?;
                at += n;
                continue;
            }
            let n = (HEAD - self.n_head).min(bytes.len() - at);
            self.head[self.n_head..self.n_head + n].copy_from_slice(&bytes[at..at + n]);
            self.n_head += n;
            at += n;
            if self.n_head == HEAD {
                self.n_head = 0;
                let frame = Frame::of(self.head);
                self.skip = frame.len;
                self.setting = (frame.kind == SETTINGS).then_some(([0; SETTING], 0));
                let wrong = frame.check_size().or_else(|| self.follow(frame)).map(V::from);
                if let Some(wrong) = wrong.or_else(|| look(frame)) {
                    return Err((wrong, at.saturating_sub(HEAD)));
                }
            }
        }
        Ok(())
    }

    fn read_settings(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
        let Some((setting, n)) = &mut self.setting else { return Ok(()) };
        for &byte in bytes {
            setting[*n] = byte;
            *n += 1;
            if *n == SETTING {
                *n = 0;
                if setting[..2] == INITIAL_WINDOW_SIZE && setting[2] & 0x80 != 0 {
                    return Err(Reason::FLOW_CONTROL_ERROR);
                }
            }
        }
        Ok(())
    }

    /// Keeps what the caller said of its streams.
    fn follow(&mut self, frame: Frame) -> Option<Reason> {
        let was_in_block = self.in_block;
        if matches!(frame.kind, HEADERS | CONTINUATION) {
            self.in_block = frame.flags & END_HEADERS == 0;
        }
        match frame.kind {
            PUSH_PROMISE => return Some(Reason::PROTOCOL_ERROR),
            HEADERS | DATA => {
                let is_new = frame.kind == HEADERS && frame.stream > self.newest;
                self.newest = self.newest.max(frame.stream);
                if !is_new && !was_in_block && frame.stream != 0 && self.ended.contains(&frame.stream) {
                    return Some(Reason::STREAM_CLOSED);
                }
                if frame.flags & END_STREAM != 0 {
                    self.remember(frame.stream);
                }
            }
            RST_STREAM => self.remember(frame.stream),
            _ => {}
        }
        None
    }

    fn remember(&mut self, stream: u32) {
        self.ended[self.n_ended % ENDED_MAX] = stream;
        self.n_ended = self.n_ended.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
        bytes.extend_from_slice(payload);
        bytes
    }

    /// What is wrong and how many bytes came before it, however the bytes are split.
    fn verdict(frames: &[Vec<u8>]) -> Option<Reason> {
        let all = frames.concat();
        let mut verdicts = [1, 5, 1000].map(|piece| {
            let mut frames = Frames::new(0);
            all.chunks(piece)
                .find_map(|bytes| frames.walk(bytes, |_| None::<Reason>).err().map(|(reason, _)| reason))
        });
        verdicts.sort_by_key(|reason| reason.map(u32::from));
        assert_eq!(verdicts[0], verdicts[2]);
        verdicts[0]
    }

    #[test]
    fn a_frame_of_a_wrong_size_is_named_so() {
        for (kind, flags, len) in [(6, 0, 7), (4, 1, 6), (4, 0, 5), (8, 0, 3), (2, 0, 4), (3, 0, 5)] {
            let reason = verdict(&[frame(kind, flags, 0, &vec![0; len])]);
            assert_eq!(reason, Some(Reason::FRAME_SIZE_ERROR), "{kind}");
        }
        let right =
            [frame(6, 0, 0, &[0; 8]), frame(4, 1, 0, &[]), frame(4, 0, 0, &[0; 12]), frame(77, 0, 0, &[1])];
        assert_eq!(verdict(&right), None);
    }

    #[test]
    fn a_window_past_its_maximum_is_an_error_of_flow_control() {
        assert_eq!(verdict(&[frame(4, 0, 0, &[0, 3, 0xFF, 0, 0, 0, 0, 4, 0x7F, 0xFF, 0xFF, 0xFF])]), None);
        let too_much = frame(4, 0, 0, &[0, 3, 0, 0, 0, 1, 0, 4, 0x80, 0, 0, 0]);
        assert_eq!(verdict(&[too_much]), Some(Reason::FLOW_CONTROL_ERROR));
    }

    #[test]
    fn nothing_may_follow_on_a_stream_that_its_caller_ended() {
        for end in [frame(1, 5, 1, b"x"), [frame(1, 4, 1, b"x"), frame(0, 1, 1, b"x")].concat()] {
            for late in [frame(1, 5, 1, b"x"), frame(0, 0, 1, b"x")] {
                assert_eq!(verdict(&[end.clone(), late]), Some(Reason::STREAM_CLOSED));
            }
            assert_eq!(verdict(&[end, frame(3, 0, 1, &[0; 4]), frame(8, 0, 1, &[0; 4])]), None);
        }
        let reset = [frame(1, 4, 1, b"x"), frame(3, 0, 1, &[0; 4]), frame(0, 0, 1, b"x")];
        assert_eq!(verdict(&reset), Some(Reason::STREAM_CLOSED));
        let trailers =
            [frame(1, 4, 1, b"x"), frame(0, 0, 1, b"x"), frame(1, 5, 1, b"x"), frame(1, 5, 3, b"x")];
        assert_eq!(verdict(&trailers), None);
    }

    #[test]
    fn the_bytes_before_what_is_wrong_are_counted() {
        let all = [frame(6, 0, 0, &[0; 8]), frame(6, 0, 0, &[0; 7])].concat();
        assert_eq!(Frames::new(0).walk(&all, |_| None::<Reason>), Err((Reason::FRAME_SIZE_ERROR, 17)));
        let mut frames = Frames::new(0);
        assert_eq!(frames.walk(&all[..20], |_| None::<Reason>), Ok(()));
        assert_eq!(frames.walk(&all[20..], |_| None::<Reason>), Err((Reason::FRAME_SIZE_ERROR, 0)));
    }
}
