//! Plans with indexes that are not there, where the extension hypopg is: what an index would change before anybody
//! builds it.

use super::connection::ServerConnection;
use super::exec::{self, ExecError};
use super::explain::{PLANNED, Question, ask_plan, execute, literal};
use crate::plan::facts::Facts;
use crate::plan::hints::{Seen, hints};
use crate::plan::node::{Plan, Relation};

/// Our name for the statement that is planned once more.
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
    /// What the plan would cost, in Postgres' unit; none: it would not be used, or cannot be tried.
    pub cost: Option<f64>,
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
    for sql in wanted {
        let plan = plan_with(server, question, values, (&schema, &sql)).await?;
        let cost = plan.filter(Plan::has_hypothetical).map(|plan| plan.root.cost.1);
        tried.push(WhatIf { sql, cost });
    }
    Ok(tried)
}

/// The plan with one such index; none if it cannot be made.
async fn plan_with(
    server: &mut ServerConnection,
    question: &Question,
    values: &str,
    (schema, index): (&str, &str),
) -> Result<Option<Plan>, ExecError> {
    let index = index.replacen(" CONCURRENTLY", "", 1);
    let mut sql = format!(
        "SELECT {schema}.hypopg_reset();SELECT {schema}.hypopg_create_index({})",
        literal(&index)
    );
    // The names of the statement are looked up where they were.
    match &question.search_path {
        None => sql.push_str(";SET LOCAL search_path TO DEFAULT"),
        Some(path) => {
            let path = literal(path);
            sql.push_str(&format!(";SELECT pg_catalog.set_config('search_path',{path},true)"));
        }
    }
    if exec::run(server, &sql).await?.error.is_some() {
        return Ok(None);
    }
    // A statement that is planned already would keep its plan.
    if exec::prepare(server, NAME.as_bytes(), &question.statement).await?.error.is_some() {
        return Ok(None);
    }
    let plan = ask_plan(server, &execute(NAME, PLANNED, values)).await?;
    if exec::run(server, &format!("DEALLOCATE {NAME}")).await?.error.is_some() {
        return Ok(None);
    }
    Ok(plan.ok().map(|(_, plan)| plan))
}
