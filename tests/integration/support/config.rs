//! The configuration file a test writes: keys by path, as `set("pool.default_pool_size", 2)`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A value as TOML writes it.
pub(crate) struct Toml(String);

impl From<i64> for Toml {
    fn from(number: i64) -> Toml {
        Toml(number.to_string())
    }
}

impl From<bool> for Toml {
    fn from(truth: bool) -> Toml {
        Toml(truth.to_string())
    }
}

impl From<&str> for Toml {
    fn from(text: &str) -> Toml {
        Toml(format!("{text:?}"))
    }
}

impl From<String> for Toml {
    fn from(text: String) -> Toml {
        Toml::from(text.as_str())
    }
}

/// Tables with their keys; the last `set` of a key counts.
#[derive(Clone, Default)]
pub(crate) struct PoolerConfig {
    tables: BTreeMap<String, BTreeMap<String, String>>,
}

impl PoolerConfig {
    /// `path` is a table, a dot and a key.
    #[track_caller]
    pub(crate) fn set(&mut self, path: &str, value: impl Into<Toml>) -> &mut PoolerConfig {
        let (table, key) = path.rsplit_once('.').expect("a path is `table.key`");
        let table = self.tables.entry(table.to_owned()).or_default();
        table.insert(key.to_owned(), value.into().0);
        self
    }

    /// A text that was set.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let (table, key) = path.rsplit_once('.')?;
        let value = self.tables.get(table)?.get(key)?;
        Some(value.trim_matches('"').to_owned())
    }

    /// Forgets a table, as `users.app`.
    pub(crate) fn remove(&mut self, table: &str) -> &mut PoolerConfig {
        self.tables.remove(table);
        self
    }

    /// The text of the file.
    pub(crate) fn toml(&self) -> String {
        let mut text = String::new();
        for (table, keys) in &self.tables {
            writeln!(text, "[{table}]").unwrap();
            for (key, value) in keys {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
        text
    }
}
