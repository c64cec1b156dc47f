//! A plan as a tree of nodes, read from `EXPLAIN (FORMAT JSON, VERBOSE)`.

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::sql::plannable::without_constants;

/// Nodes that are read; a plan with more, as of a table with thousands of partitions, is cut.
const MOST_NODES: usize = 2_000;

/// What we set ourselves to get a plan without values.
const ASKED_FOR: &str = "plan_cache_mode";

/// What a node says of its rows, in the order of Postgres' own text.
const DETAILS: [&str; 17] = [
    "Sort Key",
    "Presorted Key",
    "Group Key",
    "Index Cond",
    "Recheck Cond",
    "TID Cond",
    "Hash Cond",
    "Merge Cond",
    "Join Filter",
    "Filter",
    "One-Time Filter",
    "Order By",
    "Cache Key",
    "Function Call",
    "Conflict Resolution",
    "Conflict Filter",
    "Subplan Name",
];

/// A plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its topmost node.
    pub root: Node,
    /// Settings that are not Postgres' defaults and have a say in plans.
    pub settings: Vec<(String, String)>,
    /// What would be compiled, if anything would.
    pub jit: Option<Jit>,
    /// Nodes that are left out.
    pub left_out: usize,
}

/// What is compiled before a statement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jit {
    /// How many functions.
    pub functions: u64,
    /// How much is done for each.
    pub effort: Effort,
}

/// How much is done for each function that is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// No more than needed.
    Plain,
    /// It is optimized or inlined, too.
    Optimized,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Relation {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

/// One step of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// What it does: `Seq Scan`, `Hash Join`.
    pub kind: String,
    /// What tells nodes of one kind apart: `Left`, `Hashed`, `Update`.
    pub variants: Vec<String>,
    /// What it is for its parent: `Outer`, `Inner`, `SubPlan`.
    pub role: String,
    /// The table it reads or writes.
    pub relation: Option<Relation>,
    /// What the statement calls that table.
    pub alias: String,
    /// The index it reads.
    pub index: Option<String>,
    /// Cost until the first row, and of all rows, in Postgres' unit.
    pub cost: (f64, f64),
    /// How many rows it gives, as Postgres expects.
    pub rows: f64,
    /// How many bytes each has.
    pub width: u64,
    /// What it did, if the statement was run.
    pub actual: Option<Actual>,
    /// What it does with rows: `Filter` and others, each with its text.
    pub details: Vec<(String, String)>,
    /// The columns it gives.
    pub output: Vec<String>,
    /// What it gets its rows from.
    pub children: Vec<Node>,
}

/// What a node did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Actual {
    /// Time until the first row, and of all rows, milliseconds, each time it ran.
    pub times: (f64, f64),
    /// How many rows it gave each time.
    pub rows: f64,
    /// How often it ran; never is possible.
    pub loops: f64,
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Postgres' answer is no plan in JSON")]
pub struct NotAPlan;

impl Plan {
    /// Reads what EXPLAIN gave.
    ///
    /// # Errors
    /// When it is no plan, or one deeper than 60 nodes.
    pub fn read(json: &str) -> Result<Self, NotAPlan> {
        let answer: Value = serde_json::from_str(json).map_err(|_| NotAPlan)?;
        let answer = answer.get(0).and_then(Value::as_object).ok_or(NotAPlan)?;
        let plan = answer.get("Plan").and_then(Value::as_object).ok_or(NotAPlan)?;
        let (mut room, mut left_out) = (MOST_NODES, 0);
        let root = Node::read(plan, &mut room, &mut left_out).ok_or(NotAPlan)?;
        let settings = answer.get("Settings").and_then(Value::as_object);
        let settings = settings.into_iter().flatten().filter(|(name, _)| **name != *ASKED_FOR);
        let settings = settings.map(|(name, value)| (name.clone(), plain(value))).collect();
        Ok(Self { root, settings, jit: answer.get("JIT").and_then(jit), left_out })
    }

    /// The same with `…` for every constant in its conditions and columns.
    #[must_use]
    pub fn without_constants(&self) -> Self {
        Self { root: self.root.without_constants(), ..self.clone() }
    }

    /// Does it read an index that is not there? hypopg names those so.
    #[must_use]
    pub fn has_hypothetical(&self) -> bool {
        let is_one = |index: &String| index.starts_with('<') && index.contains('>');
        self.nodes().any(|node| node.index.as_ref().is_some_and(is_one))
    }

    /// A hash of what the plan does to which tables by which indexes; costs and conditions do not count.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut bytes = Vec::new();
        self.root.write_shape(&mut bytes);
        xxh3_64(&bytes)
    }

    /// Every node, a parent before its children.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        let mut waiting = vec![&self.root];
        std::iter::from_fn(move || {
            let node = waiting.pop()?;
            waiting.extend(node.children.iter().rev());
            Some(node)
        })
    }

    /// What it does in a few words: the scans, in order.
    #[must_use]
    pub fn summary(&self) -> String {
        let scans = self.nodes().filter(|node| node.relation.is_some() || node.index.is_some());
        let mut words: Vec<_> = scans.map(Node::title).collect();
        if words.is_empty() {
            words.push(self.root.title());
        }
        words.truncate(MOST_SCANS);
        words.join(", ")
    }
}

/// Scans that a summary names.
const MOST_SCANS: usize = 6;

impl Node {
    fn read(node: &Map<String, Value>, room: &mut usize, left_out: &mut usize) -> Option<Self> {
        *room = room.checked_sub(1)?;
        let text = |key: &str| node.get(key).map(plain);
        let number = |key: &str| node.get(key).and_then(Value::as_f64).unwrap_or_default();
        let mut children = Vec::new();
        for child in node.get("Plans").and_then(Value::as_array).into_iter().flatten() {
            match child.as_object().and_then(|child| Self::read(child, room, left_out)) {
                Some(child) => children.push(child),
                None => *left_out += 1,
            }
        }
        let name = text("Relation Name");
        let output = node.get("Output").and_then(Value::as_array);
        let details = DETAILS.iter().filter_map(|key| Some(((*key).to_owned(), text(key)?)));
        Some(Self {
            kind: text("Node Type")?,
            variants: ["Join Type", "Strategy", "Operation", "Scan Direction", "Partial Mode"]
                .iter()
                .filter_map(|key| text(key))
                .collect(),
            role: text("Parent Relationship").unwrap_or_default(),
            relation: name
                .map(|name| Relation { schema: text("Schema").unwrap_or_default(), name }),
            alias: text("Alias").unwrap_or_default(),
            index: text("Index Name"),
            cost: (number("Startup Cost"), number("Total Cost")),
            rows: number("Plan Rows"),
            width: node.get("Plan Width").and_then(Value::as_u64).unwrap_or_default(),
            actual: node.contains_key("Actual Loops").then(|| Actual {
                times: (number("Actual Startup Time"), number("Actual Total Time")),
                rows: number("Actual Rows"),
                loops: number("Actual Loops"),
            }),
            details: details.collect(),
            output: output.into_iter().flatten().map(plain).collect(),
            children,
        })
    }

    fn without_constants(&self) -> Self {
        let details = self.details.iter().map(|(key, text)| (key.clone(), without_constants(text)));
        Self {
            details: details.collect(),
            output: self.output.iter().map(|text| without_constants(text)).collect(),
            children: self.children.iter().map(Self::without_constants).collect(),
            ..self.clone()
        }
    }

    /// One of the details.
    #[must_use]
    pub fn detail(&self, key: &str) -> Option<&str> {
        self.details.iter().find(|(known, _)| known == key).map(|(_, text)| &**text)
    }

    /// Is it of this kind? Parallel ones count.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }

    /// What it does, and to what.
    #[must_use]
    pub fn title(&self) -> String {
        let mut title = self.kind.clone();
        if let Some(operation) = self.variants.iter().find(|word| is_operation(word)) {
            title = operation.clone();
        }
        if let Some(join) = self.variants.iter().find(|word| is_outer_join(word)) {
            title.push_str(&format!(" ({join})"));
        }
        if let Some(index) = &self.index {
            title.push_str(&format!(" using {index}"));
        }
        if let Some(Relation { schema, name }) = &self.relation {
            let dot = if schema.is_empty() { "" } else { "." };
            title.push_str(&format!(" on {schema}{dot}{name}"));
            if !self.alias.is_empty() && self.alias != *name {
                title.push_str(&format!(" {}", self.alias));
            }
        }
        title
    }

    fn write_shape(&self, out: &mut Vec<u8>) {
        let relation = self.relation.iter().flat_map(|relation| [&relation.schema, &relation.name]);
        let words = std::iter::once(&self.kind).chain(&self.variants).chain(relation);
        for word in words.chain(&self.index) {
            out.extend_from_slice(word.as_bytes());
            out.push(0);
        }
        out.push(b'(');
        self.children.iter().for_each(|child| child.write_shape(out));
        out.push(b')');
    }
}

fn is_operation(word: &str) -> bool {
    matches!(word, "Insert" | "Update" | "Delete" | "Merge")
}

fn is_outer_join(word: &str) -> bool {
    matches!(word, "Left" | "Right" | "Full" | "Semi" | "Anti" | "Right Anti" | "Right Semi")
}

/// A value as text; a list with commas.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn jit(value: &Value) -> Option<Jit> {
    let functions = value.get("Functions")?.as_u64()?;
    let option = |key| value.get("Options").and_then(|options| options.get(key));
    let is_on = |key| option(key).and_then(Value::as_bool).unwrap_or_default();
    let optimized = is_on("Optimization") || is_on("Inlining");
    Some(Jit { functions, effort: if optimized { Effort::Optimized } else { Effort::Plain } })
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
