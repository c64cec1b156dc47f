//! What Postgres' catalogs say of a table in a plan: the question and the answer.

use serde::Deserialize;

use super::node::{Node, Plan, Relation};

/// Tables of one plan that are asked about.
const MOST_RELATIONS: usize = 8;

/// What is known of a table.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Facts {
    /// Rows, as of the last VACUUM or ANALYZE; negative: never counted.
    pub tuples: f64,
    /// Its columns.
    #[serde(default, deserialize_with = "none_is_empty")]
    pub columns: Vec<Column>,
    /// Its indexes.
    #[serde(default, deserialize_with = "none_is_empty")]
    pub indexes: Vec<Index>,
}

/// A column.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Column {
    /// Its name, without quotes.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Different values: a number of them, or as a negative share of the rows. Unknown without ANALYZE, or to who may
    /// not read the column.
    pub distinct: Option<f64>,
}

/// An index.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its columns and expressions, in order, as Postgres writes them.
    #[serde(default, deserialize_with = "none_is_empty")]
    pub columns: Vec<String>,
    /// `btree`, `gin`, and others.
    pub method: String,
    /// Has it been built to its end, for all rows?
    pub complete: bool,
    /// The operator classes of its columns.
    #[serde(default, deserialize_with = "none_is_empty")]
    pub classes: Vec<String>,
}

impl Facts {
    /// Reads an answer to [`question`].
    #[must_use]
    pub fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// The column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl Column {
    /// How many different values there are.
    #[must_use]
    pub fn distinct_values(&self, tuples: f64) -> Option<f64> {
        let distinct = self.distinct.filter(|distinct| *distinct != 0.0)?;
        Some(if distinct < 0.0 { -distinct * tuples.max(1.0) } else { distinct })
    }
}

/// The tables that are read from end to end, each once.
#[must_use]
pub fn relations(plan: &Plan) -> Vec<Relation> {
    let mut found = Vec::new();
    for relation in plan.nodes().filter(|node| is_scan(node)).filter_map(|n| n.relation.as_ref()) {
        if !found.contains(relation) && found.len() < MOST_RELATIONS {
            found.push(relation.clone());
        }
    }
    found
}

/// Does it read a table from end to end?
pub(super) fn is_scan(node: &Node) -> bool {
    node.is("Seq Scan")
}

/// The question about a table, to be asked with `pg_catalog` as the search path. `schema` and `name` are literals.
#[must_use]
pub fn question(schema: &str, name: &str) -> String {
    format!(
        "SELECT json_build_object('tuples', c.reltuples, \
         'columns', (SELECT json_agg(json_build_object('name', a.attname, \
           'type', format_type(a.atttypid, NULL), 'distinct', s.n_distinct) ORDER BY a.attnum) \
           FROM pg_attribute a LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname \
             AND s.attname = a.attname AND NOT s.inherited \
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), \
         'indexes', (SELECT json_agg(json_build_object('name', x.relname, 'method', m.amname, \
           'complete', i.indisvalid AND i.indpred IS NULL, \
           'columns', (SELECT array_agg(pg_get_indexdef(i.indexrelid, k, true) ORDER BY k) \
             FROM generate_series(1, i.indnkeyatts) k), \
           'classes', (SELECT array_agg(o.opcname ORDER BY p.at) \
             FROM unnest(i.indclass) WITH ORDINALITY p(class, at) JOIN pg_opclass o ON o.oid = p.class)) \
           ORDER BY x.relname) \
           FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam \
           WHERE i.indrelid = c.oid)) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {schema} AND c.relname = {name}"
    )
}

/// An aggregate of no rows is NULL.
fn none_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_empty() {
        let facts = Facts::read(r#"{"tuples": -1, "columns": null, "indexes": null}"#).unwrap();
        assert_eq!(facts, Facts { tuples: -1.0, columns: Vec::new(), indexes: Vec::new() });
        assert_eq!(Facts::read("{}"), None);
    }

    #[test]
    fn shares_of_rows_are_numbers_of_values() {
        let of = |distinct| {
            let column = Column { name: String::new(), kind: String::new(), distinct };
            column.distinct_values(1_000.0)
        };
        assert_eq!(
            [of(Some(-0.5)), of(Some(3.0)), of(Some(0.0)), of(None)],
            [Some(500.0), Some(3.0), None, None]
        );
    }
}
