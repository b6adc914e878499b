//! What packages install: the unit of systemd and the configuration that it runs.
//!
//! Limit: whether the sandbox of the unit lets the proxy work is seen only where systemd runs.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging")
}

fn unit() -> String {
    std::fs::read_to_string(packaging().join("systemd/isobar.service")).unwrap()
}

/// The values of a key, in written order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn the_installed_configuration_is_accepted_by_the_program() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_isobar")).arg("check").arg(packaging().join("isobar.toml")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_unit_has_the_three_sections_and_starts_checks_and_reloads_one_file() {
    let unit = unit();
    let sections: Vec<_> = unit.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(sections, ["[Unit]", "[Service]", "[Install]"]);
    let file = "/etc/isobar/isobar.toml";
    assert_eq!(values(&unit, "ExecStart"), [format!("/usr/bin/isobar proxy -c {file}")]);
    assert_eq!(
        values(&unit, "ExecReload"),
        [format!("/usr/bin/isobar check {file}"), "/bin/kill -HUP $MAINPID".to_owned()]
    );
    // The program does not speak the protocol of `notify`: systemd would wait for it in vain.
    assert_eq!(values(&unit, "Type"), ["exec"]);
    for key in ["Restart", "LimitNOFILE", "TimeoutStopSec", "AmbientCapabilities", "WantedBy"] {
        assert_eq!(values(&unit, key).len(), 1, "{key}");
    }
}

#[test]
fn systemd_finds_nothing_to_complain_about_where_it_is_installed() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("isobar.service");
    // It demands that the program is there.
    std::fs::write(&copy, unit().replace("/usr/bin/isobar", env!("CARGO_BIN_EXE_isobar"))).unwrap();
    let verifying = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output();
    // A machine without systemd has the other tests of the unit.
    let Ok(output) = verifying else { return };
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !told.contains("isobar.service"), "{told}");
}
