//! One settings key as a fact: name, default, sentence. The tables of keys are in `settings`; nothing is read here.

use super::kind::{Input, Literal};

/// A key of the configuration, from which the reader, `check` and the example file are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The table it stands in: `pool`, or `databases.NAME`.
    pub table: &'static str,
    /// Its name within the table.
    pub name: &'static str,
    /// Table and name joined by a dot.
    pub path: &'static str,
    /// Its value where nothing is configured.
    pub default: Preset,
    pub(super) about: &'static str,
    /// When a change of it takes effect.
    pub reload: Reload,
}

/// A default value, as it would be written in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// A whole number.
    Whole(i64),
    /// A text, a duration among them.
    Text(&'static str),
    /// `true` or `false`.
    Flag(bool),
    /// No value: the key is optional. The example file shows `sample`, a TOML literal.
    Unset {
        /// An example of a value; where the key falls back on a global one, that one's default.
        sample: &'static str,
    },
}

/// When a changed key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// With the reload.
    Live,
    /// Only with a restart.
    Restart,
}

impl Key {
    /// What it does, in a sentence or two.
    pub fn about(&self) -> &'static str {
        // The text of a doc comment starts with a space.
        self.about.trim_start()
    }
}

impl Preset {
    /// The default (or the sample of an optional key) as a TOML literal.
    pub fn literal(&self) -> String {
        match *self {
            Self::Whole(number) => Literal::whole(number).to_string(),
            Self::Text(text) => Literal::text(text).to_string(),
            Self::Flag(flag) => Literal::from(flag).to_string(),
            Self::Unset { sample } => sample.to_owned(),
        }
    }

    pub(super) fn input(&self) -> Input<'static> {
        match *self {
            Self::Whole(number) => Input::Whole(number),
            Self::Text(text) => Input::Text(text),
            Self::Flag(flag) => Input::Flag(flag),
            Self::Unset { .. } => Input::Unset,
        }
    }
}
