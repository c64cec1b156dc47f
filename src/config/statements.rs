//! How the configuration writes what is to be known of statements: keys of tags. What is done with them is left to
//! those who count.

use super::fault::Problem;
use super::kind::{Input, Kind, Literal};

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
}
