//! Laws of following names: what is asked when, and what the feed says meanwhile. The resolver is a table that the tests
//! change, time is virtual.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use isobar_config::AddressText;

use super::*;
use crate::fixed;

/// How a name is answered.
#[derive(Debug, Clone)]
enum Answered {
    With(Vec<&'static str>),
    Failure(&'static str),
    Never,
    Panic,
}

/// Names with their answers; any other name does not exist. Remembers the questions.
#[derive(Default)]
pub(super) struct Table {
    names: Mutex<BTreeMap<String, Answered>>,
    asked: Mutex<Vec<(String, Instant)>>,
    under_way: AtomicUsize,
    under_way_max: AtomicUsize,
}

impl Table {
    pub(super) fn of<const N: usize>(names: [(&str, Vec<&'static str>); N]) -> Arc<Self> {
        let table = Self::default();
        for (name, addresses) in names {
            table.answer(name, Answered::With(addresses));
        }
        Arc::new(table)
    }

    /// The names asked for until now, in order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    fn answer(&self, name: &str, answer: Answered) {
        self.names.lock().unwrap().insert(name.to_owned(), answer);
    }

    /// When a name was asked for.
    fn moments(&self, name: &str) -> Vec<Instant> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(one, _)| one == name).map(|(_, at)| *at).collect()
    }
}

impl Lookup for Table {
    async fn lookup(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        self.asked.lock().unwrap().push((host.to_owned(), Instant::now()));
        let n = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.under_way_max.fetch_max(n, Ordering::Relaxed);
        // An answer is never there at once.
        tokio::task::yield_now().await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let answer = self.names.lock().unwrap().get(host).cloned();
        match answer.unwrap_or(Answered::Failure("no such name")) {
            Answered::With(addresses) => {
                Ok(addresses.iter().map(|a| SocketAddr::new(a.parse().unwrap(), 0)).collect())
            }
            Answered::Failure(why) => Err(io::Error::other(why)),
            Answered::Never => std::future::pending().await,
            Answered::Panic => panic!("a resolver that panics"),
        }
    }
}

/// An endpoint as written.
pub(super) fn tcp(host: &str, port: u16) -> EndpointSettings {
    EndpointSettings {
        address: AddressText::Tcp { host: host.to_owned(), port },
        id: None,
        weight: 1,
        priority: 0,
        zone: None,
        hash_key: None,
    }
}

async fn follow(written: &Feed<EndpointSettings>, table: &Arc<Table>) -> Feed<Found> {
    names(written.clone(), Arc::clone(table), RERESOLVE_INTERVAL, 7, "cart").await
}

fn ids(state: &SourceState<Found>) -> Vec<String> {
    state.endpoints.iter().map(|found| found.endpoint.id.to_string()).collect()
}

/// Waits, in virtual time, for a state.
async fn until(
    feed: &mut Feed<Found>,
    wanted: impl FnMut(&SourceState<Found>) -> bool,
) -> SourceState<Found> {
    let waited = tokio::time::timeout(Duration::from_mins(1), feed.wait_for(wanted)).await;
    waited.expect("the state never came").unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn the_written_order_is_kept_and_only_endpoints_of_names_are_inferred() {
    let table = Table::of([("cart", vec!["10.0.0.2", "10.0.0.1"])]);
    let (_list, written) = fixed(vec![tcp("127.0.0.1", 1), tcp("cart", 2), tcp("127.0.0.1", 3)]);
    let feed = follow(&written, &table).await;
    let state = feed.borrow().clone();
    assert_eq!(ids(&state), ["127.0.0.1:1", "cart/10.0.0.1:2", "cart/10.0.0.2:2", "127.0.0.1:3"]);
    let inferred: Vec<_> = state.endpoints.iter().map(|found| found.inferred).collect();
    assert_eq!(inferred, [false, true, true, false]);
    assert_eq!((state.revision, state.problem), (1, None));
}

#[test]
fn a_list_without_names_needs_no_timer() {
    // On this runtime a timer panics.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let table = Table::of([]);
        let (list, written) = fixed(vec![tcp("127.0.0.1", 1)]);
        let mut feed = follow(&written, &table).await;
        list.replace(vec![tcp("127.0.0.1", 2)]);
        feed.wait_for(|state| ids(state) == ["127.0.0.1:2"]).await.unwrap();
        drop(list);
        // The follower sees the end of the list before it sees that nobody reads.
        tokio::task::yield_now().await;
        assert!(feed.has_changed().is_ok(), "the follower ended with its list");
        assert!(table.asked().is_empty());
    });
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_asked_for_again_at_the_interval_and_a_new_one_takes_effect() {
    let table = Table::of([("cart", vec!["10.0.0.1"])]);
    let (_list, written) = fixed(vec![tcp("cart", 1), tcp("cart", 2)]);
    let mut feed = follow(&written, &table).await;
    let unchanged = tokio::time::timeout(Duration::from_mins(2), feed.changed()).await;
    assert!(unchanged.is_err(), "the same answer was told as news");
    table.answer("cart", Answered::With(vec!["10.0.0.2", "10.0.0.1"]));
    let state = until(&mut feed, |state| state.revision == 2).await;
    assert_eq!(ids(&state), ["cart/10.0.0.1:1", "cart/10.0.0.2:1", "cart/10.0.0.1:2", "cart/10.0.0.2:2"]);
    let moments = table.moments("cart");
    let gaps: Vec<_> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // The timer's step is a millisecond.
    let (least, most) = (Duration::from_millis(4499), Duration::from_millis(5502));
    assert!(gaps.iter().all(|gap| (least..most).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap != gaps[0]), "there is no jitter: {gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_look_up_keeps_the_addresses_and_tells_why() {
    for (failure, why) in [
        (Answered::Failure("server failure"), "server failure"),
        (Answered::With(vec![]), "no address"),
        (Answered::Never, "no answer within"),
        (Answered::Panic, "gave no answer"),
    ] {
        let table = Table::of([("cart", vec!["10.0.0.1"])]);
        let (_list, written) = fixed(vec![tcp("cart", 1)]);
        let mut feed = follow(&written, &table).await;
        table.answer("cart", failure);
        let state = until(&mut feed, |state| state.problem.is_some()).await;
        let problem = state.problem.as_deref().unwrap();
        assert!(problem.contains(why) && problem.contains("\"cart\""), "{problem}");
        assert_eq!((ids(&state), state.revision), (vec!["cart/10.0.0.1:1".to_owned()], 1));
        table.answer("cart", Answered::With(vec!["10.0.0.1"]));
        let state = until(&mut feed, |state| state.problem.is_none()).await;
        assert_eq!(state.revision, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_never_resolved_contributes_no_endpoint_and_hinders_no_other() {
    let table = Table::of([("cart", vec!["10.0.0.1"])]);
    let (_list, written) = fixed(vec![tcp("nobody", 1), tcp("cart", 1), tcp("127.0.0.1", 1)]);
    let mut feed = follow(&written, &table).await;
    let state = feed.borrow_and_update().clone();
    assert_eq!(ids(&state), ["cart/10.0.0.1:1", "127.0.0.1:1"]);
    assert!(state.problem.unwrap().contains("cannot resolve the name \"nobody\": no such name"));
    table.answer("nobody", Answered::With(vec!["10.0.0.9"]));
    let state = until(&mut feed, |state| state.problem.is_none()).await;
    assert_eq!(ids(&state), ["nobody/10.0.0.9:1", "cart/10.0.0.1:1", "127.0.0.1:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_in_the_place_of_another_leaves_no_moment_without_endpoints() {
    let table = Table::of([("old", vec!["10.0.0.1"]), ("new", vec!["10.0.0.2"])]);
    let (list, written) = fixed(vec![tcp("old", 1)]);
    let mut feed = follow(&written, &table).await;
    let asked_at = Instant::now();
    list.replace(vec![tcp("new", 1)]);
    feed.changed().await.unwrap();
    assert_eq!(ids(&feed.borrow()), ["new/10.0.0.2:1"]);
    assert_eq!(table.moments("new"), [asked_at], "a new name waited for its question");
}

#[tokio::test(start_paused = true)]
async fn a_new_name_without_an_answer_holds_a_change_back_for_its_patience_only() {
    let table = Table::of([]);
    table.answer("slow", Answered::Never);
    let (list, written) = fixed(vec![tcp("127.0.0.1", 1), tcp("127.0.0.1", 2)]);
    let mut feed = follow(&written, &table).await;
    let start = Instant::now();
    list.replace(vec![tcp("slow", 1), tcp("127.0.0.1", 2)]);
    let state = until(&mut feed, |state| state.revision == 2).await;
    assert_eq!(ids(&state), ["127.0.0.1:2"]);
    assert!(state.problem.unwrap().contains("\"slow\": no answer yet"));
    assert!(start.elapsed() <= NEW_NAMES_PATIENCE + Duration::from_millis(2), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_the_written_feed_does_not_know_or_complains_of_is_passed_on() {
    let (writer, written) = FeedWriter::new();
    writer.tell(Reading { endpoints: None, problem: Some("no file".to_owned()) });
    let table = Table::of([]);
    let mut feed = follow(&written, &table).await;
    let state = feed.borrow_and_update().clone();
    assert_eq!((state.revision, state.problem.as_deref()), (0, Some("no file")));
    writer.tell(Reading { endpoints: Some(vec![tcp("nobody", 1)]), problem: Some("half".to_owned()) });
    let half =
        |state: &SourceState<Found>| state.problem.as_deref().is_some_and(|text| text.starts_with("half; "));
    let state = until(&mut feed, half).await;
    assert!(state.problem.unwrap().contains("nobody"));
    assert_eq!(state.revision, 0, "a list of whom nobody is found is not known");
}

#[tokio::test(start_paused = true)]
async fn a_list_of_whom_nobody_is_found_leaves_the_last_endpoints_and_an_empty_one_does_not() {
    let table = Table::of([]);
    let (list, written) = fixed(vec![tcp("127.0.0.1", 1), tcp("127.0.0.1", 2)]);
    let mut feed = follow(&written, &table).await;
    list.replace(vec![tcp("nobody", 1)]);
    let state = until(&mut feed, |state| state.problem.is_some()).await;
    assert_eq!(ids(&state), ["127.0.0.1:1", "127.0.0.1:2"]);
    table.answer("nobody", Answered::With(vec!["10.0.0.9"]));
    let state = until(&mut feed, |state| state.problem.is_none()).await;
    assert_eq!(ids(&state), ["nobody/10.0.0.9:1"]);
    list.replace(Vec::new());
    let state = until(&mut feed, |state| state.endpoints.is_empty()).await;
    assert_eq!(state.problem, None);
}

#[tokio::test(start_paused = true)]
async fn the_follower_ends_with_its_last_reader() {
    let table = Table::of([("cart", vec!["10.0.0.1"])]);
    let (writer, written) = FeedWriter::new();
    writer.tell(Reading { endpoints: Some(vec![tcp("cart", 1)]), problem: None });
    let feed = names(written, Arc::clone(&table), RERESOLVE_INTERVAL, 7, "cart").await;
    drop(feed);
    tokio::time::timeout(Duration::from_mins(1), writer.closed()).await.expect("the follower still reads");
}

#[tokio::test(start_paused = true)]
async fn questions_under_way_are_bounded_and_each_name_has_one() {
    let table = Table::of([]);
    let written: Vec<_> = (0..200).map(|i| tcp(&format!("name{}", i % 100), i)).collect();
    let (_list, written) = fixed(written);
    let _feed = follow(&written, &table).await;
    assert!(table.under_way_max.load(Ordering::Relaxed) <= LOOKUPS_MAX);
    let mut asked = table.asked();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 100);
    assert_eq!(table.asked().len(), 100);
}
