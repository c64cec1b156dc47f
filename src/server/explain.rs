//! Asking Postgres how it would run a statement, on a server that no client holds. Nothing is run: the statement is
//! prepared under a name of ours and planned without values, in a transaction that may write nothing and that is
//! rolled back.

use std::sync::Arc;

use super::connection::{Sent, ServerConnection};
use super::exec::{self, ExecError};
use super::owed::{Answer, Request};
use super::parameters::{Settings, quote};
use crate::plan::facts::{self, Facts};
use crate::plan::node::{Plan, Relation};
use crate::protocol::backend::TransactionStatus;
use crate::protocol::frontend;
use crate::protocol::sqlstate::SqlState;

/// Our name for the statement; no client's, since those are not sent as they are.
const NAME: &str = "pooler_explain";

/// The longest plan that is read, in bytes of JSON.
pub const MOST_PLAN: usize = 512 * 1024;

/// The longest answer about one table, in bytes of JSON.
const MOST_FACTS: usize = 256 * 1024;

/// Plans without values, which is what prepared statements end up with; within these limits, since planning takes
/// locks and may run functions.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;SET LOCAL statement_timeout='2s';\
    SET LOCAL lock_timeout='100ms';SET LOCAL plan_cache_mode=force_generic_plan;\
    SET LOCAL client_encoding='UTF8'";

/// Gives up what there is: a function that is run for a plan may take a lock that outlives its transaction.
const END: &str = "ROLLBACK;SELECT pg_catalog.pg_advisory_unlock_all()";

/// What is to be planned.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its text, a NUL, and its parameters' types, as a Parse has them.
    pub statement: Box<[u8]>,
    /// Which schemas its names are looked up in, unless those of a fresh session.
    pub search_path: Option<Box<str>>,
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
}

/// Asks. Afterwards the session is as a fresh one, or [`ServerConnection::is_reusable`] says no. Not cancel safe: a
/// server this was dropped on must be closed.
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
    if let Some(path) = &question.search_path {
        begin.push_str(";SELECT pg_catalog.set_config('search_path',E");
        quote(&mut begin, path, '\'');
        begin.push_str(",true)");
    }
    if let Some((code, message)) = exec::run(server, &begin).await?.error {
        return Ok(Reply::Refused { code, message });
    }
    let prepared = exec::prepare(server, NAME.as_bytes(), &question.statement).await?;
    if let Some((code, message)) = prepared.error {
        return Ok(Reply::Refused { code, message });
    }
    let heard = exec::ask(server, &execute(prepared.parameters), MOST_PLAN).await?;
    if let Some((code, message)) = heard.error {
        return Ok(Reply::Refused { code, message });
    }
    let Some(json) = heard.rows.text().map(str::to_owned) else { return Ok(Reply::Unreadable) };
    // Milliseconds for a long one, which clients of this thread should not wait for.
    let read = tokio::task::spawn_blocking(move || (Plan::read(&json), json)).await;
    let Ok((Ok(plan), json)) = read else { return Ok(Reply::Unreadable) };
    let facts = ask_facts(server, &plan).await?;
    Ok(Reply::Planned(Box::new(Planned { json, plan, facts })))
}

/// An EXECUTE without parameters has no parentheses.
fn execute(parameters: Option<u16>) -> String {
    let nulls = vec!["NULL"; parameters.unwrap_or(0).into()].join(",");
    let values = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    format!("EXPLAIN (FORMAT JSON,SETTINGS,VERBOSE) EXECUTE {NAME}{values}")
}

/// What the catalogs say of the plan's tables; what cannot be asked is left out.
async fn ask_facts(
    server: &mut ServerConnection,
    plan: &Plan,
) -> Result<Vec<(Relation, Facts)>, ExecError> {
    let mut known = Vec::new();
    for relation in facts::relations(plan) {
        let literal = |text: &str| {
            let mut sql = "E".to_owned();
            quote(&mut sql, text, '\'');
            sql
        };
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
    fn every_parameter_is_null() {
        let explain = "EXPLAIN (FORMAT JSON,SETTINGS,VERBOSE) EXECUTE pooler_explain";
        assert_eq!(execute(None), explain);
        assert_eq!(execute(Some(0)), explain);
        assert_eq!(execute(Some(2)), format!("{explain}(NULL,NULL)"));
    }
}
