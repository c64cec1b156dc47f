//! Asking a database for functions that leave something in the session of whoever calls them. What their bodies do,
//! `sql::routine` reads; when to ask is left to `pool`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::connection::ServerConnection;
use super::exec::{self, ExecError};
use super::statement::Statement;
use crate::protocol::sqlstate::SqlState;
use crate::sql::effects::{Effects, MOST_READ};
use crate::sql::hidden::{Bodies, By, Calls, Hidden, Link, Named};
use crate::sql::routine::{Body, Language};

/// Functions that are asked for at once: with the longest bodies 13 MB.
const PAGE: usize = 200;

/// The most bytes of an answer, for texts that grow as JSON.
const MOST_ANSWER: usize = 32 * 1024 * 1024;

/// The most functions of a database that are read.
const MOST_FUNCTIONS: usize = 20_000;

/// The most links between relations and functions that are read.
const MOST_LINKS: usize = 100_000;

/// The first number that is not of Postgres' own objects.
const FIRST: u32 = 16_384;

/// After functions were changed, Postgres is asked at once, but not for more of the time than one part in this many.
const REST: u32 = 20;

/// That share of so much is had in advance: a change now and then does not wait.
const SAVED: Duration = Duration::from_secs(20);

/// After a question that was not answered the next one waits for this, after each further one twice as long, up to the
/// interval; and for its share of the time.
const AGAIN: Duration = Duration::from_secs(1);

/// Whatever the session is like. `READ COMMITTED`: none that waits for a safe snapshot.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE;\
    SET LOCAL search_path=pg_catalog;SET LOCAL client_encoding='UTF8';\
    SET LOCAL statement_timeout='5s';SET LOCAL lock_timeout='100ms';";

/// Where a change shows: rows that are not Postgres' own (`FirstNormalObjectId`) nor of temporary things, and who wrote
/// them last.
const CATALOGS: [&str; 7] = [
    "pg_proc WHERE oid>=16384 AND pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE left(nspname,8)='pg_temp_')",
    "pg_trigger WHERE NOT tgisinternal AND tgrelid NOT IN (SELECT oid FROM pg_class WHERE relpersistence='t')",
    "pg_rewrite WHERE oid>=16384 AND ev_class NOT IN (SELECT oid FROM pg_class WHERE relpersistence='t')",
    "pg_attrdef WHERE adrelid NOT IN (SELECT oid FROM pg_class WHERE relpersistence='t')",
    "pg_policy",
    "pg_constraint WHERE contype IN ('f','c') AND conrelid NOT IN (SELECT oid FROM pg_class WHERE relpersistence='t')",
    "pg_inherits WHERE inhrelid NOT IN (SELECT oid FROM pg_class WHERE relpersistence='t')",
];

/// And how tables and views are called, which nothing of that says.
const NAMES: &str = "(SELECT sum(hashtext(concat(oid,relname))::bigint) FROM pg_class \
    WHERE oid>=16384 AND relkind IN ('r','p','v','m','f') AND relpersistence<>'t')";

/// Is it not of a temporary schema? Those are their session's, which their client keeps.
const LASTING: &str =
    "p.pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE left(nspname,8)='pg_temp_')";

/// May it be written as a field: with one argument, of a row or what may be one?
const FIELD: &str = "(p.pronargs>0 AND p.pronargs-p.pronargdefaults<=1 AND (p.provariadic<>0 OR \
    EXISTS(SELECT FROM pg_type t WHERE t.oid=p.proargtypes[0] AND t.typtype IN ('c','d','p'))))";

/// A row for each link: name of what is named, is it a relation, name of what does something, is that a relation, does
/// it for writing only.
const LINKS: &str = "SELECT json_build_array(a,ar,b,br,w) FROM (\
    SELECT c.relname a,true ar,p.proname b,false br,true w FROM pg_trigger t \
    JOIN pg_class c ON c.oid=t.tgrelid JOIN pg_proc p ON p.oid=t.tgfoid WHERE NOT t.tgisinternal AND c.relpersistence<>'t' \
    UNION SELECT c.relname,true,coalesce(p.proname,r.relname),p.oid IS NULL,d.classid='pg_attrdef'::regclass \
    FROM pg_depend d \
    LEFT JOIN pg_rewrite w ON d.classid='pg_rewrite'::regclass AND w.oid=d.objid \
    LEFT JOIN pg_attrdef a ON d.classid='pg_attrdef'::regclass AND a.oid=d.objid \
    LEFT JOIN pg_policy y ON d.classid='pg_policy'::regclass AND y.oid=d.objid \
    LEFT JOIN pg_constraint k ON d.classid='pg_constraint'::regclass AND k.oid=d.objid \
    LEFT JOIN pg_index i ON d.classid='pg_class'::regclass AND i.indexrelid=d.objid \
    JOIN pg_class c ON c.oid=coalesce(w.ev_class,a.adrelid,y.polrelid,k.conrelid,i.indrelid) \
    LEFT JOIN pg_proc p ON d.refclassid='pg_proc'::regclass AND p.oid=d.refobjid AND p.oid>=16384 \
    LEFT JOIN pg_class r ON d.refclassid='pg_class'::regclass AND r.oid=d.refobjid AND r.oid<>c.oid \
    AND d.classid IN ('pg_rewrite'::regclass,'pg_policy'::regclass) \
    WHERE coalesce(p.oid,r.oid) IS NOT NULL AND c.relpersistence<>'t' \
    UNION SELECT g.proname,false,p.proname,false,false FROM pg_depend d JOIN pg_proc g ON g.oid=d.objid \
    JOIN pg_proc p ON p.oid=d.refobjid AND p.oid>=16384 \
    WHERE d.classid='pg_proc'::regclass AND d.refclassid='pg_proc'::regclass \
    UNION SELECT p.relname,true,c.relname,true,true FROM pg_constraint k JOIN pg_class p ON p.oid=k.confrelid \
    JOIN pg_class c ON c.oid=k.conrelid AND c.relpersistence<>'t' WHERE k.contype='f' AND (k.confdeltype<>'a' OR k.confupdtype<>'a') \
    UNION SELECT p.relname,true,c.relname,true,true FROM pg_inherits i JOIN pg_class p ON p.oid=i.inhparent \
    JOIN pg_class c ON c.oid=i.inhrelid AND c.relpersistence<>'t') AS l LIMIT ";

/// What is known of the functions of a database that leave something in the session of whoever calls them.
#[derive(Debug, Default)]
pub struct HiddenState {
    /// Is there any? Read for every request.
    any: AtomicBool,
    version: AtomicU64,
    known: RwLock<Arc<Hidden>>,
    /// Is it time to ask?
    due: AtomicBool,
    round: Mutex<Round>,
}

/// When Postgres was asked last, and what it said.
#[derive(Debug, Default)]
struct Round {
    asked: Option<Asked>,
    /// Have functions changed since that began?
    changed: bool,
    asking: Asking,
    /// How often in a row there was no answer.
    failed: u32,
    digest: Box<str>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    /// When it has taken no more than its share of the time.
    rested: Instant,
}

/// Is somebody at it?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asking {
    #[default]
    No,
    UnderWay,
}

/// What a text does out of sight, as far as that was known when somebody asked.
#[derive(Debug, Default)]
pub struct Judged(Mutex<(u64, Option<Arc<Effects>>)>);

/// What came of asking.
#[derive(Debug)]
pub enum Answer {
    /// Nothing has changed.
    Same,
    /// This is what there is now.
    Found(Box<Found>),
    /// Postgres will not say.
    Refused {
        /// Why.
        code: SqlState,
        /// Why, in Postgres' words.
        message: String,
    },
}

/// What is learnt.
#[derive(Debug)]
pub enum Learnt {
    /// Nothing has changed.
    Same,
    /// This is what there is now.
    Found(Found),
    /// There was no answer.
    Nothing,
}

/// What there is.
#[derive(Debug)]
pub struct Found {
    /// What functions and relations do.
    pub hidden: Hidden,
    digest: Box<str>,
    /// Was there more than is read?
    pub is_cut: bool,
}

impl Statement {
    /// Its query text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.body.split(|&b| b == 0).next().unwrap_or_default()
    }
}

impl HiddenState {
    /// Is there any such function?
    #[inline]
    #[must_use]
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// What is known.
    #[must_use]
    pub fn known(&self) -> Arc<Hidden> {
        Arc::clone(&self.known.read())
    }

    /// What a text does out of sight.
    #[cold]
    #[must_use]
    pub fn effects(&self, sql: &[u8]) -> Option<Box<Effects>> {
        self.known().effects(sql)
    }

    /// The same of a text that is kept, with what was last said of it.
    #[cold]
    #[must_use]
    pub fn judge(&self, judged: &Judged, sql: &[u8]) -> Option<Arc<Effects>> {
        if !self.any() {
            return None;
        }
        let version = self.version.load(Ordering::Acquire);
        let mut last = judged.0.lock();
        if last.0 != version {
            *last = (version, self.effects(sql).map(|effects| Arc::from(*effects)));
        }
        last.1.clone()
    }

    /// Functions may have changed: Postgres is asked soon.
    #[cold]
    pub fn note_change(&self, now: Instant) {
        let mut round = self.round.lock();
        round.changed = true;
        if round.is_due(Duration::MAX, now) && round.asked.is_some() {
            self.due.store(true, Ordering::Relaxed);
        }
    }

    /// Time passes; Postgres is to be asked this often, or never.
    pub fn tick(&self, interval: Option<Duration>, now: Instant) {
        let Some(interval) = interval else { return self.forget() };
        let round = self.round.lock();
        if round.is_due(interval, now) {
            self.due.store(true, Ordering::Relaxed);
        }
    }

    /// Is it time to ask? Who is told so must, and says what came of it: [`Self::learn`].
    #[inline]
    #[must_use]
    pub fn take_due(&self) -> bool {
        self.due.load(Ordering::Relaxed) && self.begin()
    }

    #[cold]
    fn begin(&self) -> bool {
        let mut round = self.round.lock();
        let first = self.due.swap(false, Ordering::Relaxed);
        if first {
            // A change from here on may be missed, and counts.
            round.changed = false;
            round.asking = Asking::UnderWay;
        }
        first
    }

    /// What Postgres said last, which shows whether anything has changed since.
    #[must_use]
    pub fn digest(&self) -> Box<str> {
        self.round.lock().digest.clone()
    }

    /// Postgres was asked. Gives what is known now, if that is something else.
    pub fn learn(&self, answer: Learnt, asked_at: Instant, now: Instant) -> Option<Arc<Hidden>> {
        let mut round = self.round.lock();
        let took = now.saturating_duration_since(asked_at);
        let from = round.asked.map_or(now, |last| last.rested.max(now));
        round.asked = Some(Asked { at: now, rested: from + took * REST });
        round.asking = Asking::No;
        round.failed = match answer {
            Learnt::Same | Learnt::Found(_) => 0,
            Learnt::Nothing => round.failed.saturating_add(1),
        };
        let Learnt::Found(Found { hidden, digest, .. }) = answer else { return None };
        round.digest = digest;
        drop(round);
        let hidden = Arc::new(hidden);
        let before = std::mem::replace(&mut *self.known.write(), Arc::clone(&hidden));
        self.version.fetch_add(1, Ordering::Release);
        self.any.store(!hidden.is_empty(), Ordering::Relaxed);
        (before.functions() != hidden.functions()).then_some(hidden)
    }

    /// It is not asked any more.
    fn forget(&self) {
        let mut round = self.round.lock();
        if round.asked.is_some() {
            *round = Round::default();
            self.due.store(false, Ordering::Relaxed);
            self.any.store(false, Ordering::Relaxed);
        }
    }
}

impl Round {
    fn is_due(&self, interval: Duration, now: Instant) -> bool {
        if self.asking == Asking::UnderWay {
            return false;
        }
        let Some(Asked { at, rested }) = self.asked else { return true };
        let passed = now.saturating_duration_since(at);
        let again = self.failed > 0 && passed >= AGAIN * 2_u32.saturating_pow(self.failed - 1);
        passed >= interval || (self.changed || again) && rested <= now + SAVED
    }
}

/// Asks. `digest`: what was said last time. Not cancel safe: a server this was dropped on must be closed.
///
/// # Errors
/// When the connection is of no use any more.
pub async fn ask(server: &mut ServerConnection, digest: &str) -> Result<Answer, ExecError> {
    let mut question = String::from("SELECT concat_ws(',',");
    for (at, catalog) in CATALOGS.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(
            question,
            "{comma}(SELECT concat(count(*),':',sum(hashtext(xmin::text||ctid::text)::bigint)) FROM {catalog})"
        );
    }
    let _ = write!(question, ",{NAMES})");
    let now = match rows(server, &question).await? {
        Ok(rows) => rows.into_iter().next().unwrap_or_default(),
        Err((code, message)) => return Ok(Answer::Refused { code, message }),
    };
    if *now == *digest {
        return Ok(Answer::Same);
    }
    let (bodies, mut is_cut) = match functions(server).await? {
        Ok(bodies) => bodies,
        Err((code, message)) => return Ok(Answer::Refused { code, message }),
    };
    let mut links = Vec::new();
    if bodies.do_anything() {
        match rows(server, &format!("{LINKS}{}", MOST_LINKS + 1)).await? {
            Ok(rows) => links = rows,
            Err((code, message)) => return Ok(Answer::Refused { code, message }),
        }
        is_cut |= links.len() > MOST_LINKS;
    }
    // Tenths of a second for thousands, which clients of this thread should not wait for.
    let closed = tokio::task::spawn_blocking(move || {
        let links: Vec<_> = links.iter().filter_map(|row| link(row)).collect();
        bodies.hidden(&links)
    })
    .await;
    let Ok(hidden) = closed else { return Err(ExecError::Malformed) };
    is_cut |= hidden.is_cut();
    Ok(Answer::Found(Box::new(Found { hidden, digest: now.into(), is_cut })))
}

type Heard<T> = Result<Result<T, (SqlState, String)>, ExecError>;

/// What is said of a function: number, name, language, body, may it be written as a field?
type Row = (String, String, String, Option<String>, bool);

/// The bodies of all functions but those in C; are there more than are read?
async fn functions(server: &mut ServerConnection) -> Heard<(Bodies, bool)> {
    let mut bodies = Bodies::default();
    let mut last = 0;
    for _ in 0..MOST_FUNCTIONS / PAGE {
        // A body in standard SQL is kept as a tree; its text is made from that.
        let question = format!(
            "SELECT json_build_array(oid::text,proname,lanname,CASE WHEN octet_length(body)<={MOST_READ} THEN body END,field) \
             FROM (SELECT p.oid,p.proname,l.lanname,{FIELD} field,CASE WHEN p.prosrc<>'' THEN p.prosrc ELSE pg_get_functiondef(p.oid) END body \
             FROM pg_proc p JOIN pg_language l ON l.oid=p.prolang \
             WHERE p.oid>={} AND p.prokind<>'a' AND {LASTING} AND l.lanname NOT IN ('c','internal') ORDER BY p.oid LIMIT {PAGE}) AS f",
            FIRST.max(u32::saturating_add(last, 1))
        );
        let rows = match rows(server, &question).await? {
            Ok(rows) => rows,
            Err(refused) => return Ok(Err(refused)),
        };
        let is_last = rows.len() < PAGE;
        let Some(after) = rows.last().and_then(|row| number(row)) else {
            return Ok(Ok((bodies, !is_last)));
        };
        last = after;
        // Milliseconds, which clients of this thread should not wait for.
        let read = tokio::task::spawn_blocking(move || {
            rows.iter().for_each(|row| function(row, &mut bodies));
            bodies
        });
        bodies = read.await.map_err(|_| ExecError::Malformed)?;
        if is_last {
            return Ok(Ok((bodies, false)));
        }
    }
    Ok(Ok((bodies, true)))
}

/// The first column of what a question gives, in a transaction of its own.
async fn rows(server: &mut ServerConnection, question: &str) -> Heard<Vec<String>> {
    let heard = exec::ask(server, &format!("{BEGIN}{question};ROLLBACK"), MOST_ANSWER).await?;
    if let Some(error) = heard.error {
        exec::run(server, "ROLLBACK").await?;
        return Ok(Err(error));
    }
    if heard.rows.is_cut {
        return Err(ExecError::Malformed);
    }
    // A database without an encoding may have any bytes.
    let text = |value: Box<[u8]>| String::from_utf8_lossy(&value).into_owned();
    Ok(Ok(heard.rows.values.into_iter().map(text).collect()))
}

fn number(row: &str) -> Option<u32> {
    let (number, ..): Row = serde_json::from_str(row).ok()?;
    number.parse().ok()
}

fn function(row: &str, bodies: &mut Bodies) {
    let Ok((_, name, language, body, field)) = serde_json::from_str::<Row>(row) else { return };
    let calls = if field { Calls::Field } else { Calls::Usual };
    bodies.add(&name, calls, Body::read(Language::of(&language), body.as_deref()));
}

fn link(row: &str) -> Option<Link> {
    let (named, is_relation, by, by_relation, writes): (String, bool, String, bool, bool) =
        serde_json::from_str(row).ok()?;
    let thing = |name: String, relation| {
        if relation { Named::Relation(name.into()) } else { Named::Function(name.into()) }
    };
    let by = thing(by, by_relation);
    let by = if writes { By::Write(by) } else { By::Use(by) };
    Some(Link { named: thing(named, is_relation), by })
}

#[cfg(test)]
#[path = "hidden_tests.rs"]
mod tests;
