//! `/compat`: what applications do to their sessions, what became of it, and what to change: for
//! someone who comes from session pooling, or wants to know why servers are kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::answer::View;
use crate::admin::html::Page;
use crate::admin::sheet::Sheet;
use crate::admin::table::{Table, name, number};
use crate::pool::compat::{PREPARE, Uses, counted};
use crate::pool::shared::Pool;
use crate::sql::effects::Effects;
use crate::sql::feature::Feature;

/// Every use of session state since the start.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct CompatView {
    uses: Vec<UseRow>,
    /// Functions that leave something in the session of whoever calls them, and what calls them in turn.
    functions: Vec<FunctionRow>,
}

/// A function, or a table or view with a trigger, default, policy or rule that calls one.
#[derive(Debug, JsonSchema, Serialize)]
struct FunctionRow {
    database: String,
    /// Its name, without the schema and for all functions of this name.
    name: String,
    /// `function`, or `relation`: a table or view.
    kind: &'static str,
    /// Settings and features; `anything` where what it runs is put together when it runs.
    leaves: Vec<String>,
}

/// One thing that an application does.
#[derive(Debug, JsonSchema, Serialize)]
struct UseRow {
    database: String,
    application: String,
    /// The feature, or the setting that is changed.
    feature: String,
    /// `carried`: it follows the client. `pinned`: the client kept its server for it. `refused`: by `pin` or
    /// `max_pinned`. `transaction`: it holds within a transaction, and may be an error later. `unreadable`: DO, CALL or a new function, which may do anything.
    outcome: &'static str,
    count: u64,
    /// What the application can do instead; empty where nothing needs to be done.
    advice: &'static str,
}

/// What may be done about functions.
const FUNCTIONS: &str = "Use SET LOCAL, set_config(..., true) and pg_advisory_xact_lock in functions, and EXECUTE format() with %I and %L only.";

const SEQUENCES: &str = "Use INSERT ... RETURNING, or ask within the transaction that inserts.";

impl CompatView {
    /// Of these pools' databases.
    pub(crate) fn new(pools: &[Arc<Pool>]) -> Self {
        let databases: BTreeMap<_, _> =
            pools.iter().map(|pool| (&*pool.database.name, &pool.database)).collect();
        let (mut uses, mut functions) = (Vec::new(), Vec::new());
        for (name, database) in databases {
            for (application, of) in database.compat.uses() {
                add(&mut uses, (name, &application), &of);
            }
            let hidden = database.registry.hidden.known();
            for (kind, of) in [("function", hidden.functions()), ("relation", hidden.relations())] {
                functions.extend(of.into_iter().map(|(of, effects)| FunctionRow {
                    database: name.to_owned(),
                    name: of.to_owned(),
                    kind,
                    leaves: leaves(effects),
                }));
            }
        }
        Self { uses, functions }
    }
}

/// What effects leave, in words.
fn leaves(effects: &Effects) -> Vec<String> {
    if effects.is_unreadable() {
        return vec!["anything".to_owned()];
    }
    let settings = effects.settings.iter().map(|(name, _)| name.to_string());
    let features = effects.begins.union(effects.touches).iter().map(|f| f.name().to_owned());
    let mut all: Vec<_> = settings.chain(features).collect();
    if effects.asks_sequences {
        all.push("lastval(), currval()".to_owned());
    }
    all
}

fn add(rows: &mut Vec<UseRow>, (database, application): (&str, &str), uses: &Uses) {
    let mut row = |feature: String, outcome, count, advice| {
        let (database, application) = (database.to_owned(), application.to_owned());
        rows.push(UseRow { database, application, feature, outcome, count, advice });
    };
    for (feature, count) in counted(&uses.refused) {
        row(feature.name().to_owned(), "refused", count, feature.advice());
    }
    for (feature, count) in counted(&uses.pinned) {
        row(feature.name().to_owned(), "pinned", count, feature.advice());
    }
    if uses.unreadable > 0 {
        let advice = Feature::Unreadable.advice();
        row(
            "DO, CALL, new functions, set_config of any name".to_owned(),
            "unreadable",
            uses.unreadable,
            advice,
        );
    }
    if uses.sequences > 0 {
        row("lastval(), currval()".to_owned(), "transaction", uses.sequences, SEQUENCES);
    }
    for (setting, count) in &uses.settings {
        let feature =
            if **setting == *PREPARE { PREPARE.to_owned() } else { format!("SET {setting}") };
        row(feature, "carried", *count, "");
    }
}

impl View for CompatView {
    fn text(&self) -> String {
        self.sheet().text()
    }

    fn html(&self) -> Page {
        self.sheet().page("/compat", maud::html! {})
    }
}

impl CompatView {
    fn sheet(&self) -> Sheet {
        let functions = self.functions();
        if self.uses.is_empty() {
            let none = "No session state was used: transaction mode is enough.\n";
            return Sheet::default().words(none.to_owned() + &functions);
        }
        let mut table = Table::new([
            name("DATABASE", 8),
            name("APPLICATION", 11),
            name("FEATURE", 12),
            name("OUTCOME", 7),
            number("count"),
        ]);
        for row in &self.uses {
            table.row([
                row.database.clone(),
                row.application.clone(),
                row.feature.clone(),
                row.outcome.to_owned(),
                row.count.to_string(),
            ]);
        }
        let advice: BTreeMap<_, _> = self
            .uses
            .iter()
            .filter(|row| !row.advice.is_empty())
            .map(|row| (&*row.feature, row.advice))
            .collect();
        let lines = advice.iter().map(|(feature, advice)| format!("{feature}: {advice}\n"));
        let words = "\n".to_owned() + &lines.collect::<String>() + &functions;
        Sheet::default().table(table).words(words)
    }

    /// What is known of functions, in words.
    fn functions(&self) -> String {
        if self.functions.is_empty() {
            return String::new();
        }
        let mut text = "\nfunctions and relations that leave something in a session:\n".to_owned();
        for FunctionRow { database, name, kind, leaves } in &self.functions {
            let _ = writeln!(text, "{database}: {kind} {name}: {}", leaves.join(", "));
        }
        text + FUNCTIONS + "\n"
    }
}
