//! How early a verdict is reached, and that the search for the end of a head resumes where it stopped.

use isobar_http1::{HeadLimits, HeadProgress, Method, Reject, RequestHead, ResponseHead};

const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, target_bytes: 512, n_headers: 100 };

/// How many bytes of `input`, offered one more at a time, it takes to be refused.
fn refused_after(input: &[u8]) -> Option<(usize, Reject)> {
    let mut head = RequestHead::new();
    let mut progress = HeadProgress::default();
    for len in 1..=input.len() {
        match head.parse(&input[..len], &mut progress, &LIMITS) {
            Ok(None) => {}
            Ok(Some(_)) => return None,
            Err(reject) => return Some((len, reject)),
        }
    }
    None
}

#[test]
fn a_wrong_byte_is_refused_when_it_arrives() {
    let target_limit = "GET ".len() + LIMITS.target_bytes + 1;
    let cases: [(&[u8], usize, Reject); 16] = [
        (b"\x16\x03\x01\x00", 1, Reject::BadMethod),
        (b"get / HTTP/1.1\r\n", 1, Reject::BadMethod),
        (b"\0", 1, Reject::BadMethod),
        (b"\n", 1, Reject::BareLf),
        (b"\rX", 2, Reject::BareCr),
        (b"GET\n", 4, Reject::BareLf),
        (b"PRI * HTTP/2.0\r\n", 12, Reject::UnsupportedVersion),
        (b"GET /\r\n", 6, Reject::BadVersion),
        (b"GET /\x80 HTTP/1.1", 6, Reject::BadTarget),
        (b"GET / HTTP/1.1\n", 15, Reject::BareLf),
        (b"GET / HTTP/1.1\rX", 16, Reject::BareCr),
        (b"GET / HTTP/1.1\r\n X: y", 17, Reject::ObsFold),
        (b"GET / HTTP/1.1\r\nX : y", 18, Reject::SpaceBeforeColon),
        (b"GET / HTTP/1.1\r\nX\r\n", 18, Reject::BadHeaderName),
        (b"GET / HTTP/1.1\r\nX: \0", 20, Reject::NulByte),
        (b"GET / HTTP/1.1\r\nX: y\n", 21, Reject::BareLf),
    ];
    for (input, len, reject) in cases {
        assert_eq!(refused_after(input), Some((len, reject)), "{}", input.escape_ascii());
    }
    assert_eq!(
        refused_after(format!("GET /{}", "a".repeat(9000)).as_bytes()),
        Some((target_limit, Reject::TargetTooLong))
    );
    assert_eq!(
        refused_after(format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(9000)).as_bytes()),
        Some((LIMITS.head_bytes, Reject::HeadTooLarge))
    );
    let many = format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(LIMITS.n_headers + 1));
    assert_eq!(refused_after(many.as_bytes()), Some((16 + 6 * LIMITS.n_headers + 1, Reject::TooManyHeaders)));
}

#[test]
fn bytes_judged_once_are_not_looked_at_again() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\nX: yyyyyyyy";
    let mut head = RequestHead::new();
    let mut progress = HeadProgress::default();
    assert_eq!(head.parse(input, &mut progress, &LIMITS), Ok(None));
    // Were they judged again, these would be refused as a wrong method.
    let mut forgotten = vec![0; input.len()];
    forgotten.extend_from_slice(b"zzzz");
    assert_eq!(head.parse(&forgotten, &mut progress, &LIMITS), Ok(None));
}

#[test]
fn a_response_awaits_its_end_too() {
    let input = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 ";
    let mut head = ResponseHead::new();
    let mut progress = HeadProgress::default();
    let complete = input.len() - "HTTP/1.1 ".len();
    for len in 0..complete {
        assert_eq!(head.parse(&input[..len], &mut progress, &LIMITS, Method::Get), Ok(None), "{len}");
    }
    assert_eq!(head.parse(input, &mut progress, &LIMITS, Method::Get), Ok(Some(complete)));
}

#[test]
fn a_limit_of_nothing_refuses_everything() {
    let none = HeadLimits { head_bytes: 0, target_bytes: 0, n_headers: 0 };
    let result = RequestHead::new().parse(b"GET / HTTP/1.1\r\n\r\n", &mut HeadProgress::default(), &none);
    assert_eq!(result, Err(Reject::HeadTooLarge));
}
