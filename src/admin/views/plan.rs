//! A plan: as text for people, in JSON as Postgres gave it, with the plans before it.

use maud::{Markup, html};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::numbers::millis;
use crate::admin::access::Sight;
use crate::admin::answer::View;
use crate::admin::human;
use crate::control::explain::Explainer;
use crate::control::explained::{Explained, Source};
use crate::control::plans::Era;
use crate::plan::hints::Hint;
use crate::plan::text::{Columns, tree};
use crate::sql::fingerprint::Fingerprint;
use crate::stats::record::Owner;

/// What holds for every plan that is made without values.
pub(crate) const LABEL: &str = "generic plan: parameter values unknown; estimates are averages";

/// A plan.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct PlanView {
    fingerprint: String,
    database: String,
    user: String,
    text: String,
    /// What was planned: `prepared`, a text that a client prepared, `normalised`, the text shown here, or `sample`, a
    /// single call with its values.
    source: &'static str,
    /// Where its names were looked up; `null`: as in a fresh session.
    search_path: Option<String>,
    label: String,
    taken: String,
    took_ms: f64,
    plan_hash: String,
    /// The plan as Postgres gave it.
    plan: Value,
    /// The same as Postgres shows it in text.
    tree: String,
    /// What may be wrong with it: to consider, never done by the pooler.
    hints: Vec<Hint>,
    /// The plans that it had since the program started, the newest first.
    history: Vec<EraRow>,
}

/// A plan of a statement, as long as it was the same.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(crate) struct EraRow {
    pub(crate) plan_hash: String,
    /// What it reads.
    pub(crate) summary: String,
    /// In Postgres' unit.
    pub(crate) total_cost: f64,
    pub(crate) first_seen: String,
    pub(crate) last_seen: String,
}

impl From<Era> for EraRow {
    fn from(era: Era) -> Self {
        Self {
            plan_hash: hash(era.hash),
            summary: era.summary,
            total_cost: era.cost,
            first_seen: human::moment(era.first_seen),
            last_seen: human::moment(era.last_seen),
        }
    }
}

/// What is known of the plans of a statement of one pool.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(crate) struct KnownPlan {
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) label: &'static str,
    /// When the last one was asked for; `null`: it is not remembered in full.
    pub(crate) taken: Option<String>,
    /// The last one, as Postgres shows it in text; `null`: it is not remembered in full.
    pub(crate) tree: Option<String>,
    /// What may be wrong with it.
    pub(crate) hints: Vec<Hint>,
    /// The plans that it had since the program started, the newest first.
    pub(crate) history: Vec<EraRow>,
}

impl KnownPlan {
    /// Of one statement and pool; none if it was never explained.
    pub(crate) fn of(
        explainer: &Explainer,
        fingerprint: Fingerprint,
        owner: Owner,
        sight: Sight,
    ) -> Option<Self> {
        let (database, user) = (owner.database.to_string(), owner.user.to_string());
        let (last, eras) = explainer.known(fingerprint, owner);
        let last = last.as_deref();
        let (tree, hints) = last.map(|last| seen(last, sight)).unzip();
        (!eras.is_empty()).then(|| Self {
            database,
            user,
            label: LABEL,
            taken: last.map(|last| human::moment(last.taken)),
            tree,
            hints: hints.unwrap_or_default(),
            history: eras.into_iter().map(EraRow::from).collect(),
        })
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let Self { database, user, label, taken, tree, hints, history } = self;
        let mut text = format!("\nplan of {user}@{database}");
        if let (Some(taken), Some(tree)) = (taken, tree) {
            text.push_str(&format!(" at {taken}\n{label}\n\n{}", clean(tree)));
        }
        text.push('\n');
        hints.iter().for_each(|hint| text.push_str(&hint_text(hint)));
        history.iter().for_each(|era| text.push_str(&era.line()));
        text
    }

    /// For browsers.
    pub(crate) fn html(&self) -> Markup {
        html! {
            h2 { "plan of " (self.user) "@" (self.database) }
            @if let Some(tree) = &self.tree { pre.text { (tree) } }
            @for hint in &self.hints {
                div.find {
                    b { (hint.advice) } br; (hint.evidence)
                    @if let Some(sql) = &hint.sql { pre { (sql) ";" } }
                }
            }
            div.wide {
                table {
                    thead { tr { th.l { "plan" } th { "cost" } th.l { "first seen" } th.l { "last seen" } th.l { "reads" } } }
                    tbody {
                        @for era in &self.history {
                            tr {
                                td.l { (era.plan_hash) }
                                td { (format!("{:.2}", era.total_cost)) }
                                td.l.dim { (era.first_seen) }
                                td.l.dim { (era.last_seen) }
                                td.l { (era.summary) }
                            }
                        }
                    }
                }
            }
            footer { (self.label) "." }
        }
    }
}

/// The tree and the hints as one sees them who may see no values, or may.
fn seen(explained: &Explained, sight: Sight) -> (String, Vec<Hint>) {
    match sight {
        Sight::Values => (tree(&explained.plan, Columns::Hidden), explained.hints.clone()),
        Sight::NoValues => (explained.masked.tree.clone(), explained.masked.hints.clone()),
    }
}

/// Buttons that ask for the plan of a statement of these pools (database and user): the page's script shows and serves them.
pub(crate) fn buttons<'a>(
    fingerprint: &str,
    owners: impl Iterator<Item = (&'a str, &'a str)>,
) -> Markup {
    html! {
        @for (database, user) in owners.take(MOST_BUTTONS) {
            button hidden data-post={ "/queries/" (fingerprint) "/explain" }
                data-body=(json!({ "db": database, "user": user })) {
                "explain as " (user) "@" (database)
            }
            " "
        }
        span id="said" role="status" {}
    }
}

/// Pools of one statement that have a button.
const MOST_BUTTONS: usize = 10;

/// Lines as they are, without what a terminal would act on.
fn clean(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "?")
}

/// A plan's hash as it is shown.
fn hash(hash: u64) -> String {
    format!("{hash:016x}")
}

impl PlanView {
    /// A plan, with those its statement had.
    pub(crate) fn new(explained: &Explained, eras: Vec<Era>, columns: Columns) -> Self {
        let target = &explained.target;
        Self {
            fingerprint: target.about.fingerprint.to_string(),
            database: target.owner.database.to_string(),
            user: target.owner.user.to_string(),
            text: target.about.text.to_string(),
            source: match explained.source {
                Source::Prepared => "prepared",
                Source::Normalised => "normalised",
                Source::Sample { .. } => "sample",
            },
            search_path: explained.search_path.as_deref().map(str::to_owned),
            label: label(explained.source),
            taken: human::moment(explained.taken),
            took_ms: millis(explained.took.as_micros() as u64),
            plan_hash: hash(explained.hash),
            plan: serde_json::from_str(&explained.json).unwrap_or_default(),
            tree: tree(&explained.plan, columns),
            hints: explained.hints.clone(),
            history: eras.into_iter().map(EraRow::from).collect(),
        }
    }
}

fn label(source: Source) -> String {
    match source {
        Source::Prepared | Source::Normalised => LABEL.to_owned(),
        Source::Sample { seen, micros } => {
            let took = human::millis(millis(micros));
            format!(
                "custom plan for the values of a call at {} that took {took}",
                human::moment(seen)
            )
        }
    }
}

impl View for PlanView {
    fn text(&self) -> String {
        let mut text =
            format!("{}  {}@{}\n{}\n\n", self.fingerprint, self.user, self.database, self.label);
        text.push_str(&clean(&self.tree));
        text.push('\n');
        for hint in &self.hints {
            text.push_str(&hint_text(hint));
        }
        for era in &self.history {
            text.push_str(&era.line());
        }
        text
    }
}

/// A hint in a few lines, and an empty one.
pub(crate) fn hint_text(hint: &Hint) -> String {
    let Hint { advice, evidence, sql, .. } = hint;
    let clean = |text: &str| text.replace(|c: char| c.is_control(), "?");
    let sql = sql.as_ref().map(|sql| format!("  {};\n", clean(sql)));
    format!("{}\n  {}\n{}\n", clean(advice), clean(evidence), sql.unwrap_or_default())
}

impl EraRow {
    /// A line about it.
    pub(crate) fn line(&self) -> String {
        let Self { plan_hash, summary, total_cost, first_seen, last_seen } = self;
        format!("plan {plan_hash}  cost {total_cost:.2}  {first_seen} to {last_seen}  {summary}\n")
    }
}
