//! What the body decoder says about bytes.

use isobar_http1::{BodyDecoder, BodyStep, CHUNK_HEAD_MAX, Framing, Reject, chunk_head};

/// The steps that decoding `input` takes when all of it is there.
fn steps(framing: Framing, input: &[u8]) -> Result<Vec<BodyStep>, Reject> {
    let mut decoder = BodyDecoder::new(framing);
    let mut rest = input;
    let mut steps = Vec::new();
    loop {
        let step = decoder.decode(rest)?;
        steps.push(step);
        match step {
            BodyStep::Data { end, .. } => rest = &rest[end..],
            BodyStep::NeedMore { .. } | BodyStep::Done { .. } => return Ok(steps),
        }
    }
}

fn trailers(section: &str) -> String {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let input = format!("0\r\n{section}\r\n");
    assert_eq!(decoder.decode(input.as_bytes()), Ok(BodyStep::Done { consumed: input.len() }), "{section}");
    String::from_utf8(decoder.trailers().to_vec()).unwrap()
}

#[test]
fn no_body_is_done_at_once() {
    for framing in [Framing::None, Framing::Length(0)] {
        let mut decoder = BodyDecoder::new(framing);
        assert!(decoder.is_done());
        assert_eq!(decoder.decode(b"GET /"), Ok(BodyStep::Done { consumed: 0 }));
        assert_eq!(decoder.end_of_stream(), Ok(()));
    }
}

#[test]
fn a_length_takes_what_it_says_and_nothing_behind() {
    let expected = [BodyStep::Data { start: 0, end: 3 }, BodyStep::Done { consumed: 0 }];
    assert_eq!(steps(Framing::Length(3), b"abcdef"), Ok(expected.to_vec()));
    let mut decoder = BodyDecoder::new(Framing::Length(3));
    assert_eq!(decoder.decode(b""), Ok(BodyStep::NeedMore { consumed: 0 }));
    assert_eq!(decoder.decode(b"a"), Ok(BodyStep::Data { start: 0, end: 1 }));
    assert!(!decoder.is_done());
    assert_eq!(decoder.end_of_stream(), Err(Reject::Truncated));
    assert_eq!(decoder.decode(b"bc"), Ok(BodyStep::Data { start: 0, end: 2 }));
    assert!(decoder.is_done());
}

#[test]
fn until_close_ends_with_the_stream() {
    let mut decoder = BodyDecoder::new(Framing::UntilClose);
    assert_eq!(decoder.decode(b"abc"), Ok(BodyStep::Data { start: 0, end: 3 }));
    assert_eq!(decoder.decode(b""), Ok(BodyStep::NeedMore { consumed: 0 }));
    assert!(!decoder.is_done());
    assert_eq!(decoder.end_of_stream(), Ok(()));
    assert!(decoder.is_done());
}

#[test]
fn one_step_takes_all_framing_before_the_payload() {
    let input = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: y\r\n\r\nmore";
    let expected = [
        BodyStep::Data { start: 3, end: 6 },
        BodyStep::Data { start: 9, end: 11 },
        BodyStep::Done { consumed: "\r\n0\r\nX: y\r\n\r\n".len() },
    ];
    assert_eq!(steps(Framing::Chunked, input), Ok(expected.to_vec()));
}

#[test]
fn payload_of_a_chunk_is_given_as_it_comes() {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    assert_eq!(decoder.decode(b"5"), Ok(BodyStep::NeedMore { consumed: 1 }));
    assert_eq!(decoder.decode(b"\r\nhe"), Ok(BodyStep::Data { start: 2, end: 4 }));
    assert_eq!(decoder.decode(b"llo\r"), Ok(BodyStep::Data { start: 0, end: 3 }));
    assert_eq!(decoder.decode(b"\r"), Ok(BodyStep::NeedMore { consumed: 1 }));
    assert_eq!(decoder.decode(b"\n0\r\n\r"), Ok(BodyStep::NeedMore { consumed: 5 }));
    assert_eq!(decoder.end_of_stream(), Err(Reject::Truncated));
    assert_eq!(decoder.decode(b"\nX"), Ok(BodyStep::Done { consumed: 1 }));
    assert_eq!(decoder.decode(b"X"), Ok(BodyStep::Done { consumed: 0 }));
}

#[test]
fn trailers_are_kept_as_plain_lines() {
    assert_eq!(trailers(""), "");
    assert_eq!(
        trailers("X-Sum:1\r\nGrpc-Status: \t 0 \t\r\nEmpty:\r\n"),
        "X-Sum: 1\r\nGrpc-Status: 0\r\nEmpty: \r\n"
    );
}

#[test]
fn trailers_that_come_too_late_to_matter_are_dropped() {
    let names = [
        "Content-Length",
        "Transfer-Encoding",
        "Host",
        "Connection",
        "Trailer",
        "TE",
        "Upgrade",
        "Authorization",
        "Set-Cookie",
        "Cookie",
        "Content-Encoding",
        "Content-Type",
        "Content-Range",
        "Expect",
        "Max-Forwards",
        "Cache-Control",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Anything",
        "X-Isobar-Error",
        "Location",
        "Date",
        "If-Match",
        "Range",
        "Vary",
        "WWW-Authenticate",
        "content_length",
        "x_forwarded_for",
        "Keep-Alive",
    ];
    for name in names {
        for spelled in [name.to_owned(), name.to_uppercase()] {
            assert_eq!(
                trailers(&format!("A: 1\r\n{spelled}: x\r\nB: 2\r\n")),
                "A: 1\r\nB: 2\r\n",
                "{spelled}"
            );
        }
    }
}

#[test]
fn an_unfinished_trailer_is_not_shown() {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let input = b"0\r\nA: 1\r\nB: 2";
    assert_eq!(decoder.decode(input), Ok(BodyStep::NeedMore { consumed: input.len() }));
    assert_eq!(decoder.trailers(), b"A: 1\r\n");
}

#[test]
fn extensions_in_proportion_to_the_payload_are_never_too_many() {
    let extension = format!(";sig={}", "0".repeat(90));
    let body = |payload: usize| {
        let chunk = format!("{payload:x}{extension}\r\n{}\r\n", "x".repeat(payload));
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        for n in 0..1000 {
            let mut rest = chunk.as_bytes();
            while !rest.is_empty() {
                match decoder.decode(rest) {
                    Ok(BodyStep::Data { end: n, .. } | BodyStep::NeedMore { consumed: n }) => {
                        rest = &rest[n..];
                    }
                    other => return (n, other),
                }
            }
        }
        (1000, Ok(BodyStep::NeedMore { consumed: 0 }))
    };
    assert_eq!(body(100).0, 1000);
    // 95 bytes of extension for one of payload: 94 to the bad each, 16 KiB of them allowed.
    assert_eq!(body(1), (174, Err(Reject::ChunkExtensionTooLong)));
}

#[test]
fn a_chunk_head_is_read_back_as_written() {
    let mut out = [0; CHUNK_HEAD_MAX];
    for (len, text) in [
        (0, "0"),
        (1, "1"),
        (15, "f"),
        (16, "10"),
        (6699, "1a2b"),
        (65536, "10000"),
        (usize::MAX, "ffffffffffffffff"),
    ] {
        let n = chunk_head(len, &mut out);
        assert_eq!(str::from_utf8(&out[..n]).unwrap(), format!("{text}\r\n"));
    }
}
