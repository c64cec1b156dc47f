//! Timeouts: which client has taken too long. Pure; a worker asks for all its clients at each tick,
//! so that no query pays for a timer of its own.

use std::time::Duration;

use super::record::{ClientRecord, Kick, Phase};

/// What a client is to be pushed with, if it has taken too long.
#[must_use]
pub fn overdue(client: &ClientRecord, now: u64) -> Option<Kick> {
    let limits = client.timeouts.borrow();
    let passed = |limit: Option<Duration>, since: u64| {
        limit.is_some_and(|limit| u128::from(now.saturating_sub(since)) >= limit.as_nanos())
    };
    let since = client.since.get();
    let transaction =
        || passed(limits.transaction, client.transaction_since.get()).then_some(Kick::Transaction);
    match client.phase.get() {
        Phase::Idle => passed(limits.client_idle, since).then_some(Kick::ClientIdle),
        Phase::Waiting => passed(limits.query_wait, since).then_some(Kick::QueryWait),
        Phase::Running => {
            transaction().or_else(|| passed(limits.query, since).then_some(Kick::QueryTimeout))
        }
        Phase::IdleInTransaction => transaction()
            .or_else(|| passed(limits.idle_transaction, since).then_some(Kick::IdleTransaction)),
        Phase::Orphaned => transaction()
            .or_else(|| passed(limits.query, since).then_some(Kick::QueryTimeout))
            .or(Some(Kick::Probe)),
        // It goes on for as long as both sides want it.
        Phase::Replicating => None,
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use super::super::key::SecretLength;
    use super::super::record::Identity;
    use super::*;
    use crate::config::ClientTimeouts;
    use crate::net::address::ClientAddress;

    fn client() -> ClientRecord {
        let second = |n| Some(Duration::from_secs(n));
        let timeouts = ClientTimeouts {
            query_wait: second(1),
            query: second(2),
            idle_transaction: second(3),
            transaction: second(4),
            client_idle: second(5),
        };
        let names = Arc::new(("d".into(), "u".into()));
        let (address, secret_length) = (ClientAddress::Unix, SecretLength::Short);
        let who = Identity { id: 1, address, names, pool_place: 0, secret_length };
        ClientRecord::new(who, Rc::new(timeouts), 0)
    }

    #[test]
    fn each_phase_has_its_limit() {
        let client = client();
        for (phase, seconds, kick) in [
            (Phase::Idle, 5, Kick::ClientIdle),
            (Phase::Waiting, 1, Kick::QueryWait),
            (Phase::Running, 2, Kick::QueryTimeout),
            (Phase::IdleInTransaction, 3, Kick::IdleTransaction),
        ] {
            client.enter(phase, 0);
            assert_eq!(overdue(&client, seconds * 1_000_000_000 - 1), None, "{phase:?}");
            assert_eq!(overdue(&client, seconds * 1_000_000_000), Some(kick));
        }
    }

    #[test]
    fn a_transaction_counts_from_its_start() {
        let client = client();
        client.enter(Phase::Running, 3_900_000_000);
        assert_eq!(overdue(&client, 4_000_000_000), Some(Kick::Transaction));
    }
}
