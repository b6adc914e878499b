//! Attempts at smuggling by translation with the verdict that each must get, and the fuzz targets' seeds replayed with fixed
//! mutations against their laws.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::laws;

/// What an input is written as: `|` ends a line.
fn input(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| if byte == b'|' { 0xFE } else { byte }).collect()
}

/// Nothing of these may come to an endpoint.
const REFUSED: &[(&str, &str)] = &[
    ("a line's end in a value", "e|GET|h|/|x-a|1\r\nx-b: 2"),
    ("a line feed in a value", "e|GET|h|/|x-a|1\nx-b: 2"),
    ("a carriage return in a value", "e|GET|h|/|x-a|1\rx"),
    ("NUL in a value", "e|GET|h|/|x-a|1\0"),
    ("a whole request in a value", "e|GET|h|/|x-a|1\r\n\r\nGET /admin HTTP/1.1\r\nhost: h\r\n\r\n"),
    ("a line's end in a cookie", "e|GET|h|/|cookie|a=1\r\nx: y"),
    ("white space before a value", "e|GET|h|/|x-a| 1"),
    ("white space behind a value", "e|GET|h|/|x-a|1\t"),
    ("a blank in the path", "e|GET|h|/a HTTP/1.1|"),
    ("a line's end in the path", "e|GET|h|/a\r\nx: y"),
    ("a tab in the path", "e|GET|h|/a\tb"),
    ("NUL in the path", "e|GET|h|/\0"),
    ("a path in absolute form", "e|GET|h|http://other/"),
    ("no path", "e|GET|h|"),
    ("a path that is a word", "e|GET|h|admin"),
    ("an asterisk to GET", "e|GET|h|*"),
    ("a blank in the method", "e|GET /admin HTTP/1.1|h|/"),
    ("a line's end in the method", "e|GET\r\nx: y|h|/"),
    ("no method", "e||h|/"),
    ("a line's end in the authority", "e|GET|h\r\nx: y|/"),
    ("a blank in the authority", "e|GET|h x|/"),
    ("user information", "e|GET|u@h|/"),
    ("a path in the authority", "e|GET|h/x|/"),
    ("an authority that is no port", "e|GET|h:x|/"),
    ("no host at all", "e|GET||/"),
    ("another host", "e|GET|h|/|host|other"),
    ("two hosts without an authority", "e|GET||/|host|h|host|other"),
    ("two hosts that are the same", "e|GET|h|/|host|h|host|h"),
    ("a transfer coding", "|POST|h|/|transfer-encoding|chunked"),
    ("a transfer coding that is none", "e|POST|h|/|transfer-encoding|identity"),
    ("a coding and a length", "|POST|h|/|transfer-encoding|chunked|content-length|3"),
    ("connection", "e|GET|h|/|connection|x-a"),
    ("connection: close", "e|GET|h|/|connection|close"),
    ("keep-alive", "e|GET|h|/|keep-alive|1"),
    ("proxy-connection", "e|GET|h|/|proxy-connection|keep-alive"),
    ("upgrade", "e|GET|h|/|upgrade|websocket"),
    ("h2c", "e|GET|h|/|upgrade|h2c|connection|upgrade|http2-settings|"),
    ("te beside trailers", "e|GET|h|/|te|trailers, chunked"),
    ("two lengths", "|POST|h|/|content-length|3|content-length|4"),
    ("a list of lengths", "|POST|h|/|content-length|3, 3"),
    ("a length with a sign", "|POST|h|/|content-length|+3"),
    ("a length in hexadecimal", "|POST|h|/|content-length|0x3"),
    ("a length that is empty", "|POST|h|/|content-length|"),
    ("a length beyond counting", "|POST|h|/|content-length|99999999999999999999"),
    ("a length that trailers hide", "|POST|h|/|content-length|0x3|trailer|x-a"),
    ("a length without a body", "e|POST|h|/|content-length|3"),
    ("upper case", "e|GET|h|/|X-A|1"),
    ("a coding in upper case", "e|GET|h|/|Transfer-Encoding|chunked"),
    ("a blank in a name", "e|GET|h|/|x a|1"),
    ("a colon in a name", "e|GET|h|/|x:a|1"),
    ("a blank before a coding's name", "e|GET|h|/| transfer-encoding|chunked"),
    ("a blank behind a coding's name", "e|GET|h|/|transfer-encoding |chunked"),
    ("a line's end in a name", "e|GET|h|/|x\r\ny|1"),
    ("a pseudo-field among fields", "e|GET|h|/|:path|/admin"),
    ("an empty name", "e|GET|h|/||1"),
    ("CONNECT", "|CONNECT|h:80|/"),
    ("a tunnel with a length", "t|CONNECT|h|/|content-length|3"),
    ("a tunnel with a coding", "t|CONNECT|h|/|transfer-encoding|chunked"),
    ("a tunnel with an upgrade of its own", "t|CONNECT|h|/|upgrade|h2c"),
    ("a tunnel with a blank in its path", "t|CONNECT|h|/a HTTP/1.1"),
];

/// What these come to as text.
const ACCEPTED: &[(&str, &str)] = &[
    ("e|GET|h|/", "GET / HTTP/1.1\r\nhost: h\r\n\r\n"),
    ("e|GET||/|host|h", "GET / HTTP/1.1\r\nhost: h\r\n\r\n"),
    ("e|GET|h|/|host|h", "GET / HTTP/1.1\r\nhost: h\r\n\r\n"),
    ("e|OPTIONS|h|*", "OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n"),
    ("e|GET|h|/?a=%0d%0a", "GET /?a=%0d%0a HTTP/1.1\r\nhost: h\r\n\r\n"),
    ("e|GET|h|/|x-a|", "GET / HTTP/1.1\r\nhost: h\r\nx-a: \r\n\r\n"),
    ("e|GET|h|/|cookie|a=1|x|y|cookie|b=2", "GET / HTTP/1.1\r\nhost: h\r\nx: y\r\ncookie: a=1; b=2\r\n\r\n"),
    ("e|POST|h|/", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"),
    ("|POST|h|/", "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"),
    ("|POST|h|/|content-length|3", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\n"),
    ("e|GET|h|/|te|trailers", "GET / HTTP/1.1\r\nhost: h\r\nte: trailers\r\n\r\n"),
    (
        "t|CONNECT|h|/chat|sec-websocket-version|13|sec-websocket-key|theirs",
        "GET /chat HTTP/1.1\r\nhost: h\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    ),
];

#[test]
fn no_attempt_at_smuggling_by_translation_comes_through() {
    for (what, text) in REFUSED {
        let came = laws::request(&input(text));
        assert!(came.is_none(), "{what}: {:?}", came.map(|text| String::from_utf8_lossy(&text).into_owned()));
    }
}

#[test]
fn what_is_right_comes_through_as_it_is() {
    for (text, expected) in ACCEPTED {
        let came = laws::request(&input(text)).map(|text| String::from_utf8_lossy(&text).into_owned());
        assert_eq!(came.as_deref(), Some(*expected), "{text}");
    }
}

/// What becomes of an input.
type Law = fn(&[u8]) -> Option<Vec<u8>>;

/// Bytes that have a meaning somewhere, to be put in everywhere.
const TELLING: &[u8] = b"\r\n\0 \t:,;/*#?%\xFE\xFF";

fn mutations(seed: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..=seed.len()).flat_map(move |at| {
        let put = TELLING.iter().map(move |&byte| [&seed[..at], &[byte], &seed[at..]].concat());
        let cut = [seed[..at].to_vec(), seed[at..].to_vec()];
        put.chain(cut)
    })
}

#[test]
fn the_seeds_of_the_fuzz_targets_and_their_mutations_keep_the_laws() {
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let targets: [(&str, Law); 2] =
        [("translate_request", laws::request), ("translate_response", laws::response)];
    for (folder, law) in targets {
        let (mut n_seeds, mut n_accepted) = (0, 0);
        for file in std::fs::read_dir(seeds.join(folder)).unwrap() {
            let seed = std::fs::read(file.unwrap().path()).unwrap();
            n_seeds += 1;
            n_accepted += usize::from(law(&seed).is_some());
            mutations(&seed).for_each(|input| drop(law(&input)));
        }
        assert!(n_seeds > 10 && n_accepted > 5, "{folder}: {n_accepted} of {n_seeds} are accepted");
    }
    for (_, text) in REFUSED.iter().chain(ACCEPTED) {
        mutations(&input(text)).for_each(|input| drop(laws::request(&input)));
    }
}
