//! `/nplusone`: what repeats within a request, by statement, route and class; those that would save the most first.

use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::numbers::millis;
use super::selection::OwnerSelection;
use super::wrapped;
use crate::admin::answer::View;
use crate::admin::html::Page;
use crate::admin::human;
use crate::admin::parameters::{Parameters, number, word};
use crate::admin::problem::Problem;
use crate::admin::table::{Table, name, number as column};
use crate::sql::fingerprint::Fingerprint;
use crate::stats::findings::{Finding, MOST_FINDINGS};
use crate::stats::ledger::Ledger;
use crate::stats::units::{Class, Confidence};

#[path = "nplusone_html.rs"]
pub(super) mod html;

/// As many are shown unless asked otherwise.
const SHOWN: usize = 20;

const CONFIDENCES: [(&str, Confidence); 3] =
    [("low", Confidence::Low), ("medium", Confidence::Medium), ("high", Confidence::High)];

pub(super) const CLASSES: [(&str, Class); 3] = [
    ("n_plus_one", Class::NPlusOne),
    ("duplicate", Class::Duplicate),
    ("loop_write", Class::LoopWrite),
];

/// Which are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) limit: usize,
    /// At least so sure.
    confidence: Confidence,
    class: Option<Class>,
    route: Option<String>,
    owner: OwnerSelection,
}

/// Some of them.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct FindingsView {
    /// How many there are that were asked for, shown or not.
    matching: usize,
    /// How many more there are that are less sure than was asked for.
    less_sure: usize,
    candidates: Vec<FindingRow>,
    #[serde(skip)]
    selection: Selection,
}

/// One of them.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(crate) struct FindingRow {
    id: String,
    pub(crate) fingerprint: String,
    pub(crate) database: String,
    pub(crate) user: String,
    route: String,
    class: &'static str,
    confidence: &'static str,
    /// What the requests were known by.
    unit: &'static str,
    /// Requests that had it.
    units: u64,
    /// How often the statement came in one.
    n: Times,
    /// What a request would save if it came once.
    saved_ms: f64,
    /// Time that it ran, in all requests.
    exec_ms: f64,
    /// Time that clients took between, in all requests.
    gap_ms: f64,
    source: Option<Source>,
    /// Fingerprints that come as often, in the same requests.
    with: Vec<String>,
    traceparent: Option<String>,
    advice: &'static str,
    text: String,
    first_seen: String,
    last_seen: String,
}

#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
struct Times {
    p50: u32,
    max: u32,
}

/// The statement that returned a row for each.
#[derive(Clone, Debug, JsonSchema, Serialize)]
struct Source {
    fingerprint: String,
    rows: u32,
    text: String,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            limit: SHOWN,
            confidence: Confidence::Medium,
            class: None,
            route: None,
            owner: OwnerSelection::default(),
        }
    }
}

impl Parameters for Selection {
    const NAMES: &'static [&'static str] = &["limit", "confidence", "class", "route", "db", "user"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "limit" => self.limit = number("limit", value, 1..=MOST_FINDINGS)?,
            "confidence" => self.confidence = word("confidence", value, &CONFIDENCES)?,
            "class" => self.class = Some(word("class", value, &CLASSES)?),
            "route" => self.route = Some(value.to_owned()),
            _ => self.owner.set(name, value)?,
        }
        Ok(())
    }
}

impl Selection {
    fn holds(&self, finding: &Finding) -> bool {
        self.class.is_none_or(|class| class == finding.class)
            && self.route.as_ref().is_none_or(|route| **route == *finding.route)
            && self.owner.owns(&finding.owner)
    }
}

impl FindingsView {
    /// Those asked for.
    pub(crate) fn new(ledger: &Ledger, selection: &Selection) -> Self {
        ledger.add_up();
        let mut insight = ledger.insight.lock();
        let (mut found, mut less_sure) = (Vec::new(), 0);
        for finding in insight.findings(Instant::now()).filter(|found| selection.holds(found)) {
            if finding.confidence() >= selection.confidence {
                found.push((finding.saved_micros() * finding.units, FindingRow::from(finding)));
            } else {
                less_sure += 1;
            }
        }
        found.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.id.cmp(&other.id)));
        let matching = found.len();
        let candidates = found.into_iter().take(selection.limit).map(|(_, row)| row).collect();
        Self { matching, less_sure, candidates, selection: selection.clone() }
    }

    /// Those of one statement, however sure.
    pub(crate) fn about(
        ledger: &Ledger,
        fingerprint: Fingerprint,
        owner: &OwnerSelection,
    ) -> Vec<FindingRow> {
        let mut insight = ledger.insight.lock();
        let found = insight.findings(Instant::now());
        let found = found.filter(|found| found.about.fingerprint == fingerprint);
        let mut found: Vec<_> =
            found.filter(|found| owner.owns(&found.owner)).map(FindingRow::from).collect();
        found.sort_by(|a, b| b.saved_ms.total_cmp(&a.saved_ms).then_with(|| a.id.cmp(&b.id)));
        found
    }

    /// The most expensive so many.
    pub(crate) fn top(ledger: &Ledger, limit: usize) -> Vec<FindingRow> {
        Self::new(ledger, &Selection { limit, ..Selection::default() }).candidates
    }
}

impl From<&Finding> for FindingRow {
    fn from(finding: &Finding) -> Self {
        let source = finding.source.as_ref().map(|(about, rows)| Source {
            fingerprint: about.fingerprint.to_string(),
            rows: *rows,
            text: about.text.to_string(),
        });
        Self {
            id: format!("{:016x}", finding.id),
            fingerprint: finding.about.fingerprint.to_string(),
            database: finding.owner.database.to_string(),
            user: finding.owner.user.to_string(),
            route: finding.route.to_string(),
            class: finding.class.name(),
            confidence: finding.confidence().name(),
            unit: finding.kind.name(),
            units: finding.units,
            n: Times { p50: finding.median_times(), max: finding.max_times },
            saved_ms: millis(finding.saved_micros()),
            exec_ms: millis(finding.micros),
            gap_ms: millis(finding.gap_micros),
            source,
            with: finding.companions.iter().map(|about| about.fingerprint.to_string()).collect(),
            traceparent: finding.trace.map(|trace| trace.to_string()),
            advice: finding.advice,
            text: finding.about.text.to_string(),
            first_seen: human::moment(finding.first_seen),
            last_seen: human::moment(finding.last_seen),
        }
    }
}

/// The table of these.
pub(crate) fn table(rows: &[FindingRow]) -> String {
    let mut table = Table::new([
        name("FINGERPRINT", 16),
        column("units"),
        column("n(max)"),
        column("saved"),
        name("CLASS", 10),
        name("SURE", 6),
        name("ROUTE", 8),
        name("TEXT", 16),
    ]);
    for row in rows {
        table.row([
            row.fingerprint.clone(),
            human::count(row.units),
            format!("{}({})", row.n.p50, row.n.max),
            human::millis(row.saved_ms),
            row.class.to_owned(),
            row.confidence.to_owned(),
            row.route.clone(),
            row.text.clone(),
        ]);
    }
    table.text()
}

impl View for FindingsView {
    fn text(&self) -> String {
        let mut text = if self.candidates.is_empty() {
            "nothing repeats that should not, as far as was seen in three requests within ten minutes\n"
                .to_owned()
        } else {
            table(&self.candidates)
        };
        for row in &self.candidates {
            let head = format!("{} {} of {}{}", row.class, row.id, row.fingerprint, row.place());
            text.push('\n');
            text.push_str(&wrapped(&words(&head), " "));
            text.push_str(&wrapped(&words(&clean(&row.text)), " "));
            text.push_str(&row.reasons());
        }
        let hidden = self.matching.saturating_sub(self.candidates.len());
        if hidden > 0 {
            text.push_str(&format!("and {hidden} more: ?limit={MOST_FINDINGS}\n"));
        }
        if self.less_sure > 0 {
            text.push_str(&format!("and {} less sure: ?confidence=low\n", self.less_sure));
        }
        text
    }

    fn html(&self) -> Page {
        html::list(self)
    }
}

impl FindingRow {
    /// It in some lines, where its statement is known.
    pub(crate) fn text(&self) -> String {
        let head = format!(
            "{} {}, {} confidence, {} requests, {} times (most {}), saves {} each{}",
            self.class,
            self.id,
            self.confidence,
            human::count(self.units),
            self.n.p50,
            self.n.max,
            human::millis(self.saved_ms),
            self.place(),
        );
        wrapped(&words(&head), " ") + &self.reasons()
    }

    /// Where it was seen, behind a comma.
    fn place(&self) -> String {
        if self.route.is_empty() { String::new() } else { format!(", on {}", clean(&self.route)) }
    }

    /// Why it is one, and what may help.
    fn reasons(&self) -> String {
        let after = self.source.as_ref().map_or_else(String::new, |source| {
            let Source { fingerprint, rows, text } = source;
            wrapped(&words(&format!("  after {rows} rows of {fingerprint}: {}", clean(text))), " ")
        });
        after + &wrapped(&words(&format!("  {}", self.advice)), " ")
    }
}

fn clean(text: &str) -> String {
    text.replace(|c: char| c.is_control(), "?")
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// A finding that is not told any more.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct IgnoredView {
    ignored: String,
    fingerprint: String,
    route: String,
    /// What keeps it away after a restart too, for all routes.
    config: String,
}

impl From<&Finding> for IgnoredView {
    fn from(finding: &Finding) -> Self {
        Self {
            ignored: format!("{:016x}", finding.id),
            fingerprint: finding.about.fingerprint.to_string(),
            route: finding.route.to_string(),
            config: format!("nplusone_ignore = \"fingerprint={}\"", finding.about.fingerprint),
        }
    }
}

impl View for IgnoredView {
    fn text(&self) -> String {
        format!(
            "{} is ignored until the program ends; for good, on every route: {}\n",
            self.ignored, self.config
        )
    }
}
