//! How to get and run each peer: one row each in [`RECIPES`], configured by a committed template.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::binaries::{Binaries, baseline, build_isobar, build_pingora, install_envoy, install_haproxy};
use crate::error::BenchError;
use crate::layout::Layout;
use crate::workload::Front;

/// How to get and run one kind of proxy.
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    /// The template of `bench/peers`; `None` where arguments say everything.
    pub(crate) template: Option<&'static str>,
    /// Whether it is configured for nothing but HTTP/1.1 in the clear.
    only_http1: bool,
    /// Finds the binary, building or installing it where that is this peer's way.
    pub(crate) find: fn(&Layout, &Binaries) -> Result<PathBuf, BenchError>,
    pub(crate) version: &'static str,
    pub(crate) arguments: fn(&Setup) -> Vec<OsString>,
}

/// Where one started peer has its things.
pub(crate) struct Setup {
    pub(crate) folder: PathBuf,
    pub(crate) configuration: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) origins: [SocketAddr; 2],
}

/// In the order of the reports. The first is the one that ratios are taken of.
pub(crate) const RECIPES: [Recipe; 8] = [
    Recipe {
        name: "isobar",
        template: Some("isobar.toml"),
        only_http1: false,
        find: build_isobar,
        version: "--version",
        arguments: |setup| vec!["proxy".into(), "-c".into(), (&setup.configuration).into()],
    },
    Recipe {
        name: "isobar-log",
        template: Some("isobar-log.toml"),
        only_http1: true,
        find: build_isobar,
        version: "--version",
        arguments: |setup| vec!["proxy".into(), "-c".into(), (&setup.configuration).into()],
    },
    Recipe {
        name: BASELINE,
        template: Some("isobar.toml"),
        only_http1: false,
        find: baseline,
        version: "--version",
        arguments: |setup| vec!["proxy".into(), "-c".into(), (&setup.configuration).into()],
    },
    Recipe {
        name: "haproxy-debian",
        template: Some("haproxy.cfg"),
        only_http1: false,
        find: |_, _| Ok("haproxy".into()),
        version: "-v",
        arguments: |setup| vec!["-db".into(), "-f".into(), (&setup.configuration).into()],
    },
    Recipe {
        name: "haproxy-2.8",
        template: Some("haproxy.cfg"),
        only_http1: false,
        find: install_haproxy,
        version: "-v",
        arguments: |setup| vec!["-db".into(), "-f".into(), (&setup.configuration).into()],
    },
    Recipe {
        name: "nginx",
        template: Some("nginx.conf"),
        only_http1: false,
        find: |_, _| Ok("nginx".into()),
        version: "-v",
        arguments: |setup| {
            vec![
                "-e".into(),
                "stderr".into(),
                "-p".into(),
                (&setup.folder).into(),
                "-c".into(),
                (&setup.configuration).into(),
            ]
        },
    },
    Recipe {
        name: "envoy",
        template: Some("envoy.yaml"),
        only_http1: false,
        find: install_envoy,
        version: "--version",
        arguments: |setup| {
            let mut arguments: Vec<OsString> = vec!["-c".into(), (&setup.configuration).into()];
            arguments
                .extend(["--concurrency", "1", "--use-dynamic-base-id", "-l", "error"].map(OsString::from));
            arguments
        },
    },
    Recipe {
        name: "pingora",
        template: None,
        only_http1: true,
        find: build_pingora,
        version: "--version",
        arguments: |setup| {
            let [a, b] = setup.origins;
            [setup.listen, a, b].iter().map(|address| address.to_string().into()).collect()
        },
    },
];

/// The peer that is an earlier build of Isobar; only measured where its binary is given.
pub const BASELINE: &str = "isobar-base";

/// Names of the peers that can be configured for `front`, in the order of the reports.
pub fn peer_names(front: Front) -> Vec<&'static str> {
    let able = |recipe: &&Recipe| front == Front::Http1 || !recipe.only_http1;
    RECIPES.iter().filter(able).map(|recipe| recipe.name).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_are_unique_and_isobar_comes_first() {
        let mut names = peer_names(Front::Http1);
        assert_eq!(names[0], "isobar");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RECIPES.len());
    }

    #[test]
    fn a_peer_of_http1_alone_takes_no_part_elsewhere() {
        for front in [Front::Tls, Front::H2, Front::Grpc] {
            assert!(!peer_names(front).contains(&"pingora"));
        }
    }

    #[test]
    fn every_template_is_committed_and_names_listener_and_origins() {
        let layout = Layout::of_this_checkout();
        for template in RECIPES.iter().filter_map(|recipe| recipe.template) {
            let text = fs::read_to_string(layout.template(template)).unwrap_or_default();
            for names in [["@LISTEN@", "@PORT@"], ["@ORIGIN_A@", "@PORT_A@"], ["@ORIGIN_B@", "@PORT_B@"]] {
                assert!(names.iter().any(|name| text.contains(name)), "{template} lacks {names:?}");
            }
        }
    }
}
