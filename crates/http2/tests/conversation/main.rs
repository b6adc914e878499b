//! A client against a server: what one end writes is what the other reads, whatever the messages, the windows, the pieces in
//! which bytes travel and the order in which everybody comes to act.
//!
//! Holders of streams behave as tasks do: who is told to wait acts again only when the connection says that it may, so a wake
//! that is missing shows as a conversation that stands still.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../laws/wire/mod.rs"]
mod wire;

mod end;
mod message;
mod schedule;

use end::Outcome;
use proptest::prelude::*;
use schedule::{Conversation, Incident};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_message_comes_as_it_was_written_and_nothing_stands_still(seed: u64) {
        let conversation = Conversation::run(seed, Incident::None);
        for (n, exchange) in conversation.exchanges.iter().enumerate() {
            prop_assert_eq!(&exchange.outcome, &Some(Outcome::Whole), "exchange {}", n);
        }
    }

    #[test]
    fn streams_that_are_reset_break_off_and_the_others_go_on(seed: u64) {
        let conversation = Conversation::run(seed, Incident::Resets);
        for (n, exchange) in conversation.exchanges.iter().enumerate() {
            let outcome = exchange.outcome.as_ref();
            prop_assert!(outcome.is_some(), "exchange {} has no end", n);
            prop_assert!(exchange.was_reset || outcome == Some(&Outcome::Whole), "exchange {}: {:?}", n, outcome);
        }
    }

    #[test]
    fn a_server_that_leaves_serves_what_it_took_and_tells_what_it_did_not(seed: u64) {
        let conversation = Conversation::run(seed, Incident::Leave);
        for (n, exchange) in conversation.exchanges.iter().enumerate() {
            let was_taken = conversation.taken.contains(&n);
            let expected = if was_taken { Outcome::Whole } else { Outcome::Unprocessed };
            prop_assert_eq!(&exchange.outcome, &Some(expected), "exchange {}", n);
        }
        prop_assert!(conversation.has_left());
    }

    #[test]
    fn a_connection_that_is_lost_ends_every_stream_and_none_as_if_it_were_whole(seed: u64) {
        for incident in [Incident::Lost, Incident::Failed] {
            let conversation = Conversation::run(seed, incident);
            for (n, exchange) in conversation.exchanges.iter().enumerate() {
                prop_assert!(exchange.outcome.is_some(), "exchange {} has no end", n);
            }
        }
    }
}
