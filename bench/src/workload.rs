//! What is asked of the peers: each workload says over which protocol it comes, what it asks for and what must come back.

use crate::grpc;
use crate::origin::{large_body, small_body};

/// What a peer is configured to speak, with callers and to the origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// HTTP/1.1 in the clear.
    Http1,
    /// TLS, with HTTP/1.1 or HTTP/2 by ALPN.
    Tls,
    /// HTTP/2 in the clear, by prior knowledge; the origins speak HTTP/1.1.
    H2,
    /// HTTP/2 in the clear on both sides.
    Grpc,
}

impl Front {
    /// Tags of the lines of a peer's template that belong to it.
    pub(crate) fn tags(self) -> &'static [&'static str] {
        match self {
            Self::Http1 => &["plain", "to-http1"],
            Self::Tls => &["tls", "to-http1"],
            Self::H2 => &["h2", "to-http1"],
            Self::Grpc => &["h2", "to-h2"],
        }
    }
}

/// Workloads that are measured in one run and make one report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Kept connections of HTTP/1.1.
    Http1,
    /// HTTP/1.1 over TLS, kept and not.
    Tls,
    /// HTTP/2 to origins of HTTP/1.1.
    H2,
    /// Unary calls of gRPC.
    Grpc,
}

impl Suite {
    /// Its name in the names of reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Tls => "tls",
            Self::H2 => "h2",
            Self::Grpc => "grpc",
        }
    }

    /// The heading of its report.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Tls => "HTTP/1.1 over TLS",
            Self::H2 => "HTTP/2 to HTTP/1.1",
            Self::Grpc => "gRPC, unary",
        }
    }

    /// Its workloads, in the order of the report.
    pub fn workloads(self) -> &'static [Workload] {
        match self {
            Self::Http1 => &[Workload::Small, Workload::Large, Workload::Post],
            Self::Tls => &[Workload::TlsSmall, Workload::TlsLarge, Workload::Handshake],
            Self::H2 => &[Workload::H2Small, Workload::H2TlsSmall],
            Self::Grpc => &[Workload::Unary],
        }
    }

    /// Connections of the load generator where nothing else is asked for: issue and reports speak of these.
    pub fn connections(self) -> u32 {
        match self {
            Self::Http1 | Self::Tls => 64,
            Self::H2 | Self::Grpc => 16,
        }
    }
}

/// What every request of a measurement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// GET, 128 bytes back.
    Small,
    /// GET, 64 KiB back.
    Large,
    /// POST of 4 KiB, 128 bytes back.
    Post,
    /// As `Small`, over TLS.
    TlsSmall,
    /// As `Large`, over TLS.
    TlsLarge,
    /// As `TlsSmall`, each request on a connection of its own after a full handshake.
    Handshake,
    /// As `Small`, over HTTP/2 in the clear.
    H2Small,
    /// As `Small`, over HTTP/2 over TLS.
    H2TlsSmall,
    /// A unary call of gRPC, 128 bytes each way.
    Unary,
}

impl Workload {
    /// Those whose connections may lie idle after one request.
    pub const KEPT: [Self; 4] = [Self::Small, Self::TlsSmall, Self::H2Small, Self::H2TlsSmall];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "64k",
            Self::Post => "post",
            Self::TlsSmall => "tls-small",
            Self::TlsLarge => "tls-64k",
            Self::Handshake => "tls-handshake",
            Self::H2Small => "h2-small",
            Self::H2TlsSmall => "h2-tls-small",
            Self::Unary => "grpc-unary",
        }
    }

    /// How the peers are configured for it.
    pub(crate) fn front(self) -> Front {
        match self {
            Self::Small | Self::Large | Self::Post => Front::Http1,
            Self::TlsSmall | Self::TlsLarge | Self::Handshake | Self::H2TlsSmall => Front::Tls,
            Self::H2Small => Front::H2,
            Self::Unary => Front::Grpc,
        }
    }

    /// Whether its callers speak HTTP/2.
    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::H2Small | Self::H2TlsSmall | Self::Unary)
    }

    /// Whether its callers speak TLS.
    pub(crate) fn is_tls(self) -> bool {
        self.front() == Front::Tls
    }

    /// The path that is asked for.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Small | Self::TlsSmall | Self::Handshake | Self::H2Small | Self::H2TlsSmall => "/small",
            Self::Large | Self::TlsLarge => "/64k",
            Self::Post => "/post",
            Self::Unary => grpc::PATH,
        }
    }

    /// The body that must come back.
    pub(crate) fn reply(self) -> Vec<u8> {
        match self {
            Self::Large | Self::TlsLarge => large_body(),
            Self::Unary => grpc::message(),
            Self::Small
            | Self::Post
            | Self::TlsSmall
            | Self::Handshake
            | Self::H2Small
            | Self::H2TlsSmall => small_body(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_belongs_to_one_suite_and_has_a_name_of_its_own() {
        let all: Vec<Workload> = [Suite::Http1, Suite::Tls, Suite::H2, Suite::Grpc]
            .iter()
            .flat_map(|suite| suite.workloads())
            .copied()
            .collect();
        let mut names: Vec<&str> = all.iter().map(|workload| workload.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }
}
