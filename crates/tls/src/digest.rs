//! Fingerprints: SHA-256 over parts.
//!
//! Invariant: each part has its length in front, so no two lists of parts look alike.

use aws_lc_rs::digest::{Context, SHA256};

/// Bytes of a fingerprint.
const BYTES: usize = 32;

/// What two things have in common where they were made of the same parts.
pub(crate) type Fingerprint = [u8; BYTES];

/// A fingerprint in the making.
pub(crate) struct Digest(Context);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn add(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    pub(crate) fn finish(self) -> Fingerprint {
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(self.0.finish().as_ref());
        bytes
    }
}
