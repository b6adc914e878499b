//! The handshake of WebSocket over HTTP/1.1 (RFC 6455, section 4), for the side of a tunnel that HTTP/2 leaves out.
//!
//! Over HTTP/2 (RFC 8441) neither key nor proof of it exist. Where the one protocol meets the other the proxy makes the key
//! that an endpoint of HTTP/1.1 wants, looks at the proof, and gives the proof that a caller of HTTP/1.1 wants.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64ct::{Base64, Encoding as _};
use isobar_core::Draw;
use isobar_http1::{HeaderId, RequestHead};

/// The protocol's name in `upgrade` and `:protocol`.
pub(crate) const NAME: &str = "websocket";

/// What the key is joined with before it is hashed (RFC 6455, section 1.3).
const PROOF_OF_KNOWING: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The text of a key: 16 bytes.
pub(crate) type Key = [u8; 24];

/// The text of its proof: 20 bytes.
pub(crate) type Proof = [u8; 28];

/// A key that no other handshake of this worker had; it keeps caches from taking an old answer for one to it, no more.
pub(crate) fn draw_key(draw: &mut Draw) -> Key {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&draw.next_u64().to_le_bytes());
    bytes[8..].copy_from_slice(&draw.next_u64().to_le_bytes());
    encode(&bytes)
}

/// The caller's key where a request asks for a WebSocket.
pub(crate) fn key<'a>(request: &RequestHead, head: &'a [u8]) -> Option<&'a [u8]> {
    let is_asked = request.upgrade.is_some_and(|name| name.of(head).eq_ignore_ascii_case(NAME.as_bytes()));
    request.find(HeaderId::SecWebSocketKey, head).filter(|_| is_asked)
}

/// What a server that speaks WebSocket answers to this key.
pub(crate) fn prove(key: &[u8]) -> Proof {
    encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, PROOF_OF_KNOWING].concat()).as_ref())
}

fn encode<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut text = [0; N];
    let encoded = Base64::encode(bytes, &mut text);
    debug_assert!(encoded.is_ok_and(|encoded| encoded.len() == N), "the sizes of the types above fit");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_that_of_the_rfc_s_example() {
        assert_eq!(&prove(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn keys_are_16_bytes_and_differ() {
        let mut draw = Draw::new(1);
        let (one, other) = (draw_key(&mut draw), draw_key(&mut draw));
        assert_ne!(one, other);
        let mut bytes = [0; 16];
        assert!(Base64::decode(one, &mut bytes).is_ok_and(|bytes| bytes.len() == 16));
    }
}
