//! A table for terminals: columns as wide as what they hold, none beyond the line if it can be
//! helped.

use std::borrow::Cow;
use std::ops::Range;

/// The line that every view fits in.
pub(super) const LINE: usize = 100;

/// What a shortened text ends with.
const CUT: char = '…';

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Names: at the left, and shortened, from the last such column on, if the line is too long otherwise; down to so many
    /// characters.
    Left(usize),
    /// Numbers: at the right.
    Right,
}

/// A column: its heading, and a heading over it and its neighbours that have the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    group: &'static str,
    title: &'static str,
    align: Align,
}

/// Rows of cells, one for each column.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// A column of names.
pub(super) const fn name(title: &'static str, least: usize) -> Column {
    Column { group: "", title, align: Align::Left(least) }
}

/// A column of numbers.
pub(super) const fn number(title: &'static str) -> Column {
    numbers("", title)
}

/// A column of numbers under a common heading.
pub(super) const fn numbers(group: &'static str, title: &'static str) -> Column {
    Column { group, title, align: Align::Right }
}

impl Table {
    /// Without rows.
    pub(super) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row. What peers chose is cleaned of control characters: they could move the cursor.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let clean = |cell: String| cell.replace(|c: char| c.is_control(), "?");
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// What columns are called, and how their cells stand in HTML: names at the left.
    pub(super) fn titles(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.columns.iter().map(|column| match column.align {
            Align::Left(_) => (column.title, "l"),
            Align::Right => (column.title, ""),
        })
    }

    /// The rows, in full.
    pub(super) fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = &str>> {
        self.rows.iter().map(|row| row.iter().map(String::as_str))
    }

    /// The table, each line with its end.
    pub(super) fn text(&self) -> String {
        let places = self.places();
        let mut text = String::new();
        if self.columns.iter().any(|column| !column.group.is_empty()) {
            write_line(&mut text, &self.group_line(&places));
        }
        let titles: Vec<_> = self.columns.iter().map(|column| column.title.to_owned()).collect();
        for cells in std::iter::once(&titles).chain(&self.rows) {
            write_line(&mut text, &self.cell_line(cells, &places));
        }
        text
    }

    /// Where each column begins and ends.
    fn places(&self) -> Vec<Range<usize>> {
        let mut end = 0;
        let place = |(index, width): (usize, usize)| {
            let start = end + self.gap(index);
            end = start + width;
            start..end
        };
        self.widths().into_iter().enumerate().map(place).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |(index, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let widest = cells.map(|cell| length(cell)).max().unwrap_or(0);
            widest.max(length(column.title))
        };
        let mut widths: Vec<_> = self.columns.iter().enumerate().map(widest).collect();
        let gaps: usize = (0..self.columns.len()).map(|index| self.gap(index)).sum();
        let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(LINE);
        for (width, column) in widths.iter_mut().zip(&self.columns).rev() {
            if let Align::Left(least) = column.align {
                let less = over.min(width.saturating_sub(least.max(length(column.title))));
                *width -= less;
                over -= less;
            }
        }
        widths
    }

    /// The space before a column: narrow within a group.
    fn gap(&self, index: usize) -> usize {
        let Some(before) = index.checked_sub(1) else { return 0 };
        let (before, column) = (self.columns[before], self.columns[index]);
        if before.group == column.group && !column.group.is_empty() { 1 } else { 2 }
    }

    fn cell_line(&self, cells: &[String], places: &[Range<usize>]) -> String {
        let mut line = String::new();
        for ((cell, column), place) in cells.iter().zip(&self.columns).zip(places) {
            let cell = shortened(cell, place.len());
            let start = match column.align {
                Align::Left(_) => place.start,
                Align::Right => place.end - length(&cell),
            };
            write_at(&mut line, start, &cell);
        }
        line
    }

    /// A group's heading ends where its last column does.
    fn group_line(&self, places: &[Range<usize>]) -> String {
        let mut line = String::new();
        for (index, column) in self.columns.iter().enumerate() {
            let next = self.columns.get(index + 1).map_or("", |next| next.group);
            if !column.group.is_empty() && next != column.group {
                let start = places[index].end.saturating_sub(length(column.group));
                write_at(&mut line, start, column.group);
            }
        }
        line
    }
}

/// Lines are written from left to right.
fn write_at(line: &mut String, start: usize, text: &str) {
    let fill = start.saturating_sub(length(line));
    line.extend(std::iter::repeat_n(' ', fill));
    line.push_str(text);
}

fn write_line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn shortened(text: &str, width: usize) -> Cow<'_, str> {
    if length(text) <= width {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().take(width.saturating_sub(1)).chain([CUT]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn names_stand_left_and_numbers_right_under_their_group() {
        let columns =
            [name("POOL", 8), numbers("clients", "act"), numbers("clients", "idle"), number("qps")];
        let mut table = Table::new(columns);
        table.row(words(&["shop", "1", "2", "3"]));
        table.row(words(&["a/longer", "10", "20000", "3"]));
        let expected = [
            "            clients",
            "POOL      act  idle  qps",
            "shop        1     2    3",
            "a/longer   10 20000    3",
        ];
        assert_eq!(table.text().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn long_names_give_way_so_that_the_line_fits() {
        let mut table = Table::new([name("A", 10), name("B", 10), number("N")]);
        table.row(words(&["x".repeat(40).as_str(), &"ü".repeat(90), "123456"]));
        let text = table.text();
        assert!(text.lines().all(|line| length(line) == LINE || line.starts_with('A')), "{text}");
        assert!(text.contains(&format!("{}  ü", "x".repeat(40))), "{text}");
        assert!(text.contains("ü…  123456"), "{text}");
    }

    #[test]
    fn what_clients_call_themselves_cannot_move_the_cursor() {
        let mut table = Table::new([name("A", 10)]);
        table.row(words(&["\x1b[2Jevil\n"]));
        assert_eq!(table.text(), "A\n?[2Jevil?\n");
    }
}
