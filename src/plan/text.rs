//! A plan as text, in Postgres' own form.

use std::fmt::Write as _;

use super::node::{Actual, Node, Plan};

/// Whether the columns that each node gives are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// They are not.
    #[default]
    Hidden,
    /// They are.
    Shown,
}

/// The plan, a line for each node and each detail.
#[must_use]
pub fn tree(plan: &Plan, columns: Columns) -> String {
    let mut text = String::new();
    write_node(&mut text, &plan.root, 0, columns);
    if plan.left_out > 0 {
        let _ = writeln!(text, "and {} more nodes", plan.left_out);
    }
    if !plan.settings.is_empty() {
        let words = plan.settings.iter().map(|(name, value)| format!("{name} = '{value}'"));
        let _ = writeln!(text, "Settings: {}", words.collect::<Vec<_>>().join(", "));
    }
    if let Some(jit) = plan.jit {
        let _ = writeln!(text, "JIT: {} functions", jit.functions);
    }
    text
}

fn actual(actual: Actual) -> String {
    let Actual { times: (first, all), rows, loops } = actual;
    if loops == 0.0 {
        return " (never executed)".to_owned();
    }
    format!(" (actual time={first:.3}..{all:.3} rows={rows:.0} loops={loops:.0})")
}

fn write_node(text: &mut String, node: &Node, depth: usize, columns: Columns) {
    let (before, arrow) = match depth {
        0 => (0, ""),
        depth => (depth * 6 - 4, "->  "),
    };
    let (first, all) = node.cost;
    let _ = writeln!(
        text,
        "{:before$}{arrow}{}  (cost={first:.2}..{all:.2} rows={:.0} width={}){}",
        "",
        node.title(),
        node.rows,
        node.width,
        node.actual.map_or_else(String::new, actual),
    );
    let inset = before + arrow.len() + 2;
    if columns == Columns::Shown && !node.output.is_empty() {
        let _ = writeln!(text, "{:inset$}Output: {}", "", node.output.join(", "));
    }
    for (key, value) in &node.details {
        let _ = writeln!(text, "{:inset$}{key}: {value}", "");
    }
    for child in &node.children {
        write_node(text, child, depth + 1, columns);
    }
}
