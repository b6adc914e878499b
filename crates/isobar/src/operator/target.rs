//! Where an admin interface is: `http://HOST:PORT`, `HOST:PORT` or `unix:/path`.

use std::fmt;
use std::str::FromStr;

use isobar_config::{AddressError, AddressText};

/// The address of an admin interface.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target(AddressText);

impl Target {
    /// Where to connect.
    pub(super) fn address(&self) -> &AddressText {
        &self.0
    }

    /// What the Host field says; a socket file has no name of its own.
    pub(super) fn host(&self) -> String {
        match &self.0 {
            AddressText::Unix(_) => "localhost".to_owned(),
            tcp @ AddressText::Tcp { .. } => tcp.to_string(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            AddressText::Unix(_) => self.0.fmt(f),
            AddressText::Tcp { .. } => write!(f, "http://{}", self.0),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("https://") {
            return Err(
                "the admin interface speaks plain HTTP: write http://HOST:PORT, through a tunnel if need be"
                    .to_owned(),
            );
        }
        let written =
            text.strip_prefix("http://").map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
        let address = written.parse().map_err(|error: AddressError| format!("{error}; {}", error.hint))?;
        Ok(Self(match address {
            AddressText::Tcp { host, port } if host.is_empty() => {
                AddressText::Tcp { host: "127.0.0.1".to_owned(), port }
            }
            address => address,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_taken() {
        for (text, shown, host) in [
            ("http://127.0.0.1:9900", "http://127.0.0.1:9900", "127.0.0.1:9900"),
            ("http://proxy.internal:9900/", "http://proxy.internal:9900", "proxy.internal:9900"),
            ("[::1]:9900", "http://[::1]:9900", "[::1]:9900"),
            (":9900", "http://127.0.0.1:9900", "127.0.0.1:9900"),
            ("unix:/run/isobar.sock", "unix:/run/isobar.sock", "localhost"),
        ] {
            let target: Target = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((target.to_string().as_str(), target.host().as_str()), (shown, host));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        for text in [
            "",
            "https://localhost:1",
            "http://localhost",
            "http://a:1/b",
            "http://u@a:1",
            "unix:",
            "ftp://a:1",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
