//! Asking Postgres how it would run a statement, on a server that no client holds. Unless it is said, nothing is run:
//! the statement is prepared under a name of ours and planned, in a transaction that may write nothing and that is
//! rolled back.

use std::fmt;
use std::sync::Arc;

use super::connection::{Sent, ServerConnection};
use super::exec::{self, ExecError};
use super::owed::{Answer, Request};
use super::parameters::{Settings, quote};
use super::what_if::{self, WhatIf};
use crate::plan::calls::{called, has_into};
use crate::plan::facts::{self, Facts};
use crate::plan::node::{Plan, Relation};
use crate::protocol::backend::TransactionStatus;
use crate::protocol::bound::{Value, Values};
use crate::protocol::frame::split_cstr;
use crate::protocol::frontend;
use crate::protocol::sqlstate::SqlState;

/// Our name for the statement; no client's, since those are not sent as they are.
const NAME: &str = "pooler_explain";

/// The longest plan that is read, in bytes of JSON.
pub const MOST_PLAN: usize = 512 * 1024;

/// The longest answer about one table, in bytes of JSON.
const MOST_FACTS: usize = 256 * 1024;

/// The longest list of functions, in bytes.
const MOST_NAMES: usize = 8 * 1024;

/// Within these limits, since planning takes locks and may run functions.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;SET LOCAL statement_timeout='2s';\
    SET LOCAL lock_timeout='100ms';SET LOCAL client_encoding='UTF8';SET LOCAL plan_cache_mode=";

/// Gives up what there is: a function that is run for a plan may take a lock that outlives its transaction.
const END: &str = "ROLLBACK;SELECT pg_catalog.pg_advisory_unlock_all()";

/// What is to be planned.
#[derive(Clone)]
pub struct Question {
    /// Its text, a NUL, and its parameters' types, as a Parse has them.
    pub statement: Arc<[u8]>,
    /// Which schemas its names are looked up in, unless those of a fresh session.
    pub search_path: Option<Box<str>>,
    /// For which values.
    pub mode: Mode,
}

/// Its text may have values.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// For which values a plan is made.
#[derive(Clone, PartialEq, Eq)]
pub enum Mode {
    /// For none, which is what prepared statements end up with.
    Generic,
    /// For these.
    Sample {
        /// Formats and values, as a Bind has them; none: the text has its own.
        values: Option<Box<[u8]>>,
        /// Whether it is run, too.
        run: Run,
    },
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generic => f.write_str("Generic"),
            Self::Sample { values: _, run } => write!(f, "Sample({run:?})"),
        }
    }
}

/// Is a statement run to see what its plan does?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    /// No.
    #[default]
    No,
    /// Yes, if nothing speaks against it.
    Analyze,
}

/// What Postgres says.
#[derive(Debug)]
pub enum Reply {
    /// The plan.
    Planned(Box<Planned>),
    /// It cannot be planned, in Postgres' words.
    Refused {
        /// Why.
        code: SqlState,
        /// Why, for people.
        message: String,
    },
    /// Its plan is too long, or none that can be read.
    Unreadable,
    /// Its values are of types that are not known here, or not UTF-8.
    Unwritable,
    /// It is not run.
    NotRun(NotRun),
}

/// Why a statement is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRun {
    /// It is no SELECT that only reads.
    #[error("it changes or locks rows")]
    Writes,
    /// Its functions may do anything.
    #[error("it calls what is VOLATILE: {0}")]
    Volatile(String),
}

/// A plan.
#[derive(Debug)]
pub struct Planned {
    /// As Postgres gave it, in JSON.
    pub json: String,
    /// The same, read.
    pub plan: Plan,
    /// What is known of the tables that are read from end to end.
    pub facts: Vec<(Relation, Facts)>,
    /// What it would be with indexes that are not there.
    pub what_if: Vec<WhatIf>,
}

/// Asks. Afterwards the session is as a fresh one, or [`ServerConnection::is_reusable`] says no, or the answer has
/// something in [`Planned::what_if`]. Not cancel safe: a server this was dropped on must be closed.
///
/// # Errors
/// When the connection is of no use any more.
pub async fn explain(
    server: &mut ServerConnection,
    fresh: &Arc<Settings>,
    question: Question,
) -> Result<Reply, ExecError> {
    if server.apply(fresh, 0) != Sent::Nothing
        && let Some((code, message)) = exec::settle(server).await?.error
    {
        return Err(ExecError::Unfit { code, message });
    }
    let reply = plan(server, &question).await;
    frontend::write_query(&mut server.unsent, END);
    server.statements.doubt_unnamed();
    server.owed.push(Request::Query, Answer::Swallow, None, 0);
    frontend::write_close_statement(&mut server.unsent, NAME.as_bytes());
    server.owed.push(Request::Close, Answer::Swallow, None, 0);
    exec::push_sync(server);
    let ended = exec::settle(server).await?;
    match ended.error {
        Some((code, message)) => Err(ExecError::Unfit { code, message }),
        None if server.owed.status() != TransactionStatus::Idle => Err(ExecError::Malformed),
        None => reply,
    }
}

async fn plan(server: &mut ServerConnection, question: &Question) -> Result<Reply, ExecError> {
    let mut begin = BEGIN.to_owned();
    begin.push_str(match question.mode {
        Mode::Generic => "force_generic_plan",
        Mode::Sample { .. } => "force_custom_plan",
    });
    if let Some(path) = &question.search_path {
        begin.push(';');
        begin.push_str(&look_up(Some(path)));
    }
    if let Some((code, message)) = exec::run(server, &begin).await?.error {
        return Ok(Reply::Refused { code, message });
    }
    let prepared = exec::prepare(server, NAME.as_bytes(), &question.statement).await?;
    if let Some((code, message)) = prepared.error {
        return Ok(Reply::Refused { code, message });
    }
    let Some(values) = arguments(&question.mode, &prepared.parameters) else {
        return Ok(Reply::Unwritable);
    };
    let (mut json, mut plan) = match ask_plan(server, &execute(NAME, PLANNED, &values)).await? {
        Ok(read) => read,
        Err(reply) => return Ok(reply),
    };
    if matches!(question.mode, Mode::Sample { run: Run::Analyze, .. }) {
        if let Some(why) = not_run(server, &plan, &json, question).await? {
            return Ok(Reply::NotRun(why));
        }
        (json, plan) = match ask_plan(server, &execute(NAME, ANALYZED, &values)).await? {
            Ok(read) => read,
            Err(reply) => return Ok(reply),
        };
    }
    let facts = ask_facts(server, &plan).await?;
    let what_if = what_if::ask(server, question, &values, (&plan, &facts)).await?;
    Ok(Reply::Planned(Box::new(Planned { json, plan, facts, what_if })))
}

/// Options of EXPLAIN for a plan alone.
pub(super) const PLANNED: &str = "FORMAT JSON,SETTINGS,VERBOSE";

/// And for one that is run.
const ANALYZED: &str = "ANALYZE,BUFFERS,FORMAT JSON,SETTINGS,VERBOSE";

/// Asks for a plan; the inner error is why there is none.
pub(super) async fn ask_plan(
    server: &mut ServerConnection,
    sql: &str,
) -> Result<Result<(String, Plan), Reply>, ExecError> {
    let heard = exec::ask(server, sql, MOST_PLAN).await?;
    if let Some((code, message)) = heard.error {
        return Ok(Err(Reply::Refused { code, message }));
    }
    let Some(json) = heard.rows.text().map(str::to_owned) else {
        return Ok(Err(Reply::Unreadable));
    };
    // Milliseconds for a long one, which clients of this thread should not wait for.
    let read = tokio::task::spawn_blocking(move || (Plan::read(&json), json)).await;
    let Ok((Ok(plan), json)) = read else { return Ok(Err(Reply::Unreadable)) };
    Ok(Ok((json, plan)))
}

/// What stands behind the name in an EXECUTE; none: a value cannot be written.
fn arguments(mode: &Mode, types: &[u32]) -> Option<String> {
    let values: Vec<String> = match mode {
        Mode::Generic => types.iter().map(|_| "NULL".to_owned()).collect(),
        Mode::Sample { values: None, .. } => Vec::new(),
        Mode::Sample { values: Some(values), .. } => {
            let read = Values::read(values)?;
            let written = |(at, value): (usize, &Value<'_>)| {
                if value.bytes.is_none() {
                    return Some("NULL".to_owned());
                }
                value.text(types.get(at).copied().unwrap_or(0)).map(|text| literal(&text))
            };
            read.values.iter().enumerate().map(written).collect::<Option<_>>()?
        }
    };
    // An EXECUTE without parameters has no parentheses.
    Some(if values.is_empty() { String::new() } else { format!("({})", values.join(",")) })
}

pub(super) fn execute(name: &str, options: &str, values: &str) -> String {
    format!("EXPLAIN ({options}) EXECUTE {name}{values}")
}

/// From now on, names are looked up where the statement's are.
pub(super) fn look_up(path: Option<&str>) -> String {
    match path {
        None => "SET LOCAL search_path TO DEFAULT".to_owned(),
        Some(path) => {
            format!("SELECT pg_catalog.set_config('search_path',{},true)", literal(path))
        }
    }
}

pub(super) fn literal(text: &str) -> String {
    let mut sql = "E".to_owned();
    quote(&mut sql, text, '\'');
    sql
}

/// What speaks against running a statement, beside the transaction that may write nothing.
async fn not_run(
    server: &mut ServerConnection,
    plan: &Plan,
    json: &str,
    question: &Question,
) -> Result<Option<NotRun>, ExecError> {
    let text = split_cstr(&question.statement).map_or(&question.statement[..], |(text, _)| text);
    // SELECT INTO is planned as any SELECT, and a temporary table may be made all the same.
    if plan.nodes().any(|node| node.is("ModifyTable") || node.is("LockRows")) || has_into(text) {
        return Ok(Some(NotRun::Writes));
    }
    let Some(names) = called(&String::from_utf8_lossy(text), json) else {
        return Ok(Some(NotRun::Volatile("too many functions to know".to_owned())));
    };
    if names.is_empty() {
        return Ok(None);
    }
    let names: Vec<_> = names.iter().map(|name| literal(name)).collect();
    // An aggregate is as its parts are.
    let sql = format!(
        "SET LOCAL search_path=pg_catalog;\
         SELECT pg_catalog.string_agg(DISTINCT p.proname::text, ', ') FROM pg_catalog.pg_proc p \
         WHERE p.proname = ANY (ARRAY[{}]::name[]) AND (p.provolatile = 'v' OR EXISTS \
         (SELECT FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc t \
          ON t.oid IN (a.aggtransfn, a.aggfinalfn) WHERE a.aggfnoid = p.oid AND t.provolatile = 'v'))",
        names.join(",")
    );
    let heard = exec::ask(server, &sql, MOST_NAMES).await?;
    let back = exec::run(server, &look_up(question.search_path.as_deref())).await?;
    let unknown = || "what cannot be looked up".to_owned();
    Ok(match (heard.error.or(back.error), heard.rows.is_cut) {
        (None, false) => heard.rows.text().map(|names| NotRun::Volatile(names.to_owned())),
        _ => Some(NotRun::Volatile(unknown())),
    })
}

/// What the catalogs say of the plan's tables; what cannot be asked is left out.
async fn ask_facts(
    server: &mut ServerConnection,
    plan: &Plan,
) -> Result<Vec<(Relation, Facts)>, ExecError> {
    let mut known = Vec::new();
    for relation in facts::relations(plan) {
        let question = facts::question(&literal(&relation.schema), &literal(&relation.name));
        let sql = format!("SET LOCAL search_path=pg_catalog;{question}");
        let heard = exec::ask(server, &sql, MOST_FACTS).await?;
        if heard.error.is_some() {
            break;
        }
        known.extend(heard.rows.text().and_then(Facts::read).map(|facts| (relation, facts)));
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_values_every_parameter_is_null() {
        let of = |types: &[u32]| arguments(&Mode::Generic, types).unwrap();
        assert_eq!([of(&[]), of(&[23, 25])], ["", "(NULL,NULL)"]);
        let sql = execute(NAME, PLANNED, &of(&[23]));
        assert_eq!(sql, "EXPLAIN (FORMAT JSON,SETTINGS,VERBOSE) EXECUTE pooler_explain(NULL)");
    }

    #[test]
    fn values_are_literals_whatever_they_hold() {
        let values = [
            &[0, 2, 0, 1, 0, 0, 0, 3][..],
            &[0, 0, 0, 4, 0, 0, 0, 7],
            &[0, 0, 0, 4],
            b"a'\\b",
            &[255, 255, 255, 255],
        ];
        let mode = |values: &[u8]| Mode::Sample { values: Some(values.into()), run: Run::No };
        let values = values.concat();
        // A format for the third is missing, which Postgres would refuse.
        assert_eq!(arguments(&mode(&values), &[23, 25, 25]).unwrap(), "(E'7',E'a''\\\\b',NULL)");
        assert_eq!(arguments(&mode(&values), &[600, 25, 25]), None, "a point");
        assert_eq!(arguments(&mode(&[]), &[]), None);
        let question =
            Question { statement: b"v4lue"[..].into(), search_path: None, mode: mode(b"v4lue") };
        let debug = format!("{question:?}");
        assert_eq!(debug, "Question { mode: Sample(No), .. }", "no values");
        let latin = [0, 0, 0, 1, 0, 0, 0, 1, 0xe9];
        assert_eq!(arguments(&mode(&latin), &[25]), None, "not UTF-8");
    }
}
