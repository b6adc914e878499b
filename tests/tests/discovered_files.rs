//! A discovered file under everything that editors, deployments and accidents do to it: the endpoints of the last good
//! text serve until another good one is there, and each reason is told once.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use isobar_tests::real::Draw;
use isobar_tests::{Isobar, Load, Origin, save, wait_for};
use tempfile::TempDir;

const FAILING: &str = "isobar_discovery_failing";
const FAILED_LINE: &str = "discovery failed: the last good endpoints stay in use";

/// Pieces in which a file is written in place.
const N_PIECES: usize = 20;

/// Files of random bytes.
const N_GARBAGE: u64 = 5;

fn text(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(|address| format!("  \"{address}\",\n")).collect();
    format!("# one a line\nendpoints = [\n{}]\n", addresses.concat())
}

/// A proxy whose endpoints stand in a file, under load.
struct Stage {
    isobar: Isobar,
    load: Load,
    origins: [Origin; 2],
    file: PathBuf,
    folder: TempDir,
}

impl Stage {
    /// The file is at `path` below a folder of its own and names the first endpoint.
    fn start(path: &str) -> Self {
        Self::start_over(path, |file, good| save(file, good))
    }

    /// `put` makes the file of this path and text.
    fn start_over(path: &str, put: impl FnOnce(&Path, &str)) -> Self {
        let origins = [Origin::answering("a"), Origin::answering("b")];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(path);
        put(&file, &text(&[origins[0].address]));
        let isobar = Isobar::start(&format!(
            "[runtime]\nworkers = 2\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
             [services.app]\ndiscovery = {{ file = \"{}\" }}\n",
            file.display()
        ));
        let load = Load::on(isobar.listener("web"));
        load.wait_for_each(&["a"]);
        Self { isobar, load, origins, file, folder }
    }

    fn text_of(&self, origin: usize) -> String {
        text(&[self.origins[origin].address])
    }

    fn problems(&self) -> Vec<String> {
        self.isobar.logged(FAILED_LINE, "problem")
    }

    fn await_failing(&self, failing: u64, what: &str) {
        let source = format!("source=\"{}\"", self.file.display());
        let as_told = || (self.isobar.count(&[FAILING, &source]) == failing).then_some(());
        wait_for(&format!("{what}: {FAILING} {failing}"), as_told);
    }

    /// Waits until exactly this endpoint serves.
    fn await_serving(&self, body: &str, what: &str) {
        let other = if body == "a" { "b" } else { "a" };
        wait_for(&format!("{what}: {body} to serve"), || {
            let n = self.load.n_from(other);
            self.load.wait_for_each(&[body; 5]);
            (self.load.n_from(other) == n).then_some(())
        });
    }

    /// After `spoil` the first endpoint goes on, the reason holds `reason` and is told once; then `mend` puts the text
    /// that it is given into the file, and the second serves.
    fn assert_survives(
        &self,
        what: &str,
        reason: &str,
        spoil: impl FnOnce(&Path),
        mend: impl Fn(&Path, &str),
    ) {
        let n_before = self.problems().len();
        spoil(&self.file);
        self.await_failing(1, what);
        self.await_serving("a", what);
        // A look in the middle of the way may have a reason of its own.
        let told = wait_for(&format!("{what}: a line with {reason:?}"), || {
            let told = self.problems().split_off(n_before);
            told.last().is_some_and(|last| last.contains(reason)).then_some(told)
        });
        assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "{what}: told twice: {told:?}");
        mend(&self.file, &self.text_of(1));
        self.await_serving("b", what);
        self.await_failing(0, what);
        mend(&self.file, &self.text_of(0));
        self.await_serving("a", what);
        let told = self.problems().split_off(n_before);
        assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "{what}: told twice: {told:?}");
    }

    fn end(self) {
        self.load.end_without_failure();
    }
}

/// Writes over whatever is there, as an editor that saves in place.
fn write_in_place(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

#[test]
fn a_file_that_is_lost_or_no_file_keeps_the_last_endpoints_until_a_good_one_is_there() {
    let stage = Stage::start("app.toml");
    let by_name = |path: &Path, text: &str| save(path, text);
    stage.assert_survives("deleted", "cannot read it", |path| fs::remove_file(path).unwrap(), by_name);
    stage.assert_survives(
        "truncated",
        "it is empty",
        |path| drop(File::create(path).unwrap()),
        write_in_place,
    );
    let make_folder = |path: &Path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    };
    let out_of_folder = |path: &Path, text: &str| {
        if path.is_dir() {
            fs::remove_dir(path).unwrap();
        }
        save(path, text);
    };
    stage.assert_survives("a folder", "no regular file", make_folder, out_of_folder);
    let out_of_sight = |path: &Path| fs::rename(path, path.with_extension("aside")).unwrap();
    stage.assert_survives("renamed away", "cannot read it", out_of_sight, by_name);
    let dangling = |path: &Path| {
        fs::remove_file(path).unwrap();
        symlink("nowhere", path).unwrap();
    };
    stage.assert_survives("a link to nothing", "cannot read it", dangling, by_name);
    let of_nobody = |path: &Path| save(path, "endpoints = [\"nobody.invalid:80\"]\n");
    stage.assert_survives("a name without an address", "cannot resolve the name", of_nobody, by_name);
    stage.end();
}

#[test]
fn a_file_that_does_not_parse_changes_nothing() {
    let stage = Stage::start("app.toml");
    let by_name = |path: &Path, text: &str| save(path, text);
    for (what, bad, reason) in [
        ("no list", "endpoints = 5\n", "endpoints"),
        ("another key", "endpoint = []\n", "endpoint"),
        ("no address", "endpoints = [\"nonsense\"]\n", "nonsense"),
        ("a weight too large", "endpoints = [{ address = \"127.0.0.1:1\", weight = 99999999 }]\n", "weight"),
        ("twice the same", "endpoints = [\"127.0.0.1:1\", \"127.0.0.1:1\"]\n", "127.0.0.1:1"),
    ] {
        stage.assert_survives(what, reason, |path| save(path, bad), by_name);
    }
    let half = &stage.text_of(1)[..30];
    stage.assert_survives("half a save", "app.toml:", |path| write_in_place(path, half), write_in_place);
    for seed in 0..N_GARBAGE {
        let mut draw = Draw(seed);
        let garbage: Vec<u8> = (0..500).flat_map(|_| draw.bits().to_le_bytes()).collect();
        stage.assert_survives("garbage", "", |path| save(path, garbage), by_name);
    }
    stage.end();
}

#[test]
fn the_same_reason_again_and_again_is_told_once() {
    let stage = Stage::start("app.toml");
    save(&stage.file, "endpoints = 5\n");
    stage.await_failing(1, "spoilt");
    for n in 1..20 {
        // Another text, so that it is read, with the same fault at the same place.
        save(&stage.file, format!("endpoints = 5\n# {n}\n"));
        stage.load.wait_for_answers(20);
    }
    save(&stage.file, "endpoints = 6\nmore = 1\n");
    wait_for("another reason", || (stage.problems().len() == 2).then_some(()));
    save(&stage.file, stage.text_of(1));
    stage.await_serving("b", "mended");
    assert_eq!(stage.problems().len(), 2, "{:?}", stage.problems());
    stage.end();
}

#[test]
fn a_text_written_in_place_in_pieces_takes_effect_once_it_is_whole() {
    let stage = Stage::start("app.toml");
    for (origin, body) in [(1, "b"), (0, "a"), (1, "b")] {
        let text = stage.text_of(origin);
        let mut file = File::create(&stage.file).unwrap();
        for piece in text.as_bytes().chunks(text.len().div_ceil(N_PIECES)) {
            file.write_all(piece).unwrap();
            file.flush().unwrap();
            // A writer that others hold up; the load is what goes on meanwhile.
            stage.load.wait_for_answers(20);
        }
        drop(file);
        stage.await_serving(body, "whole");
        stage.await_failing(0, "whole");
    }
    stage.end();
}

#[test]
fn links_that_are_swapped_as_deployments_do_take_effect() {
    // As Kubernetes mounts a map: app.toml -> ..data/app.toml, ..data -> ..N, and `..data` is replaced.
    let put = |file: &Path, text: &str| {
        let folder = file.parent().unwrap();
        fs::create_dir(folder.join("..0")).unwrap();
        fs::write(folder.join("..0/app.toml"), text).unwrap();
        symlink("..0", folder.join("..data")).unwrap();
        symlink("..data/app.toml", file).unwrap();
    };
    let stage = Stage::start_over("app.toml", put);
    let folder = stage.folder.path();
    let swap = |n: usize, text: &str| {
        fs::create_dir(folder.join(format!("..{n}"))).unwrap();
        fs::write(folder.join(format!("..{n}/app.toml")), text).unwrap();
        symlink(format!("..{n}"), folder.join("..data_new")).unwrap();
        fs::rename(folder.join("..data_new"), folder.join("..data")).unwrap();
        fs::remove_dir_all(folder.join(format!("..{}", n - 1))).unwrap();
    };
    for (n, origin, body) in [(1, 1, "b"), (2, 0, "a")] {
        swap(n, &stage.text_of(origin));
        stage.await_serving(body, "swapped");
    }
    swap(3, "endpoints = [");
    stage.await_failing(1, "a swap to half a text");
    stage.await_serving("a", "a swap to half a text");
    swap(4, &stage.text_of(1));
    stage.await_serving("b", "a swap to a good text");
    stage.await_failing(0, "a swap to a good text");
    stage.end();
}

#[test]
fn a_file_that_is_missing_at_the_start_is_told_and_serves_once_it_is_there() {
    let origin = Origin::answering("a");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("later/app.toml");
    let isobar = Isobar::start(&format!(
        "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         [services.app]\ndiscovery = {{ file = \"{}\" }}\n",
        file.display()
    ));
    assert_eq!(isobar.get("/").error(), "no-endpoints");
    assert_eq!((isobar.count(&[FAILING]), isobar.logged(FAILED_LINE, "problem").len()), (1, 1));
    fs::create_dir(file.parent().unwrap()).unwrap();
    save(&file, format!("endpoints = [\"localhost:{}\"]\n", origin.address.port()));
    // A name of the system's own: one endpoint for each of its addresses, of which IPv6 may be one that refuses.
    wait_for("the endpoint of the name", || (isobar.get("/").text() == "a").then_some(()));
    wait_for("health of the source", || (isobar.count(&[FAILING]) == 0).then_some(()));
    save(&file, "endpoints = []\n");
    wait_for("an empty list to be obeyed", || (isobar.get("/").error() == "no-endpoints").then_some(()));
    assert_eq!(isobar.count(&[FAILING]), 0, "an explicit empty list is no failure");
}
