//! Everything that can be wrong with a message: one variant per rule, and what each means to caller and operator.
//!
//! The table below is the whole list. `name` is stable (logs, metrics, documentation and the test corpora use it).

use std::fmt;

/// What kind of answer a broken rule deserves. The status itself is chosen by the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectKind {
    /// 400: malformed or ambiguous.
    BadRequest,
    /// 431: the head or the trailer section is over its bound.
    HeadTooLarge,
    /// 414: the request target is over its bound.
    TargetTooLong,
    /// 501: well-formed, but nothing that is understood here.
    NotImplemented,
    /// 505: a major version other than 1.
    VersionNotSupported,
}

macro_rules! rejects {
    ($($variant:ident $kind:ident $name:literal $reason:literal,)+) => {
        /// The rule that a message broke. Of a request it becomes an answer, of a response a 502; the connection
        /// is of no further use either way, because where the next message starts is not known.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reject {
            $(#[doc = $reason] $variant,)+
        }

        impl Reject {
            /// Every rule, in the order of this list.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The kind of answer this deserves.
            pub fn kind(self) -> RejectKind {
                match self {
                    $(Self::$variant => RejectKind::$kind,)+
                }
            }

            /// A stable name in kebab-case.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// One sentence for the operator.
            pub fn reason(self) -> &'static str {
                match self {
                    $(Self::$variant => $reason,)+
                }
            }
        }
    };
}

rejects! {
    // Start lines.
    BadRequestLine BadRequest "bad-request-line"
        "The request line is not a method, a target and a version with single spaces between them.",
    BadMethod BadRequest "bad-method"
        "The method is not a short token that starts with a capital letter.",
    BadTarget BadRequest "bad-target"
        "The request target has none of the allowed forms, or a byte that has no place in one.",
    BadVersion BadRequest "bad-version"
        "The protocol version is missing or not of the form HTTP/1.1.",
    UnsupportedVersion VersionNotSupported "unsupported-version"
        "The major version of the protocol is not 1.",
    TargetTooLong TargetTooLong "target-too-long"
        "The request target is longer than the listener's limit.",
    ConnectNotAllowed NotImplemented "connect-not-allowed"
        "CONNECT would make this an open tunnel and is not offered.",
    BadStatusLine BadRequest "bad-status-line"
        "The status line is not a version, a status from 100 to 999 and a reason with single spaces between them.",
    // Lines.
    BareCr BadRequest "bare-cr"
        "A carriage return stands without its line feed.",
    BareLf BadRequest "bare-lf"
        "A line feed stands without its carriage return.",
    NulByte BadRequest "nul-byte"
        "The head contains a NUL byte.",
    ObsFold BadRequest "obs-fold"
        "A header line starts with white space (obsolete line folding).",
    SpaceBeforeColon BadRequest "space-before-colon"
        "There is white space in a field name or between it and its colon.",
    BadHeaderName BadRequest "bad-header-name"
        "A field name is empty, lacks its colon, or is not a token.",
    LookalikeHeaderName BadRequest "lookalike-header-name"
        "A field name is that of a framing field but for its hyphens.",
    BadHeaderValue BadRequest "bad-header-value"
        "A field value contains a control byte.",
    HeadTooLarge HeadTooLarge "head-too-large"
        "The head is larger than the limit.",
    TooManyHeaders HeadTooLarge "too-many-headers"
        "The head has more fields than the limit.",
    // Framing.
    LengthAndCoding BadRequest "length-and-coding"
        "Both Content-Length and Transfer-Encoding are present.",
    BadLength BadRequest "bad-length"
        "A Content-Length is not one plain decimal number below 2^63.",
    DifferingLengths BadRequest "differing-lengths"
        "Several Content-Length fields differ.",
    BadCoding BadRequest "bad-coding"
        "A Transfer-Encoding is empty, repeats chunked, or is not a list of plain coding names.",
    CodingNotChunkedLast BadRequest "coding-not-chunked-last"
        "The last transfer coding is not chunked.",
    CodingInHttp10 BadRequest "coding-in-http10"
        "A message of HTTP/1.0 has a Transfer-Encoding.",
    UnknownCoding NotImplemented "unknown-coding"
        "A transfer coding other than chunked is applied.",
    BadConnection BadRequest "bad-connection"
        "A Connection field is not a short list of option names.",
    ConnectionNamesFraming BadRequest "connection-names-framing"
        "Connection names a field that decides where the message ends or where it goes.",
    BadExpect BadRequest "bad-expect"
        "An Expect field asks for something other than 100-continue.",
    // Routing.
    NoHost BadRequest "no-host"
        "A request of HTTP/1.1 has no Host.",
    RepeatedHost BadRequest "repeated-host"
        "There is more than one Host field.",
    BadHost BadRequest "bad-host"
        "The Host is not a host name or address with an optional port.",
    HostDiffersFromTarget BadRequest "host-differs-from-target"
        "The Host is not that of the absolute request target.",
    EncodedSlash BadRequest "encoded-slash"
        "The path contains an encoded slash.",
    EncodedBackslash BadRequest "encoded-backslash"
        "The path contains a backslash, plain or encoded.",
    EncodedNul BadRequest "encoded-nul"
        "The path contains an encoded NUL.",
    // Bodies.
    BadChunkSize BadRequest "bad-chunk-size"
        "A chunk size is not a plain hexadecimal number.",
    ChunkSizeOverflow BadRequest "chunk-size-overflow"
        "A chunk size has more than 16 digits or is not below 2^63.",
    BadChunkExtension BadRequest "bad-chunk-extension"
        "A chunk extension is malformed.",
    ChunkExtensionTooLong BadRequest "chunk-extension-too-long"
        "The chunk extensions are out of proportion to the payload.",
    BadChunkEnd BadRequest "bad-chunk-end"
        "The payload of a chunk is not followed by a line end.",
    TrailersTooLarge HeadTooLarge "trailers-too-large"
        "The trailer section is larger than its bound.",
    Truncated BadRequest "truncated"
        "The connection ended before the message did.",
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Reject {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_spelled_like_their_variants() {
        let mut names: Vec<&str> = Reject::ALL.iter().map(|reject| reject.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reject::ALL.len());
        for reject in Reject::ALL {
            let joined: String = reject.name().split('-').collect();
            assert_eq!(joined, format!("{reject:?}").to_lowercase());
            assert!(reject.to_string().ends_with('.'), "{reject:?}");
        }
    }
}
