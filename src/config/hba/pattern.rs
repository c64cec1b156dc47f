//! A regular expression of a file, kept with its text so that two can be compared.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::problem::HbaProblem;

/// What one expression may take in memory once it is compiled, in bytes; far above what names need.
const MOST_MEMORY: usize = 256 * 1024;

/// A regular expression that is looked for anywhere in a name.
#[derive(Clone)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// `None` unless the text begins with the slash that makes it an expression.
    pub(super) fn of(text: &str) -> Option<Result<Self, HbaProblem>> {
        let expression = text.strip_prefix('/')?;
        let regex = RegexBuilder::new(expression).size_limit(MOST_MEMORY).build();
        Some(regex.map(Self).map_err(|_| HbaProblem::Pattern(expression.to_owned())))
    }

    /// Does it occur in the name?
    pub(super) fn fits(&self, name: &str) -> bool {
        self.0.is_match(name)
    }

    /// Has it something in parentheses?
    pub(super) fn has_group(&self) -> bool {
        self.0.captures_len() > 1
    }

    /// Has it a `|` that is not escaped? What a group then takes is another thing to Postgres.
    pub(super) fn has_alternatives(&self) -> bool {
        let mut characters = self.0.as_str().chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => {
                    characters.next();
                }
                '|' => return true,
                _ => {}
            }
        }
        false
    }

    /// What the first parentheses matched, nothing if they took no part; `None`: it does not occur.
    pub(super) fn first_group<'a>(&self, name: &'a str) -> Option<&'a str> {
        let groups = self.0.captures(name)?;
        Some(groups.get(1).map_or("", |group| group.as_str()))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.as_str())
    }
}
