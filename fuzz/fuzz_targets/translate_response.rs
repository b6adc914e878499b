//! A response of HTTP/2, to the text of HTTP/1.1 and back.
#![no_main]
#![allow(dead_code, reason = "each target uses one direction of what they share")]

#[path = "../../crates/proxy/src/h2/translate_laws.rs"]
mod laws;
#[path = "../../crates/proxy/src/h2/translate.rs"]
mod translate;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drop(laws::response(input)));
