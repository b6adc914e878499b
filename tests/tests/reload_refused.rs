//! A configuration that cannot be applied, in every way: what runs goes on, the reason is told once, and mending it is
//! enough.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::TcpListener;

use isobar_tests::{Isobar, Load, Origin, one_service, save, wait_for};
use rustix::process::Signal;

const FAILING: &str = "isobar_configuration_failing";
const REFUSED: &str = "isobar_configuration_refused_total";
const REFUSED_LINE: &str = "configuration refused: what runs goes on unchanged";

/// A proxy that runs a good configuration under load.
struct Stage {
    isobar: Isobar,
    good: String,
    load: Load,
    _origin: Origin,
}

impl Stage {
    fn start() -> Self {
        let origin = Origin::answering("a");
        let good = format!("[runtime]\nworkers = 2\n{}", one_service(&[origin.address], "", ""));
        let isobar = Isobar::start(&good);
        let load = Load::on(isobar.listener("web"));
        Self { isobar, good, load, _origin: origin }
    }

    fn await_failing(&self, failing: u64, what: &str) {
        let as_told = || (self.isobar.count(&[FAILING]) == failing).then_some(());
        wait_for(&format!("{what}: {FAILING} {failing}"), as_told);
    }

    /// `spoil` puts a bad configuration into the file; the log must then have a line with each of `reasons`.
    fn assert_refused(&self, what: &str, reasons: &[&str], spoil: impl FnOnce(&Isobar, &str)) {
        let isobar = &self.isobar;
        let count = || isobar.count(&[REFUSED]);
        let (n_refused, n_lines) = (count(), isobar.logged(REFUSED_LINE, "from").len());
        spoil(isobar, &self.good);
        self.await_failing(1, what);
        assert!(count() > n_refused, "{what}: the refusal is counted");
        let lines = || isobar.logged(REFUSED_LINE, "from").len() - n_lines;
        wait_for("the reason", || (lines() > 0).then_some(()));
        for reason in reasons {
            assert!(isobar.has_logged(reason), "{what}: no line has {reason:?} in\n{}", isobar.log_text());
        }
        let n_refused = count();
        isobar.signal(Signal::HUP);
        wait_for("another refusal", || (count() > n_refused).then_some(()));
        assert_eq!(isobar.get("/").text(), "a", "{what}: what ran serves");
        assert_eq!(lines(), 1, "{what}: the same reason is told once:\n{}", isobar.log_text());
        isobar.configure(&self.good);
        self.await_failing(0, what);
        self.load.wait_for_answers(50);
    }

    fn end(self) {
        assert_eq!(self.isobar.count(&["isobar_configuration_applied_total"]), 1);
        self.load.end_without_failure();
    }
}

#[test]
fn a_text_that_cannot_be_read_changes_nothing_and_is_told_once() {
    let stage = Stage::start();
    stage.assert_refused("syntax", &["isobar.toml:"], |isobar, good| {
        isobar.configure(&format!("{good}\n[services.\n"));
    });
    stage.assert_refused("unknown key", &["polcy"], |isobar, good| {
        isobar.configure(&good.replace("policy =", "polcy ="));
    });
    stage.assert_refused("missing service", &["elsewhere"], |isobar, good| {
        isobar.configure(&good.replace("service = \"app\"", "service = \"elsewhere\""));
    });
    stage.assert_refused("a part that is not there", &["absent.toml"], |isobar, good| {
        isobar.configure(&format!("include = [\"absent.toml\"]\n{good}"));
    });
    stage.assert_refused("empty", &[], |isobar, _| save(&isobar.config_file(), ""));
    stage.assert_refused("not text", &[], |isobar, _| save(&isobar.config_file(), [0xff, 0xfe, 0]));
    stage.assert_refused("deleted", &[], |isobar, _| std::fs::remove_file(isobar.config_file()).unwrap());
    stage.end();
}

#[test]
fn a_configuration_that_cannot_take_effect_changes_nothing_and_is_told_once() {
    let stage = Stage::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let extra = "[[listeners]]\nname = \"extra\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n";
    stage.assert_refused("unbindable listener", &[&address, "other"], |isobar, good| {
        // The other changes of the same text must not take effect either.
        let changed = good.replace("round-robin", "random");
        let unbindable = extra.replace("extra", "other").replace("127.0.0.1:0", &address);
        isobar.configure(&format!("{changed}{extra}{unbindable}"));
    });
    stage.assert_refused("unresolvable name", &["no-such-name.invalid"], |isobar, good| {
        let service = "[services.other]\nendpoints = [\"no-such-name.invalid:80\"]\n";
        isobar.configure(&format!("{good}{extra}{service}"));
    });
    stage.assert_refused(
        "a file to discover that is not there",
        &["absent-endpoints.toml", "write the file first"],
        |isobar, good| {
            let (before, _) = good.split_once("endpoints =").unwrap();
            isobar.configure(&format!("{before}discovery = {{ file = \"absent-endpoints.toml\" }}\n"));
        },
    );
    stage.assert_refused("access log", &["absent/folder"], |isobar, good| {
        isobar.configure(&format!("access_log = {{ to = \"absent/folder/log\" }}\n{good}{extra}"));
    });
    stage.assert_refused("workers", &["runtime.workers", "restart"], |isobar, good| {
        isobar.configure(&good.replace("workers = 2", "workers = 3"));
    });
    stage.assert_refused("admin", &["`admin`", "restart"], |isobar, good| {
        save(&isobar.config_file(), format!("{good}\n[admin]\nlisten = \"127.0.0.1:9\"\n"));
    });
    assert!(stage.isobar.logged("listening", "listener").iter().all(|name| name == "web"));
    stage.end();
}

#[test]
fn a_part_that_was_missing_or_broken_is_noticed_when_it_is_mended() {
    let stage = Stage::start();
    let part = stage.isobar.dir.path().join("parts").join("extra.toml");
    let listener = "[[listeners]]\nname = \"extra\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n";
    std::fs::create_dir(part.parent().unwrap()).unwrap();
    stage.isobar.configure(&format!("include = [\"parts/extra.toml\"]\n{}", stage.good));
    stage.await_failing(1, "missing");
    save(&part, "broken");
    wait_for("the broken part", || stage.isobar.has_logged("extra.toml:1:").then_some(()));
    save(&part, listener);
    stage.await_failing(0, "mended");
    assert!(stage.isobar.logged("listening", "listener").contains(&"extra".to_owned()));
    stage.load.end_without_failure();
}

#[test]
fn another_reason_is_told_although_the_one_before_was_never_mended() {
    let stage = Stage::start();
    let isobar = &stage.isobar;
    for (n, key) in ["one", "two", "one"].into_iter().enumerate() {
        isobar.configure(&format!("{key} = 1\n{}", stage.good));
        wait_for(key, || (isobar.logged(REFUSED_LINE, "from").len() == n + 1).then_some(()));
        assert!(isobar.has_logged(&format!("`{key}`")), "{}", isobar.log_text());
    }
    isobar.configure(&stage.good);
    stage.await_failing(0, "mended");
    stage.end();
}
