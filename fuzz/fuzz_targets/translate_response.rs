//! An answer of HTTP/2, to the text of HTTP/1.1 and back.
#![no_main]

#[path = "../../crates/http2/tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drop(laws::translation::response(input)));
