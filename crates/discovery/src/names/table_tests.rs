//! Laws of the table of names, checked by hand and against a naive model.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const EVERY: Duration = Duration::from_secs(5);

fn table(names: &[&str], now: Instant) -> NameTable {
    let mut table = NameTable::new(EVERY, 7);
    table.handle_names(set(names), now);
    table
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn addresses(last: &[u8]) -> Vec<SocketAddr> {
    last.iter().map(|last| SocketAddr::from(([10, 0, 0, *last], 0))).collect()
}

#[test]
fn failures_in_a_row_wait_longer_up_to_the_interval_and_an_answer_ends_the_row() {
    let mut now = Instant::now();
    let mut table = table(&["cart"], now);
    let failure = || Err("no".to_owned());
    let answers = [failure(), failure(), failure(), failure(), failure(), Ok(addresses(&[1])), failure()];
    for (answer, seconds) in answers.into_iter().zip([1, 2, 4, 5, 5, 5, 1]) {
        assert_eq!(table.poll_question(now).as_deref(), Some("cart"));
        table.handle_answer("cart", answer, now);
        let due = table.poll_timeout().unwrap();
        let wait = Duration::from_secs(seconds);
        assert!(due - now >= wait * 9 / 10 && due - now <= wait * 11 / 10, "{:?} for {wait:?}", due - now);
        now = due;
    }
}

#[test]
fn an_interval_below_the_first_retry_is_the_retry_and_none_is_without_pause() {
    let now = Instant::now();
    for every in [EVERY_MIN, Duration::ZERO] {
        let mut table = NameTable::new(every, 7);
        table.handle_names(set(&["cart"]), now);
        table.poll_question(now);
        table.handle_answer("cart", Err("no".to_owned()), now);
        let wait = table.poll_timeout().unwrap() - now;
        assert!(wait >= EVERY_MIN * 9 / 10 && wait <= EVERY_MIN * 11 / 10, "{wait:?}");
    }
}

#[test]
fn a_name_that_waits_for_its_answer_is_not_asked_for_again() {
    let now = Instant::now();
    let mut table = table(&["cart"], now);
    assert!(table.poll_question(now).is_some());
    assert_eq!(table.poll_question(now + EVERY), None);
    assert_eq!(table.poll_timeout(), None);
}

#[test]
fn an_answer_to_a_name_that_is_not_written_any_more_changes_nothing() {
    let now = Instant::now();
    let mut table = table(&["cart"], now);
    table.poll_question(now);
    table.handle_names(set(&[]), now);
    table.handle_answer("cart", Ok(addresses(&[1])), now);
    assert_eq!((table.addresses("cart"), table.poll_timeout(), table.problem()), (&[][..], None, None));
}

#[test]
fn a_problem_shows_some_failures_and_counts_the_rest() {
    let now = Instant::now();
    let names: Vec<String> = (0..9).map(|i| format!("name{i}")).collect();
    let mut table = table(&names.iter().map(String::as_str).collect::<Vec<_>>(), now);
    for name in &names[1..] {
        table.handle_answer(name, Err("no such name".to_owned()), now);
    }
    table.handle_answer("name0", Ok(addresses(&[1])), now);
    let problem = table.problem().unwrap();
    assert_eq!(problem.matches("no such name").count(), FAILURES_SHOWN_MAX);
    assert!(problem.ends_with("and 5 more names"), "{problem}");
}

/// What can happen to a table of the names `a`, `b` and `c`.
#[derive(Debug, Clone)]
enum Event {
    Written([bool; 3]),
    Answer(usize, Option<Vec<u8>>),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        any::<[bool; 3]>().prop_map(Event::Written),
        (0..3_usize, prop::option::of(prop::collection::vec(0..4_u8, 1..4)))
            .prop_map(|(name, answer)| Event::Answer(name, answer)),
    ]
}

proptest! {
    #[test]
    fn a_name_has_the_addresses_of_its_last_good_answer_since_it_was_written(
        events in prop::collection::vec(event(), 0..40)
    ) {
        let now = Instant::now();
        let names = ["a", "b", "c"];
        let mut table = table(&[], now);
        let mut model: [Option<Vec<u8>>; 3] = [None, None, None];
        for event in events {
            match event {
                Event::Written(written) => {
                    let kept: Vec<_> = (0..3).filter(|i| written[*i]).map(|i| names[i]).collect();
                    table.handle_names(set(&kept), now);
                    for (known, written) in model.iter_mut().zip(written) {
                        *known = written.then(|| known.take().unwrap_or_default());
                    }
                }
                Event::Answer(i, answer) => {
                    let told = answer.as_deref().map(addresses).ok_or("no".to_owned());
                    table.handle_answer(names[i], told, now);
                    if let (Some(known), Some(mut answer)) = (&mut model[i], answer) {
                        answer.sort_unstable();
                        answer.dedup();
                        *known = answer;
                    }
                }
            }
            for (name, known) in names.iter().zip(&model) {
                prop_assert_eq!(table.addresses(name), addresses(known.as_deref().unwrap_or_default()));
            }
            prop_assert_eq!(table.poll_timeout().is_some(), model.iter().any(Option::is_some));
        }
    }
}
