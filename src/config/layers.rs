//! The sources of settings and their merge by the `config` crate: the file below, the environment above. Defaults come in at reading.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use config::{ConfigError, FileFormat, Format, Map, Source, Value, ValueKind};

use super::fault::{Fault, Found, Place, Problem, Warning};
use super::kind::Input;
use super::shape;
use super::variables;

/// The largest configuration file: room for 50,000 databases.
pub const MAX_CONFIG_BYTES: u64 = 10 * 1024 * 1024;

/// A tree of tables and values, each with its origin.
pub(super) type Tree = Map<String, Value>;

/// What the sources say together, and what was wrong with their form.
#[derive(Default)]
pub(super) struct Layers {
    /// Only known tables and keys are left in it.
    pub(super) tree: Tree,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Warning>,
}

impl Layers {
    /// Reads the file, if one is given, then the environment, which wins.
    pub(super) fn read(path: Option<&Path>, env: &BTreeMap<String, String>) -> Self {
        let mut layers = Self::default();
        let file = match path.map(read_file) {
            Some(Ok(tree)) => shape::keep_known(tree, &mut layers),
            Some(Err(fault)) => {
                layers.faults.push(fault);
                Tree::new()
            }
            None => Tree::new(),
        };
        layers.warnings.extend(path.filter(|_| has_secret(&file)).and_then(readable_by_all));
        let mut trees = variables::trees(env, &file, &mut layers.faults);
        for tree in &mut trees {
            *tree = shape::keep_known(std::mem::take(tree), &mut layers);
        }
        trees.insert(0, file);
        layers.tree = merge(trees).expect("trees in memory are merged without an error");
        layers
    }
}

/// A value's input for a kind.
pub(super) fn input(value: &Value) -> Input<'_> {
    match &value.kind {
        ValueKind::Nil => Input::Other(Found::Nothing),
        ValueKind::Boolean(flag) => Input::Flag(*flag),
        ValueKind::I64(number) => Input::Whole(*number),
        // TOML's integers have 64 bits and a sign: the others do not occur.
        ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => Input::Other(Found::Whole),
        ValueKind::Float(number) => Input::Decimal(*number),
        ValueKind::String(text) => match Origin::of(value) {
            Some(Origin::Variable(_)) => Input::Variable(text),
            Some(Origin::File(_)) | None => Input::Text(text),
        },
        ValueKind::Table(_) => Input::Other(Found::Table),
        ValueKind::Array(_) => Input::Other(Found::List),
    }
}

/// The type of a value, for a fault.
pub(super) fn found(value: &Value) -> Found {
    match input(value) {
        Input::Whole(_) => Found::Whole,
        Input::Decimal(_) => Found::Decimal,
        Input::Flag(_) => Found::Flag,
        Input::Text(_) | Input::Variable(_) => Found::Text,
        Input::Unset => Found::Nothing,
        Input::Other(found) => found,
    }
}

/// Where a value came from; `path` is its key path.
pub(super) fn place(value: &Value, path: String) -> Place {
    match Origin::of(value) {
        Some(Origin::Variable(name)) => Place::Variable(name.to_owned()),
        Some(Origin::File(file)) => Place::Key(PathBuf::from(file), path),
        None => Place::Default(path),
    }
}

/// A value that an environment variable set.
pub(super) fn variable(name: &str, kind: impl Into<ValueKind>) -> Value {
    Value::new(Some(&format!("{VARIABLE}{name}")), kind)
}

/// Reads a file of at most `limit` bytes.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells a full file from a larger one, also where the size is not known, as with a pipe.
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|error| Problem::Unreadable(error.kind()))?;
    if bytes.len() as u64 > limit {
        return Err(Problem::TooLarge { limit });
    }
    String::from_utf8(bytes).map_err(|_| Problem::NotUtf8)
}

/// A warning if everybody on this machine can read the file.
pub(super) fn readable_by_all(path: &Path) -> Option<Warning> {
    const READABLE_BY_OTHERS: u32 = 0o004;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & READABLE_BY_OTHERS != 0).then(|| Warning::ReadableByAll(path.to_owned()))
}

const VARIABLE: &str = "variable ";
const FILE: &str = "file ";

/// A value's origin, which the `config` crate keeps as text.
enum Origin<'a> {
    Variable(&'a str),
    File(&'a str),
}

impl<'a> Origin<'a> {
    fn of(value: &'a Value) -> Option<Self> {
        let origin = value.origin()?;
        let variable = origin.strip_prefix(VARIABLE).map(Self::Variable);
        variable.or_else(|| origin.strip_prefix(FILE).map(Self::File))
    }
}

fn read_file(path: &Path) -> Result<Tree, Fault> {
    let fault = |problem| Fault { place: Place::File(path.to_owned()), problem };
    let text = read_text(path, MAX_CONFIG_BYTES).map_err(fault)?;
    let origin = format!("{FILE}{}", path.display());
    FileFormat::Toml.parse(Some(&origin), &text).map_err(|error| {
        fault(if is_pgbouncers(&text) {
            Problem::PgBouncerFormat
        } else {
            Problem::Syntax(without_quoted_lines(&error.to_string()))
        })
    })
}

/// Is this a `pgbouncer.ini`? No TOML file of ours has its section, or connection strings without
/// quotes for its databases.
fn is_pgbouncers(text: &str) -> bool {
    let starts_connection_string = |value: &str| {
        ["host=", "port=", "dbname=", "user="].iter().any(|key| value.trim_start().starts_with(key))
    };
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).any(|line| {
        line.eq_ignore_ascii_case("[pgbouncer]")
            || line.split_once('=').is_some_and(|(_, value)| starts_connection_string(value))
    })
}

/// The parser's message on one line, without the lines of the file that it quotes: they may hold a
/// password. Quoted lines have a gutter: `12 | password = "…`.
fn without_quoted_lines(message: &str) -> String {
    let quoted = |line: &&str| {
        let gutter = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        gutter.trim_start().starts_with('|')
    };
    let kept: Vec<_> = message.lines().filter(|line| !quoted(line)).map(str::trim).collect();
    kept.join(": ").trim_start_matches("TOML parse error ").to_owned()
}

fn has_secret(tree: &Tree) -> bool {
    tree.iter().any(|(key, value)| match &value.kind {
        ValueKind::Table(table) => has_secret(table),
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_)
        | ValueKind::String(_)
        | ValueKind::Array(_) => key == "password",
    })
}

fn merge(trees: Vec<Tree>) -> Result<Tree, ConfigError> {
    let builder = trees
        .into_iter()
        .fold(config::Config::builder(), |builder, tree| builder.add_source(Layer(tree)));
    builder.build()?.cache.into_table()
}

/// A tree as a source. It is not shown in `Debug`, since it holds secrets.
#[derive(Clone)]
struct Layer(Tree);

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Layer")
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Tree, ConfigError> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pgbouncer_ini_is_known_by_its_section_or_its_connection_strings() {
        for theirs in [
            "[databases]\n* = host=127.0.0.1\n[pgbouncer]\nlisten_port = 6432\n",
            "[PgBouncer]\n",
            "[databases]\nshop = dbname=shop host=db\n",
        ] {
            assert!(is_pgbouncers(theirs), "{theirs}");
        }
        for ours in ["[databases.shop]\nhost = \"db\"\nport = \n", "[pool]\nx\n"] {
            assert!(!is_pgbouncers(ours), "{ours}");
        }
    }

    #[test]
    fn a_syntax_error_keeps_its_place_and_loses_the_quoted_line() {
        let text = "[users.ann]\npassword = \"hunter2\nlisten = 1\n";
        let error = FileFormat::Toml.parse(None, text).unwrap_err().to_string();
        assert!(error.contains("hunter2"), "the parser no longer quotes; drop the filter: {error}");
        let shown = without_quoted_lines(&error);
        assert!(!shown.contains("hunter2") && shown.starts_with("at line 2, column"), "{shown}");
        assert!(!shown.contains('\n'));
    }
}
