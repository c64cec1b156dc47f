//! How the configuration writes what is to be known of statements: keys of tags. What is done with them is left to
//! those who count.

use super::fault::Problem;
use super::kind::{Input, Kind, Literal, Word};

/// Which comments are taken off statements before Postgres gets them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StripComments {
    /// None.
    #[default]
    Off,
    /// Those that a tool tagged a statement with.
    Tags,
}

impl Word for StripComments {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("tags", Self::Tags)];
}

/// What is kept of the values of single calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeepParams {
    /// Nothing.
    #[default]
    Off,
    /// Which calls had the same.
    Hash,
    /// They themselves.
    Full,
}

impl Word for KeepParams {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("hash", Self::Hash), ("full", Self::Full)];
}

/// Keys of tags, with commas; empty for none.
#[derive(Debug, Clone, Copy)]
pub(super) struct TagKeys;

/// More keys than any tool writes.
const MOST_TAG_KEYS: usize = 32;

impl Kind for TagKeys {
    type Value = Vec<String>;

    fn read(&self, input: Input<'_>) -> Result<Vec<String>, Problem> {
        const EXPECTED: &str = "up to 32 keys of letters, digits and _.-, with commas";
        let mut keys = Vec::new();
        let given = input.text(EXPECTED)?;
        for key in given.split(',').map(str::trim).filter(|key| !key.is_empty()) {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            if !key.chars().all(plain) || keys.len() == MOST_TAG_KEYS {
                return Err(Problem::NotA { given: key.to_owned(), expected: EXPECTED });
            }
            keys.push(key.to_ascii_lowercase());
        }
        Ok(keys)
    }

    fn show(&self, value: &Vec<String>) -> Option<Literal> {
        Some(Literal::text(&value.join(", ")))
    }
}

/// What is no finding, however often it repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IgnoreRule {
    /// A statement.
    Fingerprint(u64),
    /// Everything of a route.
    Route(String),
    /// Everything of an application, by its `application_name`.
    Application(String),
    /// Everything of a user that servers log in as.
    User(String),
}

/// Such rules, with commas.
#[derive(Debug, Clone, Copy)]
pub(super) struct IgnoreRules;

/// More rules than anybody writes by hand.
const MOST_RULES: usize = 1_000;

impl Kind for IgnoreRules {
    type Value = Vec<IgnoreRule>;

    fn read(&self, input: Input<'_>) -> Result<Vec<IgnoreRule>, Problem> {
        const EXPECTED: &str = "rules such as route=/health, fingerprint=9b922b45ac2fa024, application=cron or user=app, with commas";
        let mut rules = Vec::new();
        let given = input.text(EXPECTED)?;
        for text in given.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let rule = text.split_once('=').and_then(|(what, name)| rule(what.trim(), name.trim()));
            let wrong = || Problem::NotA { given: text.to_owned(), expected: EXPECTED };
            rules.push(rule.filter(|_| rules.len() < MOST_RULES).ok_or_else(wrong)?);
        }
        Ok(rules)
    }

    fn show(&self, value: &Vec<IgnoreRule>) -> Option<Literal> {
        let shown = value.iter().map(|rule| match rule {
            IgnoreRule::Fingerprint(hash) => format!("fingerprint={hash:016x}"),
            IgnoreRule::Route(name) => format!("route={name}"),
            IgnoreRule::Application(name) => format!("application={name}"),
            IgnoreRule::User(name) => format!("user={name}"),
        });
        Some(Literal::text(&shown.collect::<Vec<_>>().join(", ")))
    }
}

fn rule(what: &str, name: &str) -> Option<IgnoreRule> {
    let owned = || name.to_owned();
    match what {
        _ if name.is_empty() => None,
        "fingerprint" if name.len() == 16 => {
            u64::from_str_radix(name, 16).ok().map(IgnoreRule::Fingerprint)
        }
        "route" => Some(IgnoreRule::Route(owned())),
        "application" => Some(IgnoreRule::Application(owned())),
        "user" => Some(IgnoreRule::User(owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_tags_are_words_with_commas() {
        let read = |text: &str| TagKeys.read(Input::Text(text));
        assert_eq!(read(" Route, job ,"), Ok(vec!["route".to_owned(), "job".to_owned()]));
        assert_eq!(read(""), Ok(Vec::new()));
        assert!(matches!(read("a b"), Err(Problem::NotA { .. })));
        assert!(matches!(read(&"k,".repeat(MOST_TAG_KEYS + 1)), Err(Problem::NotA { .. })));
    }

    #[test]
    fn rules_say_what_they_are_about() {
        let read = |text: &str| IgnoreRules.read(Input::Text(text));
        let rules =
            read("route=/a=b, fingerprint=00000000000000ff,application=cron,user=app").unwrap();
        assert_eq!(rules[0], IgnoreRule::Route("/a=b".to_owned()));
        assert_eq!(rules[1], IgnoreRule::Fingerprint(255));
        let shown = IgnoreRules.show(&rules).unwrap().to_string();
        assert_eq!(read(shown.trim_matches('"')), Ok(rules));
        assert_eq!(read(""), Ok(Vec::new()));
        for wrong in ["/a", "route=", "fingerprint=ff", "table=t"] {
            assert!(matches!(read(wrong), Err(Problem::NotA { .. })), "{wrong}");
        }
    }
}
