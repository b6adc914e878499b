//! The request target taken apart (RFC 9112 section 3.2).
//!
//! The bytes were checked while the line was read; here only the form is decided. The authority form does not occur:
//! it belongs to `CONNECT`, which is refused before.

use crate::class::{is, run_before_query};
use crate::{Method, Reject, Span, is_authority};

/// The form of a request target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://authority/path?query`, also `https`.
    Absolute,
    /// `*`, of `OPTIONS` only.
    Asterisk,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) form: TargetForm,
    /// Empty unless the form is absolute.
    pub(crate) authority: Span,
    /// Empty where an absolute target has none, which means `/`.
    pub(crate) path: Span,
    /// With its `?`; empty if there is none.
    pub(crate) query: Span,
}

impl Target {
    #[inline]
    pub(crate) fn split(buf: &[u8], target: Span, method: Method) -> Result<Self, Reject> {
        match target.of(buf) {
            [b'/', ..] => {
                let (path, query) = split_query(buf, target);
                Ok(Self { form: TargetForm::Origin, authority: Span::default(), path, query })
            }
            b"*" if method == Method::Options => {
                let query = Span { start: target.end, end: target.end };
                Ok(Self { form: TargetForm::Asterisk, authority: Span::default(), path: target, query })
            }
            bytes => Self::split_absolute(buf, target, scheme_len(bytes).ok_or(Reject::BadTarget)?),
        }
    }

    fn split_absolute(buf: &[u8], target: Span, scheme_len: usize) -> Result<Self, Reject> {
        let start = target.start as usize + scheme_len;
        let end = target.end as usize;
        let authority_end = start + buf[start..end].iter().take_while(|&&b| b != b'/' && b != b'?').count();
        let authority = Span::new(start, authority_end);
        if !is_authority(authority.of(buf)) {
            return Err(Reject::BadTarget);
        }
        let (path, query) = split_query(buf, Span::new(authority_end, end));
        Ok(Self { form: TargetForm::Absolute, authority, path, query })
    }
}

/// Length of `http://` or `https://` at the start of `target`; schemes ignore case (RFC 3986 section 3.1).
fn scheme_len(target: &[u8]) -> Option<usize> {
    if target.first_chunk::<7>().is_some_and(|start| is(start, b"http://")) {
        return Some(7);
    }
    target.first_chunk::<8>().filter(|start| is(&start[..], b"https://")).map(|start| start.len())
}

#[inline]
fn split_query(buf: &[u8], rest: Span) -> (Span, Span) {
    let middle = rest.start + run_before_query(rest.of(buf)) as u32;
    (Span { start: rest.start, end: middle }, Span { start: middle, end: rest.end })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn split(text: &str, method: Method) -> Result<(TargetForm, &str, &str, &str), Reject> {
        let target = Target::split(text.as_bytes(), Span::new(0, text.len()), method)?;
        let part = |span: Span| &text[span.start as usize..span.end as usize];
        Ok((target.form, part(target.authority), part(target.path), part(target.query)))
    }

    #[test]
    fn a_target_is_split_by_its_form() {
        use TargetForm::{Absolute, Asterisk, Origin};
        let cases = [
            ("/", (Origin, "", "/", "")),
            ("/a?b?c", (Origin, "", "/a", "?b?c")),
            ("//a/b", (Origin, "", "//a/b", "")),
            ("/?", (Origin, "", "/", "?")),
            ("http://a", (Absolute, "a", "", "")),
            ("HTTPS://a:1/b?c", (Absolute, "a:1", "/b", "?c")),
            ("http://a?b/c", (Absolute, "a", "", "?b/c")),
            ("http://[::1]:80/", (Absolute, "[::1]:80", "/", "")),
            ("*", (Asterisk, "", "*", "")),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text, Method::Options).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_target_without_a_form_is_refused() {
        let bad = [
            "a",
            "*/",
            "**",
            "?a",
            "http:/a",
            "http://",
            "http:///a",
            "http://u@a/",
            "http://a b/",
            "ftp://a/",
            "ws://a/",
            "httpx://a",
            "http//a",
            "https:a",
            ".",
            "\\",
            "http://a\\b/",
            "http://a:x/",
            "a:80",
        ];
        for text in bad {
            assert_eq!(split(text, Method::Options), Err(Reject::BadTarget), "{text}");
        }
        assert_eq!(split("*", Method::Get), Err(Reject::BadTarget));
    }
}
