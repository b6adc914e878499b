//! Addresses as people write them: `HOST:PORT`, `:PORT`, `[::1]:PORT`, `unix:/path`.
//!
//! Invariant: what an [`AddressText`] displays parses back to itself. A host name is checked for its form only;
//! resolving it is an effect and happens elsewhere.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::settings::AddressText;

/// Bytes of a unix socket's path: what `sockaddr_un` holds, less the closing zero.
pub(crate) const UNIX_PATH_MAX: usize = 107;
/// Bytes of a host name (RFC 1035, section 2.3.4).
const HOST_MAX: usize = 253;

/// Why an address was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct AddressError {
    /// What is wrong with it.
    pub problem: String,
    /// How it may have been meant, or what to write.
    pub hint: String,
}

impl AddressError {
    fn new(problem: &str, hint: impl Into<String>) -> Self {
        Self { problem: problem.to_owned(), hint: hint.into() }
    }
}

impl fmt::Display for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for AddressText {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let rest = rest.split('/').next().unwrap_or_default();
            return Err(AddressError::new(
                &format!("an address has no `{scheme}://`"),
                format!("write \"{rest}\""),
            ));
        }
        if let Some(rest) = text.strip_prefix('[') {
            return bracketed(rest);
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(without_port(text));
        };
        if host.contains(':') {
            return Err(with_colons(text, host, port));
        }
        if host == "*" {
            return Err(AddressError::new("`*` is not a host", format!("write \"HOST:{port}\"")));
        }
        Ok(Self::Tcp { host: check_host(host)?, port: parse_port(port)? })
    }
}

impl AddressText {
    /// Reads an address to listen on. The form is that of every address; what to write instead of one that is wrong
    /// may be one for every interface, which nothing can connect to.
    ///
    /// # Errors
    /// As of [`str::parse`].
    pub fn parse_listen(text: &str) -> Result<Self, AddressError> {
        text.parse().map_err(|error: AddressError| {
            let port = text.strip_prefix("*:").unwrap_or(text);
            let hint = match parse_port(port) {
                Ok(_) => format!("write \":{port}\" for every interface, or \"127.0.0.1:{port}\""),
                Err(_) => error.hint,
            };
            AddressError { hint, ..error }
        })
    }

    /// The same address with a relative socket path taken from `folder`.
    pub(crate) fn relative_to(self, folder: &Path) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(folder.join(path)),
            tcp @ Self::Tcp { .. } => tcp,
        }
    }

    /// Whether two listeners cannot have these addresses at once: the same, or one of them every interface.
    pub fn clashes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(a), Self::Unix(b)) => a == b,
            (Self::Tcp { host: a, port: p }, Self::Tcp { host: b, port: q }) => {
                *p == *q && *p != 0 && (a == b || covers(a, b) || covers(b, a))
            }
            _ => false,
        }
    }
}

/// Whether listening on `all` takes the port of `one` as well.
fn covers(all: &str, one: &str) -> bool {
    all.is_empty()
        || (all == "0.0.0.0" && one.parse::<Ipv4Addr>().is_ok())
        || (all == "::" && one.contains(':'))
}

fn unix(path: &str) -> Result<AddressText, AddressError> {
    if path.is_empty() || path.contains('\0') {
        return Err(AddressError::new("a unix socket needs a path", "write \"unix:/run/isobar.sock\""));
    }
    if path.len() > UNIX_PATH_MAX {
        let problem =
            format!("this socket path has {} bytes, at most {UNIX_PATH_MAX} are possible", path.len());
        return Err(AddressError::new(&problem, "choose a shorter path"));
    }
    Ok(AddressText::Unix(PathBuf::from(path)))
}

fn bracketed(rest: &str) -> Result<AddressText, AddressError> {
    let Some((host, port)) = rest.split_once(']') else {
        return Err(AddressError::new("the bracket is not closed", "write \"[::1]:8080\""));
    };
    let Ok(ip) = host.parse::<Ipv6Addr>() else {
        return Err(AddressError::new("this is not an IPv6 address without a zone", "write \"[::1]:8080\""));
    };
    match port.strip_prefix(':') {
        Some(port) => Ok(AddressText::Tcp { host: ip.to_string(), port: parse_port(port)? }),
        None => Err(AddressError::new("the port is missing", format!("write \"[{host}]:PORT\""))),
    }
}

/// What is wrong with an address of several colons and no bracket.
fn with_colons(text: &str, host: &str, port: &str) -> AddressError {
    let in_brackets = "an IPv6 address stands in brackets";
    // `::1:8080` is an IPv6 address as well, but hardly meant as one.
    if host.parse::<Ipv6Addr>().is_ok() {
        return AddressError::new(in_brackets, format!("write \"[{host}]:{port}\""));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return AddressError::new(in_brackets, format!("write \"[{text}]:PORT\""));
    }
    let hint = match host.parse::<AddressText>() {
        Ok(_) => format!("write \"{host}\""),
        Err(_) => "write \"HOST:PORT\", an IPv6 address in brackets: \"[::1]:8080\"".to_owned(),
    };
    AddressError::new("it has too many colons", hint)
}

fn without_port(text: &str) -> AddressError {
    if text.is_empty() {
        return AddressError::new("it is empty", "write \"HOST:PORT\"");
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return AddressError::new("the host is missing", format!("write \"127.0.0.1:{text}\""));
    }
    if text.starts_with('/') {
        return AddressError::new("a unix socket's path follows `unix:`", format!("write \"unix:{text}\""));
    }
    AddressError::new("the port is missing", format!("write \"{text}:PORT\""))
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        AddressError::new(&format!("`{text}` is not a port"), "a port is a whole number from 0 to 65535")
    })
}

fn check_host(host: &str) -> Result<String, AddressError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.len() > HOST_MAX
        || !host.chars().all(legal)
        || host.contains("..")
        || host.starts_with(['.', '-'])
    {
        let problem = format!("`{host}` is not a host name");
        return Err(AddressError::new(&problem, "a host name has letters, digits, `-` and `.`"));
    }
    let numeric = !host.is_empty() && host.chars().all(|c| c.is_ascii_digit() || c == '.');
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err(AddressError::new(
            &format!("`{host}` is not an IPv4 address"),
            "each of its 4 parts is 0 to 255",
        ));
    }
    Ok(host.to_ascii_lowercase())
}
