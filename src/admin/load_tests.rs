//! How long pages take when there is as much to show as there can be: every statement that is told apart, every route,
//! ten thousand clients. The thread that answers also lets clients in.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::http::StatusCode;

use super::routes::ENDPOINTS;
use super::tests::{Site, Worker, run};
use crate::client::key::SecretLength;
use crate::client::record::{ClientRecord, Identity};
use crate::net::address::ClientAddress;
use crate::stats::queries::{Outcome, Place, Times, Watched};
use crate::stats::sums::MOST_TRACKED;

const CLIENTS: u64 = 10_000;

/// More new statements at once count as a flood.
const AT_ONCE: usize = 1_000;

/// What a page may take at best of three times: this build is not optimised. Optimised, it is fifty milliseconds, with
/// others at work.
const LIMIT: Duration = Duration::from_millis(150);

/// As many statements as are told apart, each of its own route as far as there are routes.
fn fill(site: &Site) {
    let log = site.handle.queries.as_ref().unwrap();
    let ledger = site.ledger();
    let (mut now, wall) = (Instant::now(), SystemTime::now());
    for number in 0..MOST_TRACKED + 100 {
        let sql = format!(
            "SELECT c{number}, other FROM orders JOIN items USING (id) WHERE c{number} = $1"
        );
        let tagged = format!("{sql} /*route='/page/{number}'*/");
        for call in 1..=20_u64 {
            let mut watched = Watched::new(log.run(tagged.as_bytes()), 0);
            let ended = call * call * 1_000 * (number as u64 % 100 + 1);
            let times = Times { sent: 0, began: 0, ended };
            log.note(
                watched.end(Outcome::Complete { rows: 1 }, times, Place::default(), 0).unwrap(),
            );
        }
        if number % AT_ONCE == AT_ONCE - 1 {
            log.flush();
            ledger.add_up_at(now, wall);
            now += Duration::from_secs(11);
        }
    }
    log.flush();
    ledger.add_up_at(now, wall);
}

fn connect(site: &Site) {
    let names: Arc<(Box<str>, Box<str>)> = Arc::new(("shop".into(), "app".into()));
    let mut clients = site.context.clients.borrow_mut();
    for id in 0..CLIENTS {
        let address = ClientAddress::Unix;
        let names = Arc::clone(&names);
        let secret_length = SecretLength::Short;
        let who = Identity { id, address, names, pool_place: 0, secret_length };
        clients.insert(Rc::new(ClientRecord::new(who, Rc::default(), id)));
    }
}

#[test]
fn no_page_takes_long_however_much_there_is() {
    run(async || {
        let site = Site::new(Worker::Answers);
        site.expect_no_probes();
        fill(&site);
        connect(&site);
        let full = ["/clients?limit=1000", "/queries?limit=500&kind=all", "/routes?limit=500"];
        let hard =
            ["/queries?sort=errors", "/queries?sort=p99&q=ORDERS", "/queries?window=5m&sort=p95"];
        let pages = ENDPOINTS.iter().map(|(path, _)| *path).filter(|path| !path.contains('{'));
        for path in pages.chain(full).chain(hard) {
            let mut took = Duration::MAX;
            for _ in 0..3 {
                let asked = Instant::now();
                let got = site.get(path).await;
                took = took.min(asked.elapsed());
                assert_eq!(got.status, StatusCode::OK, "{path}: {got:?}");
            }
            // Each histogram has to be read for these.
            let limit = if path.contains("sort=p9") { 3 * LIMIT } else { LIMIT };
            assert!(took < limit, "{path} took {took:?}");
        }
        let (_, queries) = site.json("/queries").await;
        let tracked = queries["tracked"].as_u64().unwrap();
        assert!(tracked >= MOST_TRACKED as u64 * 9 / 10, "{tracked}");
        assert_eq!(site.json("/clients").await.1["matching"], CLIENTS);
    });
}
