//! How long a statement took, as the queue of owed replies tells it: from when Postgres can have begun.

use super::owed::{Answer, Owed, Request};
use crate::protocol::backend::TransactionStatus;
use crate::protocol::frame::server_tag;

/// The queue of one session; times are whatever the test says.
struct Session(Owed<()>);

impl Session {
    fn send(&mut self, requests: &[Request], now: u64) {
        for request in requests {
            self.0.push(*request, Answer::Forward, None, now);
        }
    }

    /// How long what this reply completes has taken.
    fn took(&mut self, tag: u8, now: u64) -> Option<u64> {
        let done = if tag == server_tag::READY_FOR_QUERY {
            self.0.received_ready(TransactionStatus::Idle, now).unwrap().1
        } else {
            self.0.received(tag, now).unwrap().1
        };
        done.map(|done| now - done.started_at)
    }
}

#[test]
fn an_execute_is_charged_with_its_parse_and_bind_however_the_replies_come() {
    let mut session = Session(Owed::default());
    for (start, replies) in [(0, [100, 100, 100]), (1_000, [1_030, 1_060, 1_100])] {
        use Request::{Bind, Execute, Parse, Sync};
        session.send(&[Parse, Bind, Execute, Sync], start);
        session.took(server_tag::PARSE_COMPLETE, replies[0]);
        session.took(server_tag::BIND_COMPLETE, replies[1]);
        assert_eq!(session.took(server_tag::COMMAND_COMPLETE, replies[2]), Some(100));
        session.took(server_tag::READY_FOR_QUERY, replies[2]);
    }
}

#[test]
fn in_a_pipeline_each_is_charged_from_the_end_of_the_one_before() {
    let mut session = Session(Owed::default());
    session.send(&[Request::Bind, Request::Execute, Request::Bind, Request::Execute], 0);
    session.took(server_tag::BIND_COMPLETE, 10);
    assert_eq!(session.took(server_tag::COMMAND_COMPLETE, 70), Some(70));
    session.took(server_tag::BIND_COMPLETE, 75);
    assert_eq!(session.took(server_tag::COMMAND_COMPLETE, 100), Some(30));
}

#[test]
fn a_query_behind_one_of_ours_is_charged_from_when_both_were_sent() {
    let mut session = Session(Owed::default());
    session.0.push(Request::Query, Answer::Swallow, None, 0);
    session.send(&[Request::Query], 0);
    session.took(server_tag::COMMAND_COMPLETE, 50);
    session.took(server_tag::READY_FOR_QUERY, 50);
    session.took(server_tag::COMMAND_COMPLETE, 50);
    assert_eq!(session.took(server_tag::READY_FOR_QUERY, 50), Some(50));
}
