//! Any bytes as the blocks of one connection, against a decoder that is written to be read, and back by our encoder.
#![no_main]
#![allow(dead_code, reason = "the tests use more of what they share")]

#[path = "../../crates/http2/tests/hpack/laws.rs"]
mod laws;
#[path = "../../crates/http2/tests/hpack/models/mod.rs"]
mod models;

libfuzzer_sys::fuzz_target!(|input: &[u8]| laws::hpack(input));
