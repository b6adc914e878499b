//! Any bytes as what gRPC says: a body, a message of the health service, a timeout, trailers.
#![no_main]

#[path = "../../crates/grpc/tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|input: &[u8]| laws::grpc(input));
