//! A file in the form of `pg_hba.conf` and `pg_ident.conf` as lines, fields and words: comments, quotes, lists, continued
//! lines and other files that are included. What the words mean is left to `rules` and `ident`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::problem::HbaProblem;
use crate::config::fault::{Fault, Place, Problem};
use crate::config::layers;

/// The largest file that is read.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;

/// Files that include one another, at most (`CONF_FILE_MAX_DEPTH`).
const MAX_DEPTH: usize = 10;

/// Lines and names of all files together: every login goes through the rules in turn.
const MOST_WORDS: usize = 100_000;

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// In quotes it is a name, whatever it spells.
    pub(super) quoted: bool,
}

impl Word {
    /// Is it this keyword?
    pub(super) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }
}

/// A line with something in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) file: Arc<Path>,
    /// From 1; that of its first part if it is continued.
    pub(super) number: usize,
    /// What stands between blanks; with commas in it, several words.
    pub(super) fields: Vec<Vec<Word>>,
}

impl Line {
    pub(super) fn place(&self) -> Place {
        Place::Line(self.file.to_path_buf(), self.number)
    }
}

/// All lines of a file and of those that it includes; what is wrong goes to `faults`.
pub(super) fn read(path: &Path, faults: &mut Vec<Fault>) -> Vec<Line> {
    let mut reader = Reader { lines: Vec::new(), words: 0, faults };
    reader.file(path, Place::File(path.to_owned()), 0);
    reader.lines
}

struct Reader<'a> {
    lines: Vec<Line>,
    words: usize,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, place: Place, problem: impl Into<Problem>) {
        self.faults.push(Fault { place, problem: problem.into() });
    }

    /// The text of a file, which is asked for at `place`.
    fn text(&mut self, path: &Path, place: Place, depth: usize) -> Option<String> {
        if depth >= MAX_DEPTH {
            self.fault(place, HbaProblem::TooDeep(MAX_DEPTH));
            return None;
        }
        match layers::read_text(path, MAX_BYTES) {
            Ok(text) => Some(text),
            Err(problem) => {
                let place = if depth == 0 { place } else { Place::File(path.to_owned()) };
                self.fault(place, problem);
                None
            }
        }
    }

    fn file(&mut self, path: &Path, asked: Place, depth: usize) {
        let Some(text) = self.text(path, asked, depth) else { return };
        let file: Arc<Path> = path.into();
        for (number, line) in whole_lines(&text) {
            let place = Place::Line(path.to_owned(), number);
            let fields = match split(&line) {
                Ok(fields) => fields,
                Err(problem) => {
                    self.fault(place, problem);
                    continue;
                }
            };
            if fields.is_empty() || self.include(path, &fields, &place, depth) {
                continue;
            }
            let fields = fields.into_iter();
            let fields = fields.map(|field| self.expand(path, field, &place, depth)).collect();
            self.words += 1;
            if self.is_too_much(&place) {
                return;
            }
            self.lines.push(Line { file: Arc::clone(&file), number, fields });
        }
    }

    /// Follows `include` and its kin; false: the line is none of them.
    fn include(&mut self, path: &Path, fields: &[Vec<Word>], place: &Place, depth: usize) -> bool {
        const KEYWORDS: [&str; 3] = ["include", "include_if_exists", "include_dir"];
        let first = &fields[0][0];
        let Some(keyword) = KEYWORDS.into_iter().find(|keyword| first.is(keyword)) else {
            return false;
        };
        let [_, target] = fields else {
            self.fault(place.clone(), HbaProblem::OneFile(keyword));
            return true;
        };
        let [target] = &target[..] else {
            self.fault(place.clone(), HbaProblem::OneFile(keyword));
            return true;
        };
        let target = beside(path, &target.text);
        match keyword {
            "include_dir" => self.folder(&target, place, depth),
            "include_if_exists" if matches!(target.try_exists(), Ok(false)) => {}
            _ => self.file(&target, place.clone(), depth + 1),
        }
        true
    }

    /// Every `*.conf` of a folder that is not hidden, by name, as Postgres takes them.
    fn folder(&mut self, folder: &Path, place: &Place, depth: usize) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.fault(place.clone(), Problem::Unreadable(error.kind())),
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.ends_with(".conf") && !name.starts_with('.') && path.is_file()
        });
        files.sort();
        for file in files {
            self.file(&file, place.clone(), depth + 1);
        }
    }

    /// Puts the words of a file in the place of `@file`.
    fn expand(&mut self, path: &Path, field: Vec<Word>, place: &Place, depth: usize) -> Vec<Word> {
        let mut words = Vec::new();
        for word in field {
            self.words += 1;
            match word.text.strip_prefix('@') {
                Some(name) if !word.quoted && !name.is_empty() => {
                    let file = beside(path, name);
                    words.extend(self.list(&file, place, depth + 1));
                }
                _ => words.push(word),
            }
            if self.is_too_much(place) {
                break;
            }
        }
        words
    }

    fn list(&mut self, file: &Path, asked: &Place, depth: usize) -> Vec<Word> {
        let Some(text) = self.text(file, asked.clone(), depth) else { return Vec::new() };
        let mut words = Vec::new();
        for (number, line) in whole_lines(&text) {
            let place = Place::Line(file.to_owned(), number);
            match split(&line) {
                Ok(fields) => {
                    for field in fields {
                        words.extend(self.expand(file, field, &place, depth));
                    }
                }
                Err(problem) => self.fault(place, problem),
            }
            if self.words > MOST_WORDS {
                break;
            }
        }
        words
    }

    fn is_too_much(&mut self, place: &Place) -> bool {
        let too_much = self.words > MOST_WORDS;
        let said = |fault: &Fault| fault.problem == HbaProblem::TooMuch(MOST_WORDS).into();
        if too_much && !self.faults.iter().any(said) {
            self.fault(place.clone(), HbaProblem::TooMuch(MOST_WORDS));
        }
        too_much
    }
}

/// A file as the one that names it means it.
fn beside(path: &Path, name: &str) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(name)
}

/// Lines with their numbers; a backslash at the end goes on in the next one.
fn whole_lines(text: &str) -> Vec<(usize, String)> {
    let mut whole: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let part = line.strip_suffix('\\');
        let text = part.unwrap_or(line);
        match whole.last_mut() {
            Some((_, begun)) if goes_on => begun.push_str(text),
            Some(_) | None => whole.push((index + 1, text.to_owned())),
        }
        goes_on = part.is_some();
    }
    whole
}

/// The fields of a line, by the rules of Postgres' `next_token` and `next_field_expand`.
pub(super) fn split(line: &str) -> Result<Vec<Vec<Word>>, HbaProblem> {
    if line.contains('\0') {
        return Err(HbaProblem::ZeroByte);
    }
    let mut fields: Vec<Vec<Word>> = Vec::new();
    let mut rest = line.chars().peekable();
    let mut goes_on = false;
    loop {
        while rest.next_if(|c| is_blank(*c) || *c == ',').is_some() {}
        if rest.peek().is_none_or(|c| *c == '#') {
            return Ok(fields);
        }
        let word = word(&mut rest)?;
        match fields.last_mut() {
            Some(field) if goes_on => field.push(word),
            Some(_) | None => fields.push(vec![word]),
        }
        goes_on = rest.next_if_eq(&',').is_some();
    }
}

/// A word up to a blank, a comma or a comment, none of which end it in quotes.
fn word(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Word, HbaProblem> {
    let mut text = String::new();
    let quoted = rest.peek() == Some(&'"');
    let mut within = false;
    while let Some(c) = rest.next_if(|c| within || !(is_blank(*c) || matches!(c, ',' | '#'))) {
        if c != '"' {
            text.push(c);
        } else if within && rest.next_if_eq(&'"').is_some() {
            text.push('"');
        } else {
            within = !within;
        }
    }
    if within { Err(HbaProblem::Unclosed) } else { Ok(Word { text, quoted }) }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(line: &str) -> Vec<String> {
        let show = |word: &Word| {
            if word.quoted { format!("<{}>", word.text) } else { word.text.clone() }
        };
        let fields = split(line).unwrap();
        fields.iter().map(|field| field.iter().map(show).collect::<Vec<_>>().join("+")).collect()
    }

    #[test]
    fn fields_stand_between_blanks_and_words_between_commas() {
        assert_eq!(shown("local\tall  all trust # why\r"), ["local", "all", "all", "trust"]);
        assert_eq!(shown("a,b, c d ,e"), ["a+b+c", "d", "e"]);
        assert_eq!(shown("# nothing"), [""; 0]);
        assert_eq!(
            shown(r#""all" a"b c"d "say ""hi"", you" "" x#y"#),
            ["<all>", "ab cd", "<say \"hi\", you>", "<>", "x"]
        );
        assert_eq!(split("host \"all"), Err(HbaProblem::Unclosed));
    }

    #[test]
    fn a_file_that_may_be_missing_is_a_fault_where_it_cannot_be_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hba");
        let faults = |included: &str| {
            std::fs::write(&path, format!("include_if_exists {included}\n")).unwrap();
            let mut faults = Vec::new();
            assert!(read(&path, &mut faults).is_empty());
            faults.len()
        };
        assert_eq!(faults("missing"), 0);
        // A file is no folder: nobody can say whether there is such a thing within.
        assert_eq!(faults("hba/within"), 1);
        assert_eq!(faults(&"x".repeat(300)), 1);
    }

    #[test]
    fn a_backslash_at_the_end_continues_the_line() {
        let lines = whole_lines("a \\\nb\n\nc\\\n\\\nd");
        let expected = [(1, "a b"), (3, ""), (4, "cd")];
        assert_eq!(lines, expected.map(|(number, line)| (number, line.to_owned())));
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "(?s)[a-z@,\"#\\\\ \\n/]*") {
            for (_, whole) in whole_lines(&line) {
                let _ = split(&whole);
            }
        }
    }
}
