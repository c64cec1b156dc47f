//! The configuration as TOML with its secrets masked, for `pooler check`.

use super::Config;
use super::key::Key;
use super::kind::Literal;
use super::shape::quoted;
use super::table::Settings;

/// One table with the values it has.
pub(super) struct ShownTable {
    header: String,
    pub(super) values: Vec<(&'static Key, Option<Literal>)>,
}

impl Config {
    /// Every setting that is in effect, as a file that [`Config::load`] reads, but for its secrets: they
    /// are masked.
    pub fn to_toml(&self) -> String {
        let tables = self.shown().into_iter().map(|table| table.to_toml());
        tables.collect::<Vec<_>>().join("\n")
    }

    /// Every table, those with names of their own last.
    pub(super) fn shown(&self) -> Vec<ShownTable> {
        let mut tables = vec![
            show("listen".to_owned(), &self.listen),
            show("pool".to_owned(), &self.pool),
            show("limits".to_owned(), &self.limits),
            show("timeouts".to_owned(), &self.timeouts),
            show("server".to_owned(), &self.server),
            show("auth".to_owned(), &self.auth),
            show("oauth".to_owned(), &self.oauth),
            show("tls".to_owned(), &self.tls),
            show("admin".to_owned(), &self.admin),
            show("metrics".to_owned(), &self.metrics),
            show("samples".to_owned(), &self.samples),
            show("otel".to_owned(), &self.otel),
            show("log".to_owned(), &self.log),
            show("general".to_owned(), &self.general),
        ];
        tables.extend(self.tokens.iter().map(|(name, token)| named("tokens", name, token)));
        let databases = self.databases.iter();
        tables.extend(databases.map(|(name, database)| named("databases", name, database)));
        tables.extend(self.users.iter().map(|(name, user)| named("users", name, user)));
        tables
    }
}

impl ShownTable {
    fn to_toml(&self) -> String {
        let mut text = format!("[{}]\n", self.header);
        for (key, literal) in &self.values {
            if let Some(literal) = literal {
                text.push_str(&format!("{} = {literal}\n", key.name));
            }
        }
        text
    }
}

fn show<S: Settings>(header: String, settings: &S) -> ShownTable {
    ShownTable { header, values: settings.show() }
}

fn named<S: Settings>(table: &str, name: &str, settings: &S) -> ShownTable {
    show(format!("{table}.{}", quoted(name)), settings)
}
