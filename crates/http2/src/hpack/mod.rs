//! HPACK (RFC 7541): the fields of a head to a block of bytes and back.
//!
//! Each direction of a connection has a [`Decoder`] at one end and an [`Encoder`] at the other, whose dynamic tables
//! must stay in step: every block is decoded, whole and in order, whatever becomes of the message it belongs to.
//!
//! # What always holds
//! - Decoding takes time linear in the bytes of the block and the bytes that are shown. How many bytes may be shown is
//!   the caller's bound: a block of n bytes can show n times the table's size.
//! - Nothing is allocated before the first literal field, and no field has an allocation of its own.
//! - A decoder keeps less than 11 KiB between blocks where the table is 4096 bytes, an encoder less than 18 KiB, and
//!   both far less while their tables hold only the fields of ordinary heads.
//!
//! # Limits
//! Names and values are bytes: whether they may stand in a message is the caller's business. A field is shown without
//! its representation, so that one which came as never indexed is encoded again by the encoder's own rule.

mod decoder;
mod digest;
mod dynamic_table;
mod encoder;
mod error;
mod huffman;
mod integer;
mod known_name;
mod static_table;

pub use decoder::Decoder;
pub use encoder::{Encoder, TABLE_MAX};
pub use error::HpackError;

/// The size of a dynamic table before anything was said about it, in bytes as RFC 7541 section 4.1 counts them.
pub const TABLE_DEFAULT: usize = 4096;
