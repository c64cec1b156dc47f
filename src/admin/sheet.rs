//! A page of tables and sentences, of which both the text and the page for browsers are made: for what has no page of its
//! own.

use maud::{Markup, html};

use super::html::pieces::{encoded, route_link};
use super::html::{Page, linked};
use super::table::Table;

/// Columns whose cells are fingerprints.
const FINGERPRINTS: [&str; 2] = ["FINGERPRINT", "AFTER"];

/// Columns whose cells are as long as they like.
const LONG: [&str; 3] = ["TEXT", "POSTGRES", "FEATURE"];

/// Tables and sentences, one below the other.
#[derive(Debug, Default)]
pub(super) struct Sheet(Vec<Block>);

#[derive(Debug)]
enum Block {
    Table(Table),
    Words(String),
    Lines(String),
}

impl Sheet {
    /// With a table below what there is.
    pub(super) fn table(mut self, table: Table) -> Self {
        self.0.push(Block::Table(table));
        self
    }

    /// With lines below what there is, each with its end.
    pub(super) fn words(mut self, words: impl Into<String>) -> Self {
        self.0.push(Block::Words(words.into()));
        self
    }

    /// With lines of SQL or values below what there is, each with its end.
    pub(super) fn lines(mut self, lines: String) -> Self {
        if !lines.is_empty() {
            self.0.push(Block::Lines(lines));
        }
        self
    }

    /// For terminals.
    pub(super) fn text(&self) -> String {
        let text = |block: &Block| match block {
            Block::Table(table) => table.text(),
            Block::Words(words) | Block::Lines(words) => words.clone(),
        };
        self.0.iter().map(text).collect()
    }

    /// For browsers; `head` is what does not change, such as a form.
    pub(super) fn page(&self, title: &str, head: Markup) -> Page {
        let live = html! {
            @for block in &self.0 {
                @match block {
                    Block::Table(table) => (table_for_browsers(table)),
                    Block::Words(words) => @for line in words.lines().filter(|line| !line.is_empty()) {
                        p { (linked(line)) }
                    },
                    Block::Lines(lines) => pre.text { (lines) },
                }
            }
        };
        Page { title: title.to_owned(), head, live }
    }
}

fn table_for_browsers(table: &Table) -> Markup {
    html! {
        div.wide {
            table {
                thead {
                    tr { @for (title, class) in table.titles() { th class=(class) { (title.to_lowercase()) } } }
                }
                tbody {
                    @for row in table.rows() {
                        tr { @for ((title, class), cell) in table.titles().zip(row) { (cell_of(title, class, cell)) } }
                    }
                }
            }
        }
    }
}

fn cell_of(title: &str, class: &str, cell: &str) -> Markup {
    if FINGERPRINTS.contains(&title) {
        html! { td.l { span.sql { (linked(cell)) } } }
    } else if title == "ROUTE" {
        html! { td.l { (route_link(if cell == "-" { "" } else { cell })) } }
    } else if LONG.contains(&title) {
        html! { td.l.long title=(cell) { (cell) } }
    } else {
        html! { td class=(class) { (cell) } }
    }
}

/// A choice of a form, with what is chosen now.
pub(super) fn choice(name: &str, words: &[&str], chosen: Option<&str>) -> Markup {
    html! {
        select name=(name) aria-label=(name) {
            option value="" { (name) ": any" }
            @for word in words { option value=(word) selected[chosen == Some(word)] { (word) } }
        }
    }
}

/// A form that asks for the same page otherwise.
pub(super) fn form(path: &str, fields: &Markup) -> Markup {
    html! { form method="get" action=(path) { (fields) button { "show" } } }
}

/// A way back to a statement.
pub(super) fn about(fingerprint: &str, what: &str) -> Markup {
    html! { h1 { (what) " of " a.sql href={ "/queries/" (encoded(fingerprint)) } { (fingerprint) } } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::table::{name, number};

    #[test]
    fn a_table_is_the_same_for_both_but_for_links() {
        let columns = [name("ROUTE", 5), name("FINGERPRINT", 16), number("calls"), name("TEXT", 4)];
        let mut table = Table::new(columns);
        let cells = ["/<a>/", "2c3468d568a66693", "3", "select '<b>'"];
        table.row(cells.map(str::to_owned));
        let sheet = Sheet::default().table(table).words("and 2 more\n\n").lines("<i>\n".to_owned());
        assert!(
            sheet
                .text()
                .ends_with("/<a>/  2c3468d568a66693      3  select '<b>'\nand 2 more\n\n<i>\n")
        );
        let page = sheet.page("/x", html! {}).live.into_string();
        for part in [
            "<th class=\"l\">fingerprint</th>",
            "<a href=\"/routes/%2F%3Ca%3E%2F\">/&lt;a&gt;/</a>",
            "<a href=\"/queries/2c3468d568a66693\">2c3468d568a66693</a>",
            "<td class=\"\">3</td>",
            "title=\"select '&lt;b&gt;'\">select '&lt;b&gt;'</td>",
            "<p>and 2 more</p>",
            "<pre class=\"text\">&lt;i&gt;\n</pre>",
        ] {
            assert!(page.contains(part), "no {part} in {page}");
        }
    }
}
