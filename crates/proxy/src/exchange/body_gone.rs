//! Whether a request's body can be skipped without waiting, so that a refused request need not cost its connection.

use isobar_http1::{BodyDecoder, BodyStep};

use crate::scratch::Scratch;

/// Where the request's message ends in the `down` buffer, if all of it is there already and nothing was consumed.
pub(super) fn end_of_buffered_body(scratch: &Scratch, head_len: usize) -> Option<usize> {
    let mut decoder = BodyDecoder::new(scratch.request.framing);
    let mut at = head_len;
    loop {
        match decoder.decode(scratch.down.filled().get(at..)?) {
            Ok(BodyStep::Data { end, .. }) => at += end,
            Ok(BodyStep::Done { consumed }) => return Some(at + consumed),
            Ok(BodyStep::NeedMore { .. }) | Err(_) => return None,
        }
    }
}
