//! Any bytes to a connection of HTTP/2, in any pieces and under any schedule.
#![no_main]

#[path = "../../crates/http2/tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|input: &[u8]| laws::connection::connection(input));
