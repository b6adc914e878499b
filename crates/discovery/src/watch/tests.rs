//! Laws of watching, with real files. A notification is waited for with a bound that only a missing one reaches.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

/// No notification takes that long, even on a machine that does much else.
const MISSING_AFTER: Duration = Duration::from_secs(20);

async fn must_change(watch: &mut FileWatch, what: &str) {
    assert!(tokio::time::timeout(MISSING_AFTER, watch.changed()).await.is_ok(), "{what}: no notification");
}

/// A folder that does not move, and the path of a file in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cart.toml");
    (folder, path)
}

/// A watch whose poll cannot stand in for the kernel.
async fn without_poll(paths: Vec<PathBuf>) -> FileWatch {
    let mut watch = FileWatch::new(paths).await;
    assert!(watch.events.is_some() && !watch.hindrance_told);
    watch.poll_interval = MISSING_AFTER * 100;
    watch.next_poll = Instant::now() + watch.poll_interval;
    watch
}

fn put_over(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

/// Goes through every way to change a watched file; each must be notified, by the kernel or by the poll.
async fn go_through_the_habits(watch: &mut FileWatch, path: &Path) {
    fs::write(path, "one").unwrap();
    must_change(watch, "made").await;
    fs::write(path, "two").unwrap();
    must_change(watch, "truncated and written").await;
    let opened = fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_at(&opened, b"THREE", 0).unwrap();
    must_change(watch, "written in place and still open").await;
    drop(opened);
    put_over(path, "four");
    must_change(watch, "renamed over").await;
    fs::remove_file(path).unwrap();
    must_change(watch, "deleted").await;
    fs::write(path, "five").unwrap();
    must_change(watch, "made anew").await;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    must_change(watch, "permissions changed").await;
    let folder = path.parent().unwrap();
    let aside = folder.with_extension("aside");
    fs::rename(folder, &aside).unwrap();
    must_change(watch, "folder moved away").await;
    fs::create_dir(folder).unwrap();
    fs::write(path, "six").unwrap();
    must_change(watch, "folder made anew").await;
    fs::write(path, "seven").unwrap();
    must_change(watch, "written in the new folder").await;
    fs::remove_dir_all(folder).unwrap();
    must_change(watch, "folder deleted").await;
    fs::rename(&aside, folder).unwrap();
    must_change(watch, "old folder put back").await;
}

#[tokio::test]
async fn every_way_to_save_is_notified_by_the_kernel() {
    let (folder, _) = place();
    let path = folder.path().join("not/yet/cart.toml");
    let mut watch = without_poll(vec![path.clone()]).await;
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    must_change(&mut watch, "folder made").await;
    go_through_the_habits(&mut watch, &path).await;
}

#[tokio::test]
async fn every_way_to_save_is_noticed_without_the_kernel() {
    let (folder, _) = place();
    let path = folder.path().join("conf/cart.toml");
    fs::create_dir(path.parent().unwrap()).unwrap();
    let mut watch = FileWatch::start(vec![path.clone()], None).await;
    go_through_the_habits(&mut watch, &path).await;
}

#[tokio::test]
async fn a_swapped_link_anywhere_on_the_way_is_notified() {
    let (folder, path) = place();
    let at = |name: &str| folder.path().join(name);
    for release in ["..1", "..2"] {
        fs::create_dir(at(release)).unwrap();
        fs::write(at(release).join("cart.toml"), release).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/cart.toml", &path).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(folder.path(), elsewhere.path().join("current")).unwrap();
    let mut watch = without_poll(vec![elsewhere.path().join("current/cart.toml")]).await;
    symlink("..2", at("..data_new")).unwrap();
    fs::rename(at("..data_new"), at("..data")).unwrap();
    fs::remove_dir_all(at("..1")).unwrap();
    must_change(&mut watch, "inner link swapped").await;
    fs::write(at("..2/cart.toml"), "written").unwrap();
    must_change(&mut watch, "written where the new link leads").await;
    let moved = tempfile::tempdir().unwrap();
    symlink(moved.path(), elsewhere.path().join("next")).unwrap();
    fs::rename(elsewhere.path().join("next"), elsewhere.path().join("current")).unwrap();
    must_change(&mut watch, "outer link swapped").await;
    fs::write(moved.path().join("cart.toml"), "new").unwrap();
    must_change(&mut watch, "made where the outer link leads").await;
}

#[tokio::test]
async fn every_entry_of_a_watched_folder_counts() {
    for kernel in [true, false] {
        let (folder, path) = place();
        let events = kernel.then(|| Events::open().unwrap());
        let mut watch = FileWatch::start(vec![folder.path().to_owned()], events).await;
        fs::write(&path, "one").unwrap();
        must_change(&mut watch, "file added").await;
        fs::write(&path, "other").unwrap();
        must_change(&mut watch, "file written").await;
        fs::rename(&path, folder.path().join("b.toml")).unwrap();
        must_change(&mut watch, "file renamed").await;
        fs::remove_file(folder.path().join("b.toml")).unwrap();
        must_change(&mut watch, "file removed").await;
    }
}

#[tokio::test]
async fn a_change_while_nobody_waits_is_notified_later() {
    let (_folder, path) = place();
    let mut watch = FileWatch::new(vec![path.clone()]).await;
    fs::write(&path, "one").unwrap();
    // Each call is dropped long before silence settles anything, so only what they leave behind can lead to the end.
    let by_pieces = async { while tokio::time::timeout(QUIET / 10, watch.changed()).await.is_err() {} };
    assert!(tokio::time::timeout(MISSING_AFTER, by_pieces).await.is_ok(), "dropped calls forget");
}

#[tokio::test]
async fn two_paths_that_share_a_folder_both_count() {
    let (folder, path) = place();
    let deeper = folder.path().join("deeper/b.toml");
    fs::create_dir(deeper.parent().unwrap()).unwrap();
    for path in [&path, &deeper] {
        fs::write(path, "one").unwrap();
    }
    // The second needs less of the folder than the first: it must not take the rest away.
    let mut watch = without_poll(vec![path.clone(), deeper.clone()]).await;
    for path in [path, deeper] {
        let opened = fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_at(&opened, b"two", 0).unwrap();
        must_change(&mut watch, &path.display().to_string()).await;
    }
}

#[test]
fn a_stir_settles_with_silence_and_without_it_at_its_bound() {
    let first = Instant::now();
    let at = |ms| first + Duration::from_millis(ms);
    for (last, settles) in [(0, 50), (30, 80), (199, 249), (201, 250), (1000, 250)] {
        assert_eq!(Stir { first, last: at(last) }.settles_at(), at(settles));
    }
}
