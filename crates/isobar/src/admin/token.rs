//! The bearer token that callers of the admin interface must show.
//!
//! Invariants: it is compared in a time that tells nothing of where it differs; it is in no log and no message.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

/// Bytes of a token file: far above any token, and a wrong path may name anything.
const TOKEN_BYTES_MAX: usize = 4096;

/// Why a token file gives no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("admin interface: cannot read the token file {path}: {source}; `token_file` of [admin] names it")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("admin interface: the token file {0} is empty; write a token into it, or leave `token_file` out")]
    Empty(PathBuf),
    #[error(
        "admin interface: the token file {0} must hold one word of visible ASCII characters, \
         at most {TOKEN_BYTES_MAX} bytes"
    )]
    Malformed(PathBuf),
}

/// A token.
pub(super) struct Token(Vec<u8>);

/// Shows nothing of it.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads a file; white space around the token does not count.
    pub(super) fn read(path: &Path) -> Result<Self, TokenError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(TOKEN_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
            .map_err(|source| TokenError::Unreadable { path: path.to_owned(), source })?;
        let token = bytes.trim_ascii();
        if token.is_empty() {
            return Err(TokenError::Empty(path.to_owned()));
        }
        if bytes.len() > TOKEN_BYTES_MAX || !token.iter().all(u8::is_ascii_graphic) {
            return Err(TokenError::Malformed(path.to_owned()));
        }
        Ok(Self(token.to_vec()))
    }

    /// Whether a request shows this token, in one `authorization: Bearer` field (RFC 6750, section 2.1).
    pub(super) fn is_shown(&self, headers: &HeaderMap) -> bool {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return false };
        let Some((scheme, shown)) = field.as_bytes().split_at_checked("Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(shown.trim_ascii().ct_eq(&self.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    fn shown(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[test]
    fn a_file_without_a_usable_token_is_an_error_that_names_it_and_no_content() {
        let long = vec![b'x'; TOKEN_BYTES_MAX + 1];
        for content in [b"".as_slice(), b" \n", b"secret word", b"secret\xff", b"secret\nline", &long] {
            let file = file(content);
            let error = Token::read(file.path()).unwrap_err().to_string();
            assert!(error.contains(file.path().to_str().unwrap()) && !error.contains("secret"), "{error}");
        }
        let error = Token::read(Path::new("/nowhere/token")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/token") && error.contains("token_file"), "{error}");
    }

    #[test]
    fn only_the_whole_token_under_its_scheme_opens() {
        let token = Token::read(file(b" s3cret\r\n").path()).unwrap();
        for good in ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "] {
            assert!(token.is_shown(&shown(&[good])), "{good}");
        }
        for bad in ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crett", "Basic s3cret", "s3cret"] {
            assert!(!token.is_shown(&shown(&[bad])), "{bad}");
        }
        assert!(!token.is_shown(&HeaderMap::new()));
        assert!(!token.is_shown(&shown(&["Bearer s3cret", "Bearer s3cret"])));
    }

    #[test]
    fn a_token_is_shown_nowhere() {
        assert_eq!(format!("{:?}", Token(b"s3cret".to_vec())), "Token");
    }
}
