//! Tests of what is found: applications with mistakes and without, with every kind of connection, in invented time.

use std::sync::Arc;

use super::super::insight::{Detection, Insight};
use super::super::ledger::{Batch, Ledger};
use super::super::queries::{Event, Outcome, Place, QueryLog};
use super::super::said::RouteId;
use super::super::slow::Thresholds;
use super::super::sums::Room;
use super::*;

const MICRO: u64 = 1_000;

/// A pooler that looks at an application.
struct Seen {
    ledger: Arc<Ledger>,
    log: QueryLog,
    insight: Insight,
    owner: Arc<Owner>,
    now: Instant,
}

/// One connection of the application.
struct Connection {
    place: Place,
    /// Whether it writes route tags.
    route: Option<&'static str>,
    state: State,
    /// Between two statements, microseconds.
    gap: u64,
}

#[derive(PartialEq)]
enum State {
    Autocommit,
    InTransaction,
}

fn seen() -> Seen {
    seen_with(Ignored::default())
}

fn seen_with(ignored: Ignored) -> Seen {
    let keys = ["route".to_owned(), "framework".to_owned()];
    let ledger = Ledger::new(Room { most: 100, bytes: usize::MAX }, Thresholds::default())
        .watching(Sayings::new(&keys, 1), Detection::Off);
    let (ledger, now) = (Arc::new(ledger), Instant::now());
    let owner = Owner { database: "shop".into(), user: "app".into() };
    let log = QueryLog::new(owner.clone(), Arc::clone(&ledger), 1);
    let insight = Insight::new(Detection::On(ignored), now);
    Seen { ledger, log, insight, owner: Arc::new(owner), now }
}

impl Connection {
    fn new(client: u64, route: Option<&'static str>) -> Self {
        let place = Place { client, ..Place::default() };
        Self { place, route, state: State::Autocommit, gap: 500 }
    }

    fn run(&mut self, seen: &mut Seen, sql: &str, rows: u64) {
        let tags = self.route.filter(|_| !matches!(sql, "BEGIN" | "COMMIT"));
        let tags = tags.map_or(String::new(), |r| format!(" /*framework='django',route='{r}'*/"));
        self.run_as(seen, &(sql.to_owned() + &tags), rows);
    }

    fn run_as(&mut self, seen: &mut Seen, sql: &str, rows: u64) {
        let run = seen.log.run(sql.as_bytes());
        let said = run.said.as_ref().and_then(|said| said.route);
        let place = Place {
            gap: Some(self.gap * MICRO),
            route: said.unwrap_or(self.place.application),
            ..self.place
        };
        let outcome = Outcome::Complete { rows };
        let event = Event {
            run,
            part: 0,
            nanos: 2_000 * MICRO,
            first_row: None,
            bytes: 0,
            waited: 0,
            outcome,
            place,
        };
        seen.note(event);
        match sql {
            "BEGIN" => self.state = State::InTransaction,
            "COMMIT" => self.state = State::Autocommit,
            _ => {}
        }
        self.place.batch += 1;
        self.place.transaction += u32::from(self.state == State::Autocommit);
        self.gap = 500;
    }

    /// The client does something else for a while before its next statement.
    fn after(&mut self, millis: u64) -> &mut Self {
        self.gap = millis * 1_000;
        self
    }
}

impl Seen {
    fn note(&mut self, event: Event) {
        self.now += Duration::from_nanos(event.nanos + event.place.gap.unwrap_or(0));
        self.add(vec![event], Vec::new());
    }

    fn gone(&mut self, connection: &Connection) {
        self.add(Vec::new(), vec![connection.place.client]);
    }

    fn add(&mut self, events: Vec<Event>, gone: Vec<u64>) {
        let batch = Batch::new(&self.owner, events, gone);
        self.insight.add(&batch, self.now, SystemTime::UNIX_EPOCH);
        self.insight.settle(&self.ledger.sayings, self.now, SystemTime::UNIX_EPOCH);
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.add(Vec::new(), Vec::new());
    }

    fn all(&mut self) -> Vec<Finding> {
        self.wait(Duration::from_secs(6));
        let now = self.now;
        self.insight.findings(now).cloned().collect()
    }

    fn only(&mut self) -> Finding {
        let all = self.all();
        let [one] = &all[..] else { panic!("one, not {all:#?}") };
        one.clone()
    }
}

type Page = fn(&mut Connection, &mut Seen);

fn login(connection: &mut Connection, seen: &mut Seen) {
    connection.run(seen, "SELECT * FROM session WHERE key = 'k'", 1);
}

fn foreign_keys(connection: &mut Connection, seen: &mut Seen) {
    login(connection, seen);
    connection.run(seen, "SELECT * FROM orders LIMIT 20", 20);
    for id in 0..20 {
        connection.run(seen, &format!("SELECT * FROM users WHERE id = {id}"), 1);
    }
}

fn duplicates(connection: &mut Connection, seen: &mut Seen) {
    login(connection, seen);
    for _ in 0..25 {
        connection.run(seen, "SELECT * FROM setting WHERE name = 'tax'", 1);
    }
}

fn writes(connection: &mut Connection, seen: &mut Seen) {
    login(connection, seen);
    for id in 0..25 {
        connection.run(seen, &format!("UPDATE item SET price = 1 WHERE id = {id}"), 1);
    }
}

fn mended(connection: &mut Connection, seen: &mut Seen) {
    login(connection, seen);
    connection.run(seen, "SELECT * FROM orders LIMIT 20", 20);
    connection.run(seen, "SELECT * FROM users WHERE id IN (1, 2, 3)", 20);
    connection.run(seen, "INSERT INTO log (a) VALUES (1), (2), (3)", 3);
}

fn single(connection: &mut Connection, seen: &mut Seen) {
    connection.run(seen, "SELECT * FROM orders JOIN users USING (id) LIMIT 20", 20);
}

/// How the application uses its connections.
#[derive(Clone, Copy, Debug)]
enum Use {
    Kept,
    KeptAtomic,
    ByRequest,
    ByRequestAtomic,
}

const USES: [Use; 4] = [Use::Kept, Use::KeptAtomic, Use::ByRequest, Use::ByRequestAtomic];

/// Asks for a page so often, one request right after the other.
fn browse(seen: &mut Seen, page: Page, requests: u64, how: (Use, Option<&'static str>)) {
    let (uses, route) = how;
    let mut kept = Connection::new(1, route);
    for request in 0..requests {
        let mut own = Connection::new(100 + request, route);
        let (connection, atomic) = match uses {
            Use::Kept => (&mut kept, false),
            Use::KeptAtomic => (&mut kept, true),
            Use::ByRequest => (&mut own, false),
            Use::ByRequestAtomic => (&mut own, true),
        };
        connection.after(3);
        if atomic {
            connection.run(seen, "BEGIN", 0);
        }
        page(connection, seen);
        if atomic {
            connection.run(seen, "COMMIT", 0);
        }
        if matches!(uses, Use::ByRequest | Use::ByRequestAtomic) {
            seen.gone(&own);
        }
    }
}

#[test]
fn each_mistake_is_named_with_its_route_however_connections_are_used() {
    let mistakes: [(Page, Class, &str); 3] = [
        (foreign_keys, Class::NPlusOne, "select * from users where id = $1"),
        (duplicates, Class::Duplicate, "select * from setting where name = $1"),
        (writes, Class::LoopWrite, "update item set price = $1 where id = $2"),
    ];
    for (page, class, text) in mistakes {
        for uses in USES {
            let mut seen = seen();
            browse(&mut seen, page, 5, (uses, Some("/page/")));
            let found = seen.only();
            let is = (found.class, &*found.route, &*found.about.text);
            assert_eq!(is, (class, "/page/", text), "{uses:?}");
            assert!(found.confidence() >= Confidence::Medium, "{uses:?} {found:#?}");
            assert_eq!(found.advice, advice(class, Framework::Django), "{uses:?}");
        }
    }
}

#[test]
fn the_rows_of_the_statement_before_make_it_sure() {
    for uses in USES {
        let mut seen = seen();
        browse(&mut seen, foreign_keys, 5, (uses, Some("/page/")));
        let found = seen.only();
        assert_eq!((found.confidence(), found.median_times()), (Confidence::High, 20), "{uses:?}");
        let (source, rows) = found.source.clone().unwrap();
        assert_eq!((&*source.text, rows), ("select * from orders limit $1", 20));
        // 20 × 2.0 ms and 19 pauses of 0.5 ms, less one of 20.
        assert_eq!(found.saved_micros(), 49_500 * 19 / 20, "{found:#?}");
    }
}

#[test]
fn mended_pages_are_not_named_however_often_they_are_asked_for() {
    for page in [mended as Page, single] {
        for uses in USES {
            for route in [Some("/page/"), None] {
                let mut seen = seen();
                browse(&mut seen, page, 200, (uses, route));
                assert!(seen.all().is_empty(), "{uses:?} {route:?}");
            }
        }
    }
}

#[test]
fn without_tags_transactions_and_short_sessions_are_units() {
    for (uses, kind) in [
        (Use::KeptAtomic, UnitKind::Transaction),
        (Use::ByRequest, UnitKind::Session),
        (Use::ByRequestAtomic, UnitKind::Transaction),
    ] {
        let mut seen = seen();
        browse(&mut seen, duplicates, 5, (uses, None));
        let found = seen.only();
        assert_eq!((found.kind, found.confidence()), (kind, Confidence::Medium), "{uses:?}");
    }
    let mut seen = seen();
    browse(&mut seen, duplicates, 5, (Use::Kept, None));
    let found = seen.only();
    assert_eq!((found.kind, found.confidence()), (UnitKind::Burst, Confidence::Low));
}

#[test]
fn a_trace_is_a_unit_across_connections() {
    let mut seen = seen();
    for request in 1..=4 {
        let (mut one, mut two) = (Connection::new(1, None), Connection::new(2, None));
        for id in 0..12 {
            for connection in [&mut one, &mut two] {
                let trace = format!("/*traceparent='00-{request:032x}-{:016x}-01'*/", id + 1);
                let sql = format!("SELECT * FROM users WHERE id = {id} {trace}");
                connection.run_as(&mut seen, &sql, 1);
            }
        }
    }
    let found = seen.only();
    assert_eq!((found.kind, found.confidence()), (UnitKind::Trace, Confidence::Medium));
    assert_eq!((found.median_times(), found.units), (24, 4));
    assert!(found.trace.is_some());
}

#[test]
fn what_a_driver_pipelines_comes_once() {
    let mut seen = seen();
    for _ in 0..5 {
        let mut connection = Connection::new(1, Some("/page/"));
        login(&mut connection, &mut seen);
        for id in 0..50 {
            let run = seen.log.run(format!("SELECT {id} FROM users /*route='/page/'*/").as_bytes());
            let gap = (id == 0).then_some(500 * MICRO);
            let (outcome, place) =
                (Outcome::Complete { rows: 1 }, Place { gap, ..connection.place });
            seen.note(Event {
                run,
                part: 0,
                nanos: 5_000_000,
                first_row: None,
                bytes: 0,
                waited: 0,
                outcome,
                place,
            });
        }
    }
    assert!(seen.all().is_empty());
}

#[test]
fn what_the_application_excuses_is_not_named() {
    let mut seen = seen();
    let mut connection = Connection::new(1, None);
    for _ in 0..5 {
        connection.run(&mut seen, "BEGIN", 0);
        for id in 0..30 {
            let sql = format!("SELECT * FROM users WHERE id = {id} /*nplusone='ok'*/");
            connection.run_as(&mut seen, &sql, 1);
        }
        connection.run(&mut seen, "COMMIT", 0);
    }
    assert!(seen.all().is_empty());
}

#[test]
fn rules_and_tools_and_hands_keep_findings_away() {
    let rule = |ignored: Ignored| {
        let mut seen = seen_with(ignored);
        browse(&mut seen, foreign_keys, 5, (Use::KeptAtomic, Some("/page/")));
        seen.all().len()
    };
    assert_eq!(rule(Ignored { routes: vec!["/other/".to_owned()], ..Ignored::default() }), 1);
    assert_eq!(rule(Ignored { routes: vec!["/page/".to_owned()], ..Ignored::default() }), 0);
    assert_eq!(rule(Ignored { users: vec!["app".to_owned()], ..Ignored::default() }), 0);
    let mut seen = seen();
    let mut tool = Connection::new(1, None);
    tool.place.application = seen.ledger.sayings.route("shop-migrate");
    for _ in 0..5 {
        tool.run(&mut seen, "BEGIN", 0);
        duplicates(&mut tool, &mut seen);
        tool.run(&mut seen, "COMMIT", 0);
    }
    assert!(seen.all().is_empty());
    browse(&mut seen, foreign_keys, 5, (Use::KeptAtomic, Some("/page/")));
    let found = seen.only();
    assert_eq!(seen.insight.ignore(found.id).map(|f| f.id), Some(found.id));
    assert!(seen.all().is_empty());
    assert!(seen.insight.ignore(1).is_none());
}

#[test]
fn statements_of_one_loop_are_one_finding() {
    let mut seen = seen();
    let mut connection = Connection::new(1, Some("/page/"));
    for _ in 0..5 {
        connection.run(&mut seen, "BEGIN", 0);
        for id in 0..30 {
            connection.run(&mut seen, &format!("SELECT * FROM users WHERE id = {id}"), 1);
            connection.run(&mut seen, &format!("SELECT * FROM address WHERE id = {id}"), 1);
        }
        connection.run(&mut seen, "COMMIT", 0);
    }
    let found = seen.only();
    assert_eq!(&*found.about.text, "select * from users where id = $1");
    assert_eq!(found.companions.len(), 1);
}

#[test]
fn a_finding_needs_three_units_and_goes_when_it_is_silent_for_a_day() {
    let mut seen = seen();
    browse(&mut seen, foreign_keys, 2, (Use::KeptAtomic, Some("/page/")));
    assert!(seen.all().is_empty());
    seen.wait(Duration::from_secs(3_600));
    browse(&mut seen, foreign_keys, 2, (Use::KeptAtomic, Some("/page/")));
    assert!(seen.all().is_empty(), "too long ago");
    browse(&mut seen, foreign_keys, 1, (Use::KeptAtomic, Some("/page/")));
    assert_eq!(seen.only().units, 5);
    seen.wait(Duration::from_secs(23 * 3_600));
    assert_eq!(seen.all().len(), 1);
    seen.wait(Duration::from_secs(2 * 3_600));
    assert!(seen.all().is_empty());
}

#[test]
fn findings_are_bounded() {
    let mut seen = seen();
    for n in 0..MOST_FINDINGS + 50 {
        let mut connection = Connection::new(1, None);
        for _ in 0..3 {
            connection.run(&mut seen, "BEGIN", 0);
            for id in 0..20 {
                connection.run(&mut seen, &format!("SELECT c{n} FROM t WHERE id = {id}"), 1);
            }
            connection.run(&mut seen, "COMMIT", 0);
        }
    }
    assert_eq!(seen.all().len(), MOST_FINDINGS);
}

#[test]
fn pauses_within_a_transaction_are_those_of_the_statement_before() {
    let mut seen = seen();
    let mut connection = Connection::new(1, Some("/pay/"));
    connection.after(60_000).run(&mut seen, "BEGIN", 0);
    connection.run(&mut seen, "SELECT * FROM cart", 3);
    connection.after(2_000).run(&mut seen, "COMMIT", 0);
    connection.after(60_000).run(&mut seen, "SELECT * FROM cart", 3);
    let mut pauses: Vec<_> = seen.insight.pauses().cloned().collect();
    pauses.sort_by_key(|pause| pause.total_micros);
    let is: Vec<_> = pauses.iter().map(|p| (&*p.about.text, p.total_micros)).collect();
    assert_eq!(is, [("begin", 500), ("select * from cart", 2_000_000)]);
    assert_eq!(&*seen.ledger.sayings.name(pauses[1].route), "/pay/");
    assert_eq!(pauses[0].route, RouteId::NONE);
    let (_, spread, _) = seen.insight.pause_spreads().next().unwrap();
    assert_eq!(spread.count(), 2);
}
