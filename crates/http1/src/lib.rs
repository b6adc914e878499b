//! HTTP/1.1 as a codec without I/O.
