//! The harness of the end-to-end tests: starts the built binary and its peers.
