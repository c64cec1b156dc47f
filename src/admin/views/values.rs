//! The values of single calls, for those who may see them.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::access::Sight;
use crate::stats::values::{CallValues, Keep, Shown};
use crate::stats::veil::Veil;

/// What is known of the values of a call.
#[derive(JsonSchema, Serialize)]
pub(crate) struct ValuesRow {
    /// The same for calls with the same values, until the next start.
    hash: String,
    /// A simple query as it was sent.
    statement: Option<String>,
    /// What a prepared statement's parameters were, `null` for NULL; binary ones of rare types in hexadecimal.
    parameters: Option<Vec<Option<String>>>,
    /// Whether a part of them is missing.
    cut: bool,
}

impl fmt::Debug for ValuesRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValuesRow")
    }
}

/// What may be told of values to whoever asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telling {
    /// What is kept.
    pub(crate) keep: Keep,
    /// What the caller may see.
    pub(crate) sight: Sight,
    /// What is shown of their hash.
    pub(crate) veil: Veil,
}

impl ValuesRow {
    /// Of a call with this hash; none if nothing is to be known.
    pub(crate) fn of(hash: u64, kept: Option<&CallValues>, telling: Telling) -> Option<Self> {
        if telling.keep == Keep::Nothing {
            return None;
        }
        let shown = kept.filter(|_| telling.sight == Sight::Values && telling.keep == Keep::All);
        let hash = telling.veil.tag(hash);
        Some(match shown.map(CallValues::shown) {
            None => Self { hash, statement: None, parameters: None, cut: false },
            Some(Shown::Text { sql, is_cut }) => {
                Self { hash, statement: Some(sql), parameters: None, cut: is_cut }
            }
            Some(Shown::Bound { values, is_cut }) => {
                Self { hash, statement: None, parameters: Some(values), cut: is_cut }
            }
        })
    }

    /// It in one line.
    pub(crate) fn line(&self) -> String {
        let cut = if self.cut { " …" } else { "" };
        let line = match (&self.statement, &self.parameters) {
            (Some(sql), _) => format!("{sql}{cut}"),
            (None, Some(values)) => {
                let one = |(at, value): (usize, &Option<String>)| match value {
                    Some(value) => format!("${} = '{value}'", at + 1),
                    None => format!("${} = NULL", at + 1),
                };
                format!(
                    "{}{cut}",
                    values.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
                )
            }
            (None, None) => self.hash.clone(),
        };
        line.replace(|c: char| c.is_control(), "?")
    }
}
