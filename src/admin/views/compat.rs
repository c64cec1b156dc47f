//! `/compat`: what applications do to their sessions, what became of it, and what to change: for
//! someone who comes from session pooling, or wants to know why servers are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::answer::View;
use crate::admin::html::Page;
use crate::admin::sheet::Sheet;
use crate::admin::table::{Table, name, number};
use crate::pool::compat::{PREPARE, Uses, counted};
use crate::pool::shared::Pool;
use crate::sql::feature::Feature;

/// Every use of session state since the start.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct CompatView {
    uses: Vec<UseRow>,
}

/// One thing that an application does.
#[derive(Debug, JsonSchema, Serialize)]
struct UseRow {
    database: String,
    application: String,
    /// The feature, or the setting that is changed.
    feature: String,
    /// `carried`: it follows the client. `pinned`: the client kept its server for it. `refused`: by `pin` or
    /// `max_pinned`. `transaction`: it holds within a transaction, and may be an error later. `unreadable`: DO or CALL, which may do anything.
    outcome: &'static str,
    count: u64,
    /// What the application can do instead; empty where nothing needs to be done.
    advice: &'static str,
}

const SEQUENCES: &str = "Use INSERT ... RETURNING, or ask within the transaction that inserts.";

impl CompatView {
    /// Of these pools' databases.
    pub(crate) fn new(pools: &[Arc<Pool>]) -> Self {
        let databases: BTreeMap<_, _> =
            pools.iter().map(|pool| (&*pool.database.name, &pool.database)).collect();
        let mut uses = Vec::new();
        for (name, database) in databases {
            for (application, of) in database.compat.uses() {
                add(&mut uses, (name, &application), &of);
            }
        }
        Self { uses }
    }
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
        row("DO, CALL, set_config of any name".to_owned(), "unreadable", uses.unreadable, advice);
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
        if self.uses.is_empty() {
            return Sheet::default()
                .words("No session state was used: transaction mode is enough.\n");
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
        Sheet::default().table(table).words("\n".to_owned() + &lines.collect::<String>())
    }
}
