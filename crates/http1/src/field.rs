//! One field line of a parsed head.

use crate::{HeaderId, Span};

/// A field line: where its name and value are, what its name means, and whether it may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name as it was spelled.
    pub name: Span,
    /// The value without the white space around it; may be empty.
    pub value: Span,
    /// What the name means here.
    pub id: HeaderId,
    /// Never forwarded: meant for one connection by its nature or by a `Connection` option, ours, or a repetition that
    /// the receiver could misread (a second identical `Content-Length`).
    pub hop_by_hop: bool,
}

impl Field {
    #[inline]
    pub(crate) fn new(buf: &[u8], name: Span, value: Span) -> Self {
        let id = HeaderId::of(name.of(buf));
        Self { name, value, id, hop_by_hop: id.is_hop_by_hop() }
    }
}

/// The first value of `id` among `fields`.
pub(crate) fn find<'a>(fields: &[Field], id: HeaderId, buf: &'a [u8]) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.id == id).map(|field| field.value.of(buf))
}

/// Every value of `id` among `fields`, in order.
pub(crate) fn named<'a>(
    fields: &'a [Field],
    id: HeaderId,
    buf: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    fields.iter().filter(move |field| field.id == id).map(|field| field.value.of(buf))
}
