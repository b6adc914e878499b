//! A stream of responses, to GET and to HEAD, whole and in pieces.
#![no_main]

#[path = "../../crates/http1/tests/laws/mod.rs"]
mod laws;
#[path = "../../crates/http1/tests/models/mod.rs"]
mod models;
#[path = "../../crates/http1/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| laws::response(input));
