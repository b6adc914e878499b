//! What is loaded from settings and files, and handshakes between it and others, all in memory.
#![allow(clippy::unwrap_used, reason = "tests")]

mod callers;
mod endpoints;
mod files;
mod world;
