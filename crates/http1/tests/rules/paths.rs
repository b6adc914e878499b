//! The normal form of a path, against the algorithm of RFC 3986 written down word for word.

use crate::models::naive_path;
use isobar_http1::{Reject, normalize_path};
use proptest::prelude::*;

fn normal(path: &str) -> Result<String, Reject> {
    let mut out = b"left over".to_vec();
    let changed = normalize_path(path.as_bytes(), &mut out)?;
    if !changed {
        assert_eq!(out, b"left over", "{path}");
        return Ok(path.to_owned());
    }
    assert_ne!(out, path.as_bytes(), "changed means different");
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn dot_segments_are_resolved() {
    let cases = [
        ("/", "/"),
        ("/a/b/c/./../../g", "/a/g"),
        ("/.", "/"),
        ("/..", "/"),
        ("/../../a", "/a"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/a//../b", "/a/b"),
        ("//a//b", "//a//b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/%2e/b", "/b"),
        ("/a/.../b", "/a/.../b"),
        ("/a/..b/.c/d.", "/a/..b/.c/d."),
        ("/a%2eb/%2e%2e%2e", "/a%2eb/%2e%2e%2e"),
        ("/%zz/%", "/%zz/%"),
        ("/%252f/%252e%252e", "/%252f/%252e%252e"),
        ("/index.html", "/index.html"),
        ("*", "*"),
        ("", ""),
    ];
    for (path, expected) in cases {
        assert_eq!(normal(path).unwrap(), expected, "{path}");
    }
}

#[test]
fn bytes_that_split_paths_for_others_are_refused() {
    for path in ["/a%2fb", "/a%2Fb", "/%2f", "/a/..%2f"] {
        assert_eq!(normal(path), Err(Reject::EncodedSlash), "{path}");
    }
    for path in ["/a%5cb", "/a%5Cb", "/a\\b", "\\", "/..\\"] {
        assert_eq!(normal(path), Err(Reject::EncodedBackslash), "{path}");
    }
    for path in ["/%00", "/a%00.png"] {
        assert_eq!(normal(path), Err(Reject::EncodedNul), "{path}");
    }
}

proptest! {
    #[test]
    fn the_normal_form_is_that_of_the_rfc_and_is_its_own(
        pieces in prop::collection::vec(
            prop::sample::select(vec!["/", ".", "..", "%2e", "%2E", "a", "long-segment", "%20", "%", "é", "//"]),
            0..24,
        )
    ) {
        let path = format!("/{}", pieces.concat());
        let found = normal(&path).unwrap();
        prop_assert_eq!(&found, &String::from_utf8(naive_path(path.as_bytes())).unwrap(), "{}", path);
        prop_assert_eq!(normal(&found).unwrap(), found);
    }
}
