//! The status that every call ends with.
//!
//! Invariant: what is no status of gRPC is [`Status::Unknown`], as clients take it.

/// How a call ended; the numbers are those of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names of the protocol")]
pub enum Status {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// Every status with its name, in the order of their numbers.
const NAMED: [(Status, &str); 17] = [
    (Status::Ok, "ok"),
    (Status::Cancelled, "cancelled"),
    (Status::Unknown, "unknown"),
    (Status::InvalidArgument, "invalid-argument"),
    (Status::DeadlineExceeded, "deadline-exceeded"),
    (Status::NotFound, "not-found"),
    (Status::AlreadyExists, "already-exists"),
    (Status::PermissionDenied, "permission-denied"),
    (Status::ResourceExhausted, "resource-exhausted"),
    (Status::FailedPrecondition, "failed-precondition"),
    (Status::Aborted, "aborted"),
    (Status::OutOfRange, "out-of-range"),
    (Status::Unimplemented, "unimplemented"),
    (Status::Internal, "internal"),
    (Status::Unavailable, "unavailable"),
    (Status::DataLoss, "data-loss"),
    (Status::Unauthenticated, "unauthenticated"),
];

impl Status {
    /// How many there are.
    pub const N: usize = NAMED.len();

    /// Every status, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMED.into_iter().map(|(status, _)| status)
    }

    /// Its name in configuration, log and metrics.
    pub fn name(self) -> &'static str {
        NAMED[self as usize].1
    }

    /// Its number, as text.
    pub fn number(self) -> &'static str {
        const NUMBERS: [&str; NAMED.len()] =
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];
        NUMBERS[self as usize]
    }

    /// The status that a `grpc-status` of this value means.
    pub fn parse(value: &[u8]) -> Self {
        let number = match value {
            [unit @ b'0'..=b'9'] => usize::from(unit - b'0'),
            [ten @ b'0'..=b'9', unit @ b'0'..=b'9'] => {
                usize::from(ten - b'0') * 10 + usize::from(unit - b'0')
            }
            _ => return Self::Unknown,
        };
        NAMED.get(number).map_or(Self::Unknown, |(status, _)| *status)
    }

    /// The status that a trailer section says, in complete lines `name: value\r\n`; `None` where it says none.
    pub fn of_trailers(lines: &[u8]) -> Option<Self> {
        lines.split(|&byte| byte == b'\n').find_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            name.eq_ignore_ascii_case(b"grpc-status").then(|| Self::parse(value))
        })
    }

    /// Whether it speaks against the endpoint that gave it rather than of the call or of whoever made it.
    ///
    /// A call that its caller cancelled, that is not allowed, that asks for what is not there or over a quota would fare
    /// alike at any endpoint, so these are answers like any other.
    pub fn blames_endpoint(self) -> bool {
        matches!(
            self,
            Self::Unknown | Self::DeadlineExceeded | Self::Internal | Self::Unavailable | Self::DataLoss
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_stand_at_their_number_and_are_read_as_they_are_written() {
        for (number, status) in Status::all().enumerate() {
            assert_eq!(status as usize, number);
            assert_eq!(status.number(), number.to_string());
            assert_eq!(Status::parse(status.number().as_bytes()), status);
        }
    }

    #[test]
    fn what_is_no_status_is_unknown() {
        for value in ["", "17", "99", "-1", "+1", " 1", "1 ", "0x1", "100", "ok", "\u{661}"] {
            assert_eq!(Status::parse(value.as_bytes()), Status::Unknown, "{value}");
        }
    }

    #[test]
    fn a_trailer_section_says_its_status_wherever_it_stands() {
        let lines = b"x-a: 1\r\nGrpc-Status:  5\r\ngrpc-message: grpc-status: 0\r\n";
        assert_eq!(Status::of_trailers(lines), Some(Status::NotFound));
        assert_eq!(Status::of_trailers(b""), None);
        assert_eq!(Status::of_trailers(b"grpc-message: grpc-status: 0\r\nno line"), None);
    }
}
