//! A chunked body and what follows it, against the naive decoder.
#![no_main]

#[path = "../../crates/http1/tests/laws/mod.rs"]
mod laws;
#[path = "../../crates/http1/tests/models/mod.rs"]
mod models;
#[path = "../../crates/http1/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| laws::chunked(input));
