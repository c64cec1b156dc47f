//! `POOLER__TABLE__KEY` environment variables as a tree like the file's. Which names exist, `shape` decides.

use std::collections::BTreeMap;

use config::{Map, Value, ValueKind};

use super::fault::{Fault, Place, Problem};
use super::layers::{self, Tree};

/// What a variable's name starts with. Two underscores, because Kubernetes sets `POOLER_PORT` and the
/// like by itself for a service named `pooler`.
pub const PREFIX: &str = "POOLER__";

const SEPARATOR: &str = "__";

/// The tables that a name makes many.
const NAMED: [&str; 3] = ["databases", "users", "tokens"];

/// The name of the database that serves every name without an entry of its own.
pub const FALLBACK: &str = "*";

/// Each variable that starts with [`PREFIX`] as a tree with one value.
///
/// Upper and lower case are the same in them. A database, user or token takes its spelling from `file` if it is
/// there too, and is lower case otherwise. `POOLER__DATABASES__HOST`, without a database's name, is of
/// the fallback `*`, which no shell can export by its name.
pub(super) fn trees(
    env: &BTreeMap<String, String>,
    file: &Tree,
    faults: &mut Vec<Fault>,
) -> Vec<Tree> {
    let mut seen: BTreeMap<Vec<String>, &str> = BTreeMap::new();
    let mut trees = Vec::new();
    for (variable, value) in env {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        let placed = key_path(rest, file).and_then(|path| match seen.get(&path) {
            Some(earlier) => Err(Problem::SameKeyAs((*earlier).to_owned())),
            None => Ok(path),
        });
        match placed {
            Ok(path) => {
                trees.push(nest(&path, variable, value));
                seen.insert(path, variable);
            }
            Err(problem) => {
                faults.push(Fault { place: Place::Variable(variable.clone()), problem });
            }
        }
    }
    trees
}

/// The variable for a key of a plain table.
pub(super) fn name_of(table: &str, key: &str) -> String {
    format!("{PREFIX}{table}{SEPARATOR}{key}").to_uppercase()
}

/// The variable's own name with the last part replaced by `key`.
pub(super) fn with_key(variable: &str, key: &str) -> String {
    let stem = variable.rsplit_once(SEPARATOR).map_or(variable, |(stem, _)| stem);
    format!("{stem}{SEPARATOR}{}", key.to_uppercase())
}

/// The way to a value: table and key, with a name between them in [`NAMED`].
fn key_path(rest: &str, file: &Tree) -> Result<Vec<String>, Problem> {
    let (table, rest) = rest.split_once(SEPARATOR).unwrap_or((rest, ""));
    let table = table.to_lowercase();
    if !NAMED.contains(&table.as_str()) {
        return Ok(vec![table, rest.to_lowercase()]);
    }
    let (name, key) = match rest.rsplit_once(SEPARATOR) {
        Some((name, key)) => (spelling(name, file.get(&table))?, key),
        None if table == "databases" => (FALLBACK.to_owned(), rest),
        None => (rest.to_lowercase(), ""),
    };
    Ok(vec![table, name, key.to_lowercase()])
}

/// The name as the file spells it.
fn spelling(name: &str, in_file: Option<&Value>) -> Result<String, Problem> {
    let lower = name.to_lowercase();
    let Some(ValueKind::Table(names)) = in_file.map(|value| &value.kind) else { return Ok(lower) };
    let mut alike = names.keys().filter(|in_file| in_file.to_lowercase() == lower);
    match (alike.next(), alike.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Ok(lower),
        (Some(_), Some(_)) => Err(Problem::AmbiguousName),
    }
}

/// A tree with the one value at the end of `path`.
fn nest(path: &[String], variable: &str, value: &str) -> Tree {
    let leaf = layers::variable(variable, value);
    let root = path
        .iter()
        .rev()
        .fold(leaf, |inner, name| layers::variable(variable, Map::from([(name.clone(), inner)])));
    root.into_table().expect("a path has at least two parts")
}
