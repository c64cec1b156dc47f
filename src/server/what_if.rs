//! Plans with indexes that are not there, where the extension hypopg is: what an index would change before anybody
//! builds it.

use super::connection::ServerConnection;
use super::exec::{self, ExecError};
use super::explain::{PLANNED, Question, ask_plan, execute, literal, look_up};
use crate::plan::facts::Facts;
use crate::plan::hints::{Seen, hints};
use crate::plan::node::{Plan, Relation};

/// How our names for the statement begin that is planned once more.
const NAME: &str = "pooler_what_if";

/// Indexes of one plan that are tried.
const MOST_TRIED: usize = 3;

/// The longest name of a schema, quoted.
const MOST_NAME: usize = 256;

/// What a plan would be with an index.
#[derive(Clone, Debug, PartialEq)]
pub struct WhatIf {
    /// The index, as a hint names it.
    pub sql: String,
    /// What came of it.
    pub used: Used,
}

/// Would an index be used?
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Used {
    /// Yes: what the plan would cost, in Postgres' unit.
    Cost(f64),
    /// No.
    No,
    /// It cannot be tried.
    Unknown,
}

/// Tries the indexes that the hints of this plan name; none where there is no hypopg. If it gives any, the session
/// still has them, and the server must be closed. Nothing must come after it in the transaction. Not cancel safe.
///
/// # Errors
/// When the connection is of no use any more.
pub(super) async fn ask(
    server: &mut ServerConnection,
    question: &Question,
    values: &str,
    (plan, facts): (&Plan, &[(Relation, Facts)]),
) -> Result<Vec<WhatIf>, ExecError> {
    let wanted = hints(plan, facts, &Seen::default()).into_iter().filter_map(|hint| hint.sql);
    let wanted: Vec<_> =
        wanted.filter(|sql| sql.starts_with("CREATE INDEX ")).take(MOST_TRIED).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e \
        JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'hypopg'";
    let heard = exec::ask(server, sql, MOST_NAME).await?;
    let Some(schema) = heard.rows.text().filter(|_| heard.error.is_none()).map(str::to_owned)
    else {
        return Ok(Vec::new());
    };
    let mut tried = Vec::new();
    for (at, sql) in wanted.into_iter().enumerate() {
        // An error of one would end the transaction for the others.
        if exec::run(server, "SAVEPOINT pooler").await?.error.is_some() {
            break;
        }
        // A statement outlives the savepoint; the session goes with it.
        let name = format!("{NAME}_{at}");
        let used = match plan_with(server, (&name, question, values), (&schema, &sql)).await? {
            Some(plan) if plan.has_hypothetical() => Used::Cost(plan.root.cost.1),
            Some(_) => Used::No,
            None => Used::Unknown,
        };
        tried.push(WhatIf { sql, used });
        if exec::run(server, "ROLLBACK TO SAVEPOINT pooler").await?.error.is_some() {
            break;
        }
    }
    Ok(tried)
}

/// The plan with one such index; none if it cannot be made.
async fn plan_with(
    server: &mut ServerConnection,
    (name, question, values): (&str, &Question, &str),
    (schema, index): (&str, &str),
) -> Result<Option<Plan>, ExecError> {
    let index = index.replacen(" CONCURRENTLY", "", 1);
    // The names of the statement are looked up where they were.
    let path = look_up(question.search_path.as_deref());
    let sql = format!(
        "SELECT {schema}.hypopg_reset();SELECT {schema}.hypopg_create_index({});{path}",
        literal(&index)
    );
    if exec::run(server, &sql).await?.error.is_some() {
        return Ok(None);
    }
    // A statement that is planned already would keep its plan.
    if exec::prepare(server, name.as_bytes(), &question.statement).await?.error.is_some() {
        return Ok(None);
    }
    let plan = ask_plan(server, &execute(name, PLANNED, values)).await?;
    Ok(plan.ok().map(|(_, plan)| plan))
}
