//! Laws of endpoints from a file, with real files: what takes effect, what is a problem, and that nothing is lost.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use isobar_config::{AddressText, FILE_BYTES_MAX};
use proptest::prelude::*;

use super::*;
use crate::feed::SourceState;

/// No change takes that long, even on a machine that does much else.
const MISSING_AFTER: Duration = Duration::from_secs(20);

/// One port a line; a line of `none` is no endpoint.
#[expect(clippy::needless_pass_by_value, reason = "the form of a parser")]
fn ports(path: &Path, text: String) -> Result<Vec<EndpointSettings>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| *line != "none");
    let endpoints = lines.map(|(i, line)| {
        let port = line.parse().map_err(|error| format!("{}:{}: {error}", path.display(), i + 1))?;
        let address = AddressText::Tcp { host: "127.0.0.1".to_owned(), port };
        Ok(EndpointSettings { address, id: None, weight: 1, priority: 0, zone: None, hash_key: None })
    });
    endpoints.collect()
}

fn told(state: &SourceState<EndpointSettings>) -> Vec<u16> {
    let ports = state.endpoints.iter().map(|endpoint| match endpoint.address {
        AddressText::Tcp { port, .. } => port,
        AddressText::Unix(_) => 0,
    });
    ports.collect()
}

type State = SourceState<EndpointSettings>;

async fn until(feed: &mut Feed<EndpointSettings>, what: &str, wanted: impl FnMut(&State) -> bool) -> State {
    let waited = tokio::time::timeout(MISSING_AFTER, feed.wait_for(wanted)).await;
    waited.unwrap_or_else(|_| panic!("{what}: the state never came")).unwrap().clone()
}

async fn until_ports(feed: &mut Feed<EndpointSettings>, what: &str, ports: &[u16]) -> State {
    until(feed, what, |state| told(state) == ports && state.problem.is_none()).await
}

fn put_over(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn place(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cart.txt");
    fs::write(&path, text).unwrap();
    (folder, path)
}

#[tokio::test]
async fn the_first_reading_is_there_at_once() {
    let (_folder, path) = place("1\n2\n");
    let feed = file(path, ports).await;
    let state = feed.borrow();
    assert_eq!((told(&state), state.revision, &state.problem), (vec![1, 2], 1, &None));
    assert!(state.updated.is_some());
}

#[tokio::test]
async fn every_way_to_save_takes_effect() {
    let (folder, path) = place("1\n");
    let mut feed = file(path.clone(), ports).await;
    fs::write(&path, "2\n").unwrap();
    until_ports(&mut feed, "written", &[2]).await;
    let opened = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_at(&opened, b"3", 0).unwrap();
    until_ports(&mut feed, "written in place", &[3]).await;
    put_over(&path, "4\n");
    until_ports(&mut feed, "renamed over", &[4]).await;
    fs::remove_file(&path).unwrap();
    fs::write(&path, "5\n").unwrap();
    until_ports(&mut feed, "deleted and made anew", &[5]).await;
    let aside = folder.path().join("aside.txt");
    fs::write(&aside, "6\n").unwrap();
    symlink(&aside, folder.path().join("link")).unwrap();
    fs::rename(folder.path().join("link"), &path).unwrap();
    until_ports(&mut feed, "a link in its place", &[6]).await;
    fs::write(&aside, "7\n").unwrap();
    until_ports(&mut feed, "written behind the link", &[7]).await;
}

#[tokio::test]
async fn a_mounted_folder_that_is_swapped_as_a_whole_takes_effect() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (release, text) in [("..1", "1\n"), ("..2", "2\n")] {
        fs::create_dir(at(release)).unwrap();
        fs::write(at(release).join("cart.txt"), text).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/cart.txt", at("cart.txt")).unwrap();
    let mut feed = file(at("cart.txt"), ports).await;
    assert_eq!(told(&feed.borrow()), [1]);
    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    fs::remove_dir_all(at("..1")).unwrap();
    until_ports(&mut feed, "swapped", &[2]).await;
}

/// Makes a file unusable.
type Spoil = fn(&Path);

#[tokio::test]
async fn a_file_that_cannot_be_used_changes_nothing_and_says_why() {
    let (_folder, path) = place("1\n");
    let mut feed = file(path.clone(), ports).await;
    let spoilers: [(&str, Spoil); 7] = [
        ("cannot read it", |path| fs::remove_file(path).unwrap()),
        ("it is empty", |path| drop(fs::File::create(path).unwrap())),
        ("cart.txt:2: invalid digit", |path| put_over(path, "2\ngarbage\n")),
        ("it is not UTF-8: line 2", |path| fs::write(path, b"2\n\xff\n").unwrap()),
        ("no regular file", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("bytes, which no list", |path| {
            fs::File::create(path).unwrap().set_len(FILE_BYTES_MAX as u64 + 1).unwrap();
        }),
        ("no regular file", |path| {
            fs::remove_file(path).unwrap();
            let folder = fs::File::open(path.parent().unwrap()).unwrap();
            let name = path.file_name().unwrap();
            let mode = rustix::fs::Mode::RUSR;
            rustix::fs::mknodat(&folder, name, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }),
    ];
    for (revision, (why, spoil)) in (1..).zip(spoilers) {
        spoil(&path);
        let state =
            until(&mut feed, why, |state| state.problem.as_deref().is_some_and(|p| p.contains(why))).await;
        assert_eq!((told(&state), state.revision), (vec![revision as u16], revision), "{why}");
        let _ = fs::remove_dir(&path);
        let next = revision as u16 + 1;
        put_over(&path, &format!("{next}\n"));
        until_ports(&mut feed, "mended", &[next]).await;
    }
}

#[tokio::test]
async fn the_same_content_saved_again_mends_a_problem_and_is_no_change() {
    let (_folder, path) = place("1\n");
    let mut feed = file(path.clone(), ports).await;
    fs::remove_file(&path).unwrap();
    until(&mut feed, "deleted", |state| state.problem.is_some()).await;
    fs::write(&path, "1\n").unwrap();
    let state = until_ports(&mut feed, "made anew", &[1]).await;
    assert_eq!(state.revision, 1);
}

#[tokio::test]
async fn a_file_that_comes_later_is_read_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("later/cart.txt");
    let mut feed = file(path.clone(), ports).await;
    assert_eq!(feed.borrow_and_update().revision, 0);
    assert!(feed.borrow().problem.is_some());
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, "1\n").unwrap();
    until_ports(&mut feed, "made", &[1]).await;
}

#[tokio::test]
async fn an_explicit_empty_set_is_one() {
    let (_folder, path) = place("1\n");
    let mut feed = file(path.clone(), ports).await;
    fs::write(&path, "none\n").unwrap();
    let state = until_ports(&mut feed, "none", &[]).await;
    assert_eq!(state.revision, 2);
}

#[tokio::test]
async fn a_parser_that_panics_is_a_problem_and_not_the_end() {
    let (_folder, path) = place("1\n");
    let mut feed = file(path.clone(), |path, text| {
        assert!(text != "panic\n");
        ports(path, text)
    })
    .await;
    fs::write(&path, "panic\n").unwrap();
    let state = until(&mut feed, "panic", |state| state.problem.is_some()).await;
    assert_eq!(told(&state), [1]);
    fs::write(&path, "2\n").unwrap();
    until_ports(&mut feed, "mended", &[2]).await;
}

#[tokio::test]
async fn the_follower_ends_with_its_last_reader() {
    let (_folder, path) = place("1\n");
    // The parser lives as long as the follower.
    let alive = Arc::new(());
    let watched = Arc::downgrade(&alive);
    let feed = file(path, move |path, text| {
        assert_eq!(Arc::strong_count(&alive), 1);
        ports(path, text)
    })
    .await;
    assert_eq!(watched.strong_count(), 1);
    drop(feed);
    let ended = async {
        while watched.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MISSING_AFTER, ended).await.expect("the follower goes on");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_content_whatever_takes_the_last_good_set_away(
        contents in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..64),
                prop::collection::vec(prop::sample::select(b"0123456789\nnone".to_vec()), 0..12),
            ],
            1..8,
        )
    ) {
        let (_folder, path) = place("1\n");
        let (writer, feed) = FeedWriter::new();
        let log = ProblemLog::new("test".to_owned());
        let mut follower = Follower { path: path.clone().into(), parse: Arc::new(ports), writer, log };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(follower.read());
        let mut good = vec![1];
        for content in contents {
            fs::write(&path, &content).unwrap();
            let parsed = match String::from_utf8(content) {
                Ok(text) if !text.is_empty() => ports(&path, text).ok(),
                _ => None,
            };
            runtime.block_on(follower.read());
            let state = feed.borrow();
            prop_assert_eq!(state.problem.is_some(), parsed.is_none());
            if let Some(endpoints) = parsed {
                good = told(&SourceState { endpoints: endpoints.into(), ..SourceState::default() });
            }
            prop_assert_eq!(told(&state), good.clone());
        }
    }
}
