//! Which tables and keys exist: keeps those, and says of every other what was probably meant. Values are not looked at.

use config::{Value, ValueKind};

use super::fault::{Conflict, Fault, Found, Hint, Place, Problem, Warning};
use super::foreign::{self, Foreign};
use super::key::Key;
use super::layers::{self, Layers, Tree};
use super::settings::TABLES;
use super::table::Table;
use super::variables;

/// The known part of a source's tree. What else it holds goes to `report`.
pub(super) fn keep_known(tree: Tree, report: &mut Layers) -> Tree {
    let mut known = Tree::new();
    for (name, value) in tree {
        let kept = match table(&name) {
            Some((table, Repeat::Once)) => values(value, &name, ONE_TABLE, report)
                .map(|values| keep_keys(table, &name, values, report)),
            Some((table, Repeat::ByName)) => values(value, &name, ONE_TABLE, report)
                .map(|names| keep_named(table, &name, names, report)),
            None => {
                unknown_root(&name, &value, report);
                None
            }
        };
        known.extend(kept.map(|values| (name, Value::new(None, values))));
    }
    known
}

const ONE_TABLE: &str = "a table of keys";
const NAMED_TABLE: &str = "a table of keys such as { pool_size = 5 }";

/// Names of databases that are kept for a console.
const RESERVED_DATABASES: [&str; 2] = ["pooler", "pgbouncer"];

/// How often a table occurs.
enum Repeat {
    Once,
    ByName,
}

fn table(name: &str) -> Option<(&'static Table, Repeat)> {
    TABLES.iter().find_map(|table| match table.name.strip_suffix(".NAME") {
        Some(stem) => (stem == name).then_some((table, Repeat::ByName)),
        None => (table.name == name).then_some((table, Repeat::Once)),
    })
}

/// The values of what must be a table.
fn values(value: Value, path: &str, expected: &'static str, report: &mut Layers) -> Option<Tree> {
    if let ValueKind::Table(values) = value.kind {
        return Some(values);
    }
    let problem = Problem::WrongType { expected, found: layers::found(&value) };
    let place = layers::place(&value, path.to_owned());
    report.faults.push(Fault { place, problem });
    None
}

/// One table's known keys.
fn keep_keys(table: &Table, path: &str, mut values: Tree, report: &mut Layers) -> Tree {
    values.retain(|name, value| {
        let path = format!("{path}.{}", quoted(name));
        if table.keys.iter().any(|key| key.name == name) {
            return is_single(value, path, report);
        }
        unknown_key(table.keys, &path, name, value, report);
        false
    });
    values
}

/// Whether a key's value is no table. Said here, since the merge keeps no origin of tables.
fn is_single(value: &Value, path: String, report: &mut Layers) -> bool {
    let found = layers::found(value);
    if found == Found::Table {
        let place = layers::place(value, path);
        let problem = Problem::WrongType { expected: "a single value", found };
        report.faults.push(Fault { place, problem });
    }
    found != Found::Table
}

/// The tables under `databases`, `users` or `tokens`, each with its known keys.
fn keep_named(table: &Table, path: &str, names: Tree, report: &mut Layers) -> Tree {
    let mut kept = Tree::new();
    for (name, value) in names {
        let path = format!("{path}.{}", quoted(&name));
        check_name(table, &name, layers::place(&value, path.clone()), report);
        if let Some(values) = values(value, &path, NAMED_TABLE, report) {
            let values = keep_keys(table, &path, values, report);
            kept.insert(name, Value::new(None, values));
        }
    }
    kept
}

fn check_name(table: &Table, name: &str, place: Place, report: &mut Layers) {
    let of_database = table.name.starts_with("databases");
    let problem = if name.is_empty() {
        Problem::EmptyName
    } else if name.contains('\0') {
        Problem::ZeroByte
    } else if of_database && RESERVED_DATABASES.contains(&name) {
        Conflict::ReservedName.into()
    } else {
        return;
    };
    report.faults.push(Fault { place, problem });
}

/// A top-level name that is no table: a key without its table, PgBouncer's one table, or neither.
fn unknown_root(name: &str, value: &Value, report: &mut Layers) {
    let path = quoted(name);
    let ValueKind::Table(values) = &value.kind else {
        return unknown_key(&[], &path, name, value, report);
    };
    if name == "pgbouncer" {
        for (key, value) in values {
            unknown_key(&[], &format!("{path}.{}", quoted(key)), key, value, report);
        }
        return;
    }
    let names = TABLES.iter().map(|table| table.name.trim_end_matches(".NAME"));
    let hint = nearest(name, names).map_or(Hint::Nothing, |near| Hint::DidYouMean(near.to_owned()));
    let place = layers::place(value, path);
    report.faults.push(Fault { place, problem: Problem::UnknownTable(hint) });
}

/// Says the best that is known of a key that is none of `siblings`.
fn unknown_key(siblings: &[Key], path: &str, name: &str, value: &Value, report: &mut Layers) {
    let place = layers::place(value, path.to_owned());
    let problem = match foreign::find(name) {
        Some(Foreign::NotNeeded(why)) => {
            report.warnings.push(Warning::NotNeeded { place, why });
            return;
        }
        Some(Foreign::Refused(why)) => Problem::OnlyInPgBouncer(why),
        None => Problem::UnknownKey(hint(siblings, name, &place)),
    };
    report.faults.push(Fault { place, problem });
}

fn hint(siblings: &[Key], name: &str, place: &Place) -> Hint {
    let elsewhere: Vec<&Key> = every_key().filter(|key| key.name == name).collect();
    if !elsewhere.is_empty() {
        let paths: Vec<_> = elsewhere.iter().map(|key| spelled(key, place)).collect();
        return Hint::BelongsIn(paths.join(" or "));
    }
    if let Some(near) = nearest(name, siblings.iter().map(|key| key.name)) {
        return Hint::DidYouMean(match place {
            Place::Variable(variable) => variables::with_key(variable, near),
            Place::File(_) | Place::Line(..) | Place::Key(..) | Place::Default(_) => {
                near.to_owned()
            }
        });
    }
    let near = nearest(name, every_key().map(|key| key.name));
    match near.and_then(|near| every_key().find(|key| key.name == near)) {
        Some(key) => Hint::DidYouMean(spelled(key, place)),
        None => Hint::Nothing,
    }
}

/// The key's path, or its variable's name where the fault is in one.
fn spelled(key: &Key, place: &Place) -> String {
    match place {
        Place::Variable(_) => variables::name_of(&key.table.replace('.', "__"), key.name),
        Place::File(_) | Place::Line(..) | Place::Key(..) | Place::Default(_) => {
            key.path.to_owned()
        }
    }
}

fn every_key() -> impl Iterator<Item = &'static Key> {
    TABLES.iter().flat_map(|table| table.keys)
}

/// A name as TOML writes it in a key path: bare where it can be.
pub fn quoted(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        super::kind::Literal::text(name).to_string()
    }
}

/// The name that differs least from `given`, if it differs little: by up to a third of its letters,
/// or by one letter where `given` goes on in full that the name abbreviates (`listen_adress`).
fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let within = |name: &str| (name.len() / 3).max(1);
    names
        // What is far longer or shorter cannot be near; this also bounds the work for a huge key.
        .filter(|name| name.len().abs_diff(given.len()) <= within(name))
        .map(|name| (distance(name, given), beginning(name, given), name))
        .filter(|(whole, beginning, name)| *whole <= within(name) || *beginning <= 1)
        .min()
        .map(|(_, _, name)| name)
}

/// How many letters must be put in, left out, replaced or swapped with the next to get from `a` to `b`
/// (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    distances(a, b).pop().unwrap_or(0)
}

/// As [`distance`], to the beginning of `b` that is nearest.
fn beginning(a: &str, b: &str) -> usize {
    distances(a, b).into_iter().min().unwrap_or(0)
}

/// The distances from `a` to each beginning of `b`, from the empty one to all of it.
fn distances(a: &str, b: &str) -> Vec<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before_last[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_each_kind_of_slip_once() {
        for (a, b, expected) in [
            ("", "", 0),
            ("port", "port", 0),
            ("prot", "port", 1),
            ("prt", "port", 1),
            ("poort", "port", 1),
            ("part", "port", 1),
            ("", "port", 4),
            ("defualt_pool_sise", "default_pool_size", 2),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let names = ["default_pool_size", "min_pool_size", "port"];
        assert_eq!(nearest("defualt_pool_size", names.into_iter()), Some("default_pool_size"));
        assert_eq!(nearest("mni_poolsize", names.into_iter()), Some("min_pool_size"));
        let names = ["listen_addr", "listen_port", "listen_backlog"];
        for full in ["listen_adress", "listen_address"] {
            assert_eq!(nearest(full, names.into_iter()), Some("listen_addr"));
        }
        let names = ["default_pool_size", "min_pool_size", "port"];
        assert_eq!(nearest("colour", names.into_iter()), None);
        assert_eq!(nearest(&"x".repeat(100_000), names.into_iter()), None);
    }

    #[test]
    fn a_foreign_name_is_no_key_of_ours() {
        // They are keys where they are; anywhere else they are PgBouncer's.
        let ours = every_key().filter(|key| foreign::find(key.name).is_some());
        assert_eq!(
            ours.map(|key| key.path).collect::<Vec<_>>(),
            ["otel.service_name", "databases.NAME.user"]
        );
    }
}
