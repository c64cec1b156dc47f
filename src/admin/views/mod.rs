//! The pages: what each shows, in both forms. How a page is asked for is left to `routes`.

mod choosing;
pub(super) mod clients;
pub(super) mod compat;
pub(super) mod dashboard;
pub(super) mod databases;
pub(super) mod flags;
pub(super) mod histogram;
pub(super) mod idle;
pub(super) mod nplusone;
pub(super) mod numbers;
pub(super) mod plan;
pub(super) mod pools;
pub(super) mod queries;
pub(super) mod ranking;
pub(super) mod routes;
pub(super) mod samples;
pub(super) mod selection;
pub(super) mod servers;
pub(super) mod slow;
pub(super) mod state;

use super::table::LINE;

/// What is said below a table when workers are missing in it.
fn silence(silent: &[usize]) -> String {
    if silent.is_empty() {
        return String::new();
    }
    let workers: Vec<_> = silent.iter().map(usize::to_string).collect();
    format!("workers that do not answer, and are missing here: {}\n", workers.join(", "))
}

/// Words in lines that fit, each after the first indented.
fn wrapped(words: &[String], separator: &str) -> String {
    let mut text = String::new();
    let mut width = 0;
    for word in words {
        let length = word.chars().count();
        if width > 0 && width + separator.len() + length > LINE {
            text.push_str("\n  ");
            width = 2;
        } else if width > 0 {
            text.push_str(separator);
            width += separator.len();
        }
        text.push_str(word);
        width += length;
    }
    text.push('\n');
    text
}
