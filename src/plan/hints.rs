//! What may be wrong with a plan, each with what it is seen by. Advice to consider, nothing that is done.

use schemars::JsonSchema;
use serde::Serialize;

use super::condition::{Form, Operator, Term, column, joined_column, terms};
use super::facts::{Facts, is_scan};
use super::name::{quoted, table};
use super::node::{Effort, Node, Plan, Relation};

/// Tables with fewer rows are read as fast as their index.
const MANY_ROWS: f64 = 10_000.0;

/// An index does not help where more of the rows are wanted.
const WANTED_SHARE: f64 = 0.1;

/// A step that costs less of the plan is not worth an index.
const COST_SHARE: f64 = 0.3;

/// Columns of an index that is proposed.
const MOST_COLUMNS: usize = 3;

/// A column with no more different values leaves too many rows.
const FEW_VALUES: f64 = 3.0;

/// A table with fewer rows may be read again for each row of another.
const MANY_INNER_ROWS: f64 = 1_000.0;

/// How many times estimate and truth may differ.
const FAR_OFF: f64 = 10.0;

/// Below so many rows both are few.
const SOME_ROWS: f64 = 100.0;

/// Calls after which the rows of one are known.
const ENOUGH_CALLS: u64 = 5;

/// The least time that compiling a function takes, milliseconds: without and with optimizing it.
const COMPILING_MS: [f64; 2] = [1.0, 5.0];

/// Compiling that takes less of the time of a statement is left alone.
const COMPILING_SHARE: f64 = 0.5;

/// Hints of one plan.
const MOST_HINTS: usize = 10;

/// What a statement did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// How often it ran to a good end.
    pub calls: u64,
    /// Rows that it returned or changed, for each of them.
    pub rows_per_call: f64,
    /// Half of its calls took longer, microseconds.
    pub p50_micros: u64,
}

/// Something to consider.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
pub struct Hint {
    /// Which rule found it.
    pub rule: &'static str,
    /// What to consider.
    pub advice: String,
    /// What it is seen by.
    pub evidence: String,
    /// SQL that would do it; the pooler never runs it.
    pub sql: Option<String>,
}

/// What may be wrong with this plan, given what is known of its tables and of what the statement did.
#[must_use]
pub fn hints(plan: &Plan, facts: &[(Relation, Facts)], seen: &Seen) -> Vec<Hint> {
    let view = View { plan, facts };
    let mut hints: Vec<Hint> = plan
        .nodes()
        .flat_map(|node| {
            [view.scan(node), view.nested_loop(node), view.sort(node), view.offset(node)]
        })
        .flatten()
        .chain(view.estimate(seen))
        .chain(view.compiling(seen))
        .collect();
    // Partitions give the same one each.
    let mut before: Vec<Hint> = Vec::new();
    hints.retain(|hint| {
        let is_new = !before.contains(hint);
        before.push(hint.clone());
        is_new
    });
    hints.truncate(MOST_HINTS);
    hints
}

struct View<'a> {
    plan: &'a Plan,
    facts: &'a [(Relation, Facts)],
}

impl View<'_> {
    fn facts(&self, relation: &Relation) -> Option<&Facts> {
        self.facts.iter().find(|(known, _)| known == relation).map(|(_, facts)| facts)
    }

    /// A table that is read from end to end for a few rows.
    fn scan(&self, node: &Node) -> Option<Hint> {
        let relation = node.relation.as_ref().filter(|_| is_scan(node))?;
        let facts = self.facts(relation)?;
        let filter = node.detail("Filter")?;
        if facts.tuples < 0.0 {
            return Some(Hint {
                rule: "never_analyzed",
                advice: format!("consider ANALYZE: nothing is known of {}", table(relation)),
                evidence: "it was never vacuumed or analyzed".to_owned(),
                sql: Some(format!("ANALYZE {}", table(relation))),
            });
        }
        let share = node.cost.1 / self.plan.root.cost.1.max(f64::MIN_POSITIVE);
        if facts.tuples < MANY_ROWS || node.rows > facts.tuples * WANTED_SHARE || share < COST_SHARE
        {
            return None;
        }
        let evidence = format!(
            "it reads all {:.0} rows of {} for {:.0} of them, {:.0} % of the plan's cost; filter {filter}",
            facts.tuples,
            table(relation),
            node.rows,
            share.min(1.0) * 100.0,
        );
        let terms = terms(filter, &node.alias);
        self.index_for(node, relation, facts, &terms).map(|(advice, sql)| Hint {
            rule: if sql.is_some() { "missing_index" } else { "unused_index" },
            advice,
            evidence,
            sql,
        })
    }

    /// The index that these conditions want.
    fn index_for(
        &self,
        node: &Node,
        relation: &Relation,
        facts: &Facts,
        terms: &[Term],
    ) -> Option<(String, Option<String>)> {
        let telling = |term: &&Term| is_telling(term, facts);
        let mut keys: Vec<String> = Vec::new();
        let add = |keys: &mut Vec<String>, key: String| {
            if keys.len() < MOST_COLUMNS && !keys.contains(&key) {
                keys.push(key);
            }
        };
        for term in terms.iter().filter(|term| term.operator == Operator::Equal).filter(telling) {
            add(&mut keys, key(term, facts));
        }
        let has_equal = !keys.is_empty();
        let range = terms.iter().find(|term| term.operator == Operator::Range);
        match range.filter(|term| is_telling(term, facts)) {
            Some(range) => add(&mut keys, key(range, facts)),
            None if has_equal => {
                if let Some(sorted) = self.sorted_by(&node.alias) {
                    add(&mut keys, quoted(sorted));
                }
            }
            None => {}
        }
        if keys.is_empty() {
            return pattern_index(relation, facts, terms);
        }
        // Any of the columns that are compared by = may come first.
        let first = if has_equal { keys.len() } else { 1 };
        if let Some(index) = leading(facts, &keys[..first]) {
            return Some((
                format!(
                    "index {index} exists but was not used: consider its type, a function or cast on the column, ANALYZE"
                ),
                None,
            ));
        }
        let keys = keys.join(", ");
        let sql = format!("CREATE INDEX CONCURRENTLY ON {} ({keys})", table(relation));
        Some((format!("consider an index on {} ({keys})", table(relation)), Some(sql)))
    }

    /// The column of this table that the result is sorted by.
    fn sorted_by(&self, alias: &str) -> Option<&str> {
        let sort = self.plan.nodes().find(|node| node.is("Sort"))?;
        sort_column(sort.detail("Sort Key")?, alias)
    }

    /// A table that is read again for each row of another.
    fn nested_loop(&self, node: &Node) -> Option<Hint> {
        if !node.is("Nested Loop") {
            return None;
        }
        let outer = node.children.first()?;
        let inner = node.children.iter().find(|child| child.role == "Inner")?;
        let inner = if inner.is("Materialize") { inner.children.first()? } else { inner };
        let relation = inner.relation.as_ref().filter(|_| is_scan(inner))?;
        let facts = self.facts(relation)?;
        let condition = node.detail("Join Filter")?;
        let name = joined_column(condition, &inner.alias)?;
        if facts.tuples < MANY_INNER_ROWS || outer.rows <= 1.0 {
            return None;
        }
        let key = quoted(name);
        if leading(facts, std::slice::from_ref(&key)).is_some() {
            return None;
        }
        Some(Hint {
            rule: "nested_scan",
            advice: format!("consider an index on {} ({key})", table(relation)),
            evidence: format!(
                "all {:.0} rows of {} are compared for each of {:.0} rows; {condition}",
                facts.tuples,
                table(relation),
                outer.rows,
            ),
            sql: Some(format!("CREATE INDEX CONCURRENTLY ON {} ({key})", table(relation))),
        })
    }

    /// A table that is sorted for its first rows.
    fn sort(&self, limit: &Node) -> Option<Hint> {
        if !limit.is("Limit") {
            return None;
        }
        let below = limit.children.first()?;
        let sort = if below.is("Gather Merge") { below.children.first()? } else { below };
        let scan = sort.children.first().filter(|scan| sort.is("Sort") && is_scan(scan))?;
        let relation = scan.relation.as_ref()?;
        let facts = self.facts(relation)?;
        let key = sort.detail("Sort Key")?;
        let name = sort_column(key, &scan.alias)?;
        let is_little = facts.tuples < MANY_ROWS || scan.rows < facts.tuples * WANTED_SHARE;
        // The whole order must be the index's.
        if is_little || key.contains(", ") || limit.rows > facts.tuples * WANTED_SHARE {
            return None;
        }
        let column = quoted(name);
        if leading(facts, std::slice::from_ref(&column)).is_some() {
            return None;
        }
        Some(Hint {
            rule: "sort_for_few",
            advice: format!("consider an index on {} ({column})", table(relation)),
            evidence: format!(
                "{:.0} rows are sorted by {key} for the first {:.0}",
                scan.rows, limit.rows
            ),
            sql: Some(format!("CREATE INDEX CONCURRENTLY ON {} ({column})", table(relation))),
        })
    }

    /// Rows that are read to be skipped: nothing else makes a Limit wait for longer than what is below it.
    fn offset(&self, limit: &Node) -> Option<Hint> {
        let below = limit.children.first().filter(|_| limit.is("Limit"))?;
        let skipped = limit.cost.0 - below.cost.0;
        let share = skipped / self.plan.root.cost.1.max(f64::MIN_POSITIVE);
        if below.rows < MANY_ROWS || share < COST_SHARE {
            return None;
        }
        Some(Hint {
            rule: "offset",
            advice: "consider going on behind the last row that was shown, by the columns of ORDER BY (WHERE (a, b) > ($1, $2)), in place of OFFSET".to_owned(),
            evidence: format!(
                "rows that OFFSET skips are read all the same, {:.0} % of the plan's cost; there are {:.0} rows to skip among",
                share.min(1.0) * 100.0,
                below.rows,
            ),
            sql: None,
        })
    }

    /// An estimate far from what clients get.
    fn estimate(&self, seen: &Seen) -> Option<Hint> {
        let root = &self.plan.root;
        let changes = self.plan.nodes().any(|node| node.is("ModifyTable"));
        if seen.calls < ENOUGH_CALLS || changes || root.is("Limit") || root.is("LockRows") {
            return None;
        }
        let (more, less) = (root.rows.max(seen.rows_per_call), root.rows.min(seen.rows_per_call));
        if more < SOME_ROWS || more < less.max(1.0) * FAR_OFF {
            return None;
        }
        let mut relations: Vec<_> =
            self.plan.nodes().filter_map(|node| node.relation.as_ref()).map(table).collect();
        relations.dedup();
        Some(Hint {
            rule: "estimate",
            advice: "consider ANALYZE, and CREATE STATISTICS where several columns of one table are compared".to_owned(),
            evidence: format!(
                "Postgres expects {:.0} rows, clients get {:.1} on average of {} calls",
                root.rows, seen.rows_per_call, seen.calls,
            ),
            sql: (!relations.is_empty()).then(|| format!("ANALYZE {}", relations.join(", "))),
        })
    }

    /// Compiling that takes as long as the statement.
    fn compiling(&self, seen: &Seen) -> Option<Hint> {
        let jit = self.plan.jit?;
        let [plain, optimized] = COMPILING_MS;
        let each = if jit.effort == Effort::Optimized { optimized } else { plain };
        let (least, p50) = (jit.functions as f64 * each, seen.p50_micros as f64 / 1e3);
        if seen.calls < ENOUGH_CALLS || least < p50 * COMPILING_SHARE {
            return None;
        }
        Some(Hint {
            rule: "jit",
            advice: "consider jit = off for this user".to_owned(),
            evidence: format!(
                "{} functions are compiled at each call, about {least:.0} ms at least; half of the calls take {p50:.1} ms or less",
                jit.functions,
            ),
            sql: Some("ALTER ROLE CURRENT_USER SET jit = off".to_owned()),
        })
    }
}

/// Does a condition leave few rows?
fn is_telling(term: &Term, facts: &Facts) -> bool {
    let values = facts.column(&term.column).and_then(|c| c.distinct_values(facts.tuples));
    values.is_none_or(|values| values > FEW_VALUES)
}

/// What an index has for a condition: the column, or the expression.
fn key(term: &Term, facts: &Facts) -> String {
    let is_text = |kind: &str| matches!(kind, "text" | "character varying" | "varchar");
    match &term.form {
        Form::Plain => quoted(&term.column),
        // No more than another name for the same bytes (a `RelabelType`).
        Form::Cast { kind }
            if is_text(kind) && facts.column(&term.column).is_some_and(|c| is_text(&c.kind)) =>
        {
            quoted(&term.column)
        }
        Form::Cast { kind } => format!("(({})::{kind})", quoted(&term.column)),
        Form::Wrapped { expression } => format!("({expression})"),
    }
}

/// The index whose first column is one of these.
fn leading<'a>(facts: &'a Facts, keys: &[String]) -> Option<&'a str> {
    let bare = |key: &str| key.replace(['(', ')', ' '], "");
    let serves = |first: &String| keys.iter().any(|key| bare(key) == bare(first));
    let usable = facts.indexes.iter().filter(|index| index.complete);
    let mut found = usable
        .filter(|index| index.method == "btree" || index.method == "hash")
        .filter(|index| index.columns.first().is_some_and(serves));
    found.next().map(|index| &*index.name)
}

/// An index for LIKE.
fn pattern_index(
    relation: &Relation,
    facts: &Facts,
    terms: &[Term],
) -> Option<(String, Option<String>)> {
    let is_like =
        |term: &&Term| matches!(term.operator, Operator::Like | Operator::CaseInsensitiveLike);
    let term = terms.iter().find(is_like).filter(|term| is_telling(term, facts))?;
    let serves = |class: &String| class.ends_with("_pattern_ops") || class.ends_with("_trgm_ops");
    let key = key(term, facts);
    let known = facts
        .indexes
        .iter()
        .find(|index| index.columns.first() == Some(&key) && index.classes.iter().any(serves));
    if let Some(index) = known {
        let advice = "exists but was not used: the pattern is not known to a generic plan";
        return Some((format!("index {} {advice}", index.name), None));
    }
    let table = table(relation);
    let trigrams = format!("CREATE INDEX CONCURRENTLY ON {table} USING gin ({key} gin_trgm_ops)");
    if term.operator == Operator::CaseInsensitiveLike {
        let advice = format!("consider an index of trigrams on {table} ({key}); it needs pg_trgm");
        return Some((advice, Some(trigrams)));
    }
    let advice = format!(
        "consider an index on {table} ({key} text_pattern_ops) for patterns that begin with letters, else one of trigrams"
    );
    Some((advice, Some(format!("CREATE INDEX CONCURRENTLY ON {table} ({key} text_pattern_ops)"))))
}

/// The first column of a sort key, if it is one of this table.
fn sort_column<'a>(key: &'a str, alias: &str) -> Option<&'a str> {
    let first = key.split(", ").next()?;
    column(first.split(' ').next()?, alias)
}

#[cfg(test)]
#[path = "hints_tests.rs"]
mod tests;
