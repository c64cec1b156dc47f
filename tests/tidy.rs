//! The architecture as a test: imports go down only, files and functions stay small, every file says
//! what it is for. Style that rustfmt and clippy can see is left to them.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The layers, lowest first. A module imports from its own line or from lines above it here, and
/// never in a circle. A new module of `src/` must be given its place.
const LAYERS: &[&[&str]] = &[
    &["protocol", "sql", "config", "stats", "plan", "lifecycle", "notify"],
    &["net"],
    &["auth"],
    &["server"],
    &["pool", "relay", "account", "lookup"],
    &["logging", "descriptors", "secrecy", "top"],
    &["client", "control", "admin", "console", "otel"],
    &["accept"],
    &["worker", "app", "fuzzing"],
    &["cli", "main"],
];

/// The map of the crate: it names every module and belongs to none.
const CRATE_ROOT: &str = "lib";

/// A file longer than this holds more than one idea.
const MAX_FILE_LINES: usize = 500;

/// Lines with code in one function, signature included. The same count as clippy's `too_many_lines`, but
/// for every target and without a way to allow it.
const MAX_FUNCTION_LINES: usize = 60;

/// What must not be left behind, written in halves so that this file does not find itself.
const FORBIDDEN: &[(&str, &str)] = &[
    ("#[ign", "ore"),
    ("tod", "o!("),
    ("unimple", "mented!("),
    ("db", "g!("),
    ("uns", "afe {"),
    ("TO", "DO"),
    ("FIX", "ME"),
];

/// Fewer files than this means that the walk looked in the wrong place.
const MIN_SOURCE_FILES: usize = 5;
const MIN_TEST_FILES: usize = 10;

/// One Rust file: as written, and with comments and literals blanked out.
struct Source {
    path: PathBuf,
    text: String,
    code: String,
}

impl Source {
    /// The name of the module directly under `src/` that this file belongs to.
    fn module(&self) -> String {
        let inside: Vec<_> = self.path.iter().skip_while(|part| *part != "src").skip(1).collect();
        let first = Path::new(inside.first().expect("only files under src/ are asked"));
        first.file_stem().unwrap().to_str().unwrap().to_owned()
    }

    /// How many `super::` lead from this file to the crate root.
    fn depth(&self) -> usize {
        let folders = self.path.iter().skip_while(|part| *part != "src").count() - 2;
        let file = self.path.file_stem().unwrap();
        if file == "mod" || file == "lib" || file == "main" { folders } else { folders + 1 }
    }
}

fn rust_files(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "node_modules" && name != "target" {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().to_owned();
                found.push(Source { path, code: blank(&text), text });
            }
        }
    }
    found
}

fn sources() -> Vec<Source> {
    let found = rust_files("src");
    assert!(found.len() >= MIN_SOURCE_FILES, "looked at {} files of src/ only", found.len());
    found
}

fn sources_and_tests() -> Vec<Source> {
    let mut found = sources();
    let tests = rust_files("tests");
    assert!(tests.len() >= MIN_TEST_FILES, "looked at {} files of tests/ only", tests.len());
    found.extend(tests);
    found
}

/// What stands at the start of the text, as far as it matters for finding code.
enum Piece {
    LineComment,
    BlockComment,
    Text,
    RawText { hashes: usize },
    Character,
    Code,
}

fn piece(rest: &[u8], before: u8) -> Piece {
    let after_word = before.is_ascii_alphanumeric() || before == b'_';
    match rest {
        [b'/', b'/', ..] => Piece::LineComment,
        [b'/', b'*', ..] => Piece::BlockComment,
        [b'"', ..] => Piece::Text,
        [b'r', tail @ ..] if !after_word || before == b'b' => {
            let hashes = tail.iter().take_while(|byte| **byte == b'#').count();
            if tail.get(hashes) == Some(&b'"') { Piece::RawText { hashes } } else { Piece::Code }
        }
        [b'\'', b'\\', ..] | [b'\'', _, b'\'', ..] => Piece::Character,
        _ => Piece::Code,
    }
}

/// How many bytes the piece covers.
fn length(piece: &Piece, rest: &[u8]) -> usize {
    let until = |needle: &[u8], from: usize| {
        rest.get(from..)
            .and_then(|tail| tail.windows(needle.len()).position(|window| window == needle))
            .map_or(rest.len(), |at| from + at + needle.len())
    };
    match piece {
        Piece::LineComment => until(b"\n", 0) - 1,
        Piece::BlockComment => until(b"*/", 2),
        Piece::Text => quoted(rest, b'"'),
        Piece::Character => quoted(rest, b'\''),
        Piece::RawText { hashes } => {
            let mut end = vec![b'"'];
            end.extend(std::iter::repeat_n(b'#', *hashes));
            until(&end, 2 + hashes)
        }
        Piece::Code => 1,
    }
}

/// The length of a literal that starts with `quote` and knows backslashes.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The text with comments and literals replaced by spaces; line breaks stay where they are.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let piece = piece(&bytes[at..], if at > 0 { bytes[at - 1] } else { b' ' });
        let length = length(&piece, &bytes[at..]).max(1);
        let is_code = matches!(piece, Piece::Code);
        for &byte in &bytes[at..at + length] {
            let keep = byte == b'\n' || (is_code && byte.is_ascii());
            code.push(if keep { char::from(byte) } else { ' ' });
        }
        at += length;
    }
    code
}

/// Names of functions of this file with their line and count of lines that hold code.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let preceding = code[..at].chars().next_back().unwrap_or(' ');
        let name: String = code[at + 3..].chars().take_while(|c| is_word(*c)).collect();
        if is_word(preceding) || name.is_empty() {
            continue;
        }
        if let Some(length) = body_end(&code[at..]) {
            let lines = code[at..at + length].lines().filter(|line| !line.trim().is_empty());
            found.push((name, code[..at].matches('\n').count() + 1, lines.count()));
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the body of the function at the start ends; none when it is only declared.
fn body_end(code: &str) -> Option<usize> {
    let mut braces = 0;
    let mut brackets = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' => braces += 1,
            '}' if braces == 1 => return Some(at + 1),
            '}' => braces -= 1,
            ';' if braces == 0 && brackets == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The modules directly under `src/` that this file imports or names by path.
fn imports(source: &Source) -> BTreeSet<String> {
    let to_root = format!("{}::", vec!["super"; source.depth().max(1)].join("::"));
    let mut names = BTreeSet::new();
    for prefix in ["crate::", "pooler::", &to_root] {
        for (at, _) in source.code.match_indices(prefix) {
            let before = source.code[..at].chars().next_back().unwrap_or(' ');
            if !is_word(before) && before != ':' {
                names.extend(first_segments(&source.code[at + prefix.len()..]));
            }
        }
    }
    names
}

/// The first segment of each path in `a::b` or `{a, b::{c, d}}`.
fn first_segments(path: &str) -> Vec<String> {
    let word = |text: &str| text.trim_start().chars().take_while(|c| is_word(*c)).collect();
    if !path.starts_with('{') {
        return vec![word(path)];
    }
    let mut depth = 0;
    let mut names = Vec::new();
    for (at, c) in path.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && (c == '{' || c == ',') {
            names.push(word(&path[at + 1..]));
        }
    }
    names
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The first words, in backticks, of the rows of a table in the architecture's page.
fn explained_crates() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md");
    let text = std::fs::read_to_string(page).unwrap();
    let (_, table) = text.split_once("## Dependencies").expect("the page has that chapter");
    let cells = table.lines().filter_map(|row| row.strip_prefix("| `")?.split(" | ").next());
    let names = cells.flat_map(|cell| cell.split(", "));
    names.map(|name| name.trim_matches('`').to_owned()).collect()
}

fn dependencies() -> BTreeSet<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let text = std::fs::read_to_string(manifest).unwrap();
    let (_, section) = text.split_once("[dependencies]\n").expect("there are dependencies");
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| Some(line.split_once(" = ")?.0.to_owned())).collect()
}

fn fail_on(faults: &str) {
    assert!(faults.is_empty(), "\n{faults}");
}

#[test]
fn every_module_has_a_layer_and_imports_go_down() {
    let mut faults = String::new();
    for source in sources().iter().filter(|source| source.module() != CRATE_ROOT) {
        let (path, module) = (source.path.display(), source.module());
        let Some(own) = layer(&module) else {
            writeln!(faults, "{path}: `{module}` has no place in LAYERS").unwrap();
            continue;
        };
        for import in imports(source) {
            if layer(&import).is_some_and(|layer| layer > own) {
                writeln!(faults, "{path}: imports `{import}`, which lies above `{module}`")
                    .unwrap();
            }
        }
    }
    fail_on(&faults);
}

#[test]
fn modules_do_not_import_in_a_circle() {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources().iter().filter(|source| source.module() != CRATE_ROOT) {
        let module = source.module();
        let others = imports(source).into_iter().filter(|name| layer(name).is_some());
        graph.entry(module.clone()).or_default().extend(others.filter(|name| *name != module));
    }
    // What imports nothing that is left can be taken away; a circle remains.
    while let Some(leaf) = graph
        .iter()
        .find(|(_, imports)| !imports.iter().any(|name| graph.contains_key(name)))
        .map(|(name, _)| name.clone())
    {
        graph.remove(&leaf);
    }
    assert!(graph.is_empty(), "these modules import each other: {graph:?}");
}

#[test]
fn every_file_says_on_its_first_line_what_it_is_for() {
    let mut faults = String::new();
    for source in sources_and_tests() {
        let first = source.text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") || first.len() < 20 {
            writeln!(faults, "{}: line 1 is not a `//!` sentence", source.path.display()).unwrap();
        }
    }
    fail_on(&faults);
}

#[test]
fn files_and_functions_are_small() {
    let mut faults = String::new();
    let mut seen = 0;
    for source in sources_and_tests() {
        let path = source.path.display();
        let lines = source.text.lines().count();
        if lines > MAX_FILE_LINES {
            writeln!(faults, "{path}: {lines} lines, {MAX_FILE_LINES} at most").unwrap();
        }
        for (name, line, length) in functions(&source.code) {
            seen += 1;
            if length > MAX_FUNCTION_LINES {
                let limit = MAX_FUNCTION_LINES;
                writeln!(faults, "{path}:{line}: `{name}` has {length} lines, {limit} at most")
                    .unwrap();
            }
        }
    }
    assert!(seen > MIN_TEST_FILES, "found {seen} functions only");
    fail_on(&faults);
}

#[test]
fn nothing_unfinished_is_left_behind() {
    let mut faults = String::new();
    for source in sources_and_tests() {
        for (number, line) in source.text.lines().enumerate() {
            for (start, end) in FORBIDDEN {
                if line.contains(&format!("{start}{end}")) {
                    let path = source.path.display();
                    writeln!(faults, "{path}:{}: `{start}{end}`", number + 1).unwrap();
                }
            }
        }
    }
    fail_on(&faults);
}

#[test]
fn the_reader_of_code_is_not_fooled() {
    let text = "fn a<'x>() {\n  // fn b() {\n  let s = \"}\\\"{\"; let c = '{'; let r = r#\"\"}\"#;\n}\nfn c();\n";
    assert_eq!(functions(&blank(text)), vec![("a".to_owned(), 1, 3)]);
    assert_eq!(first_segments("{net::Stream, pool::{a, b}, sql}"), ["net", "pool", "sql"]);
    assert_eq!(first_segments("app::App;"), ["app"]);
    let up = "use super::pool::Pool; use crate::{app::App, stats};";
    let source = Source { path: "src/net/mod.rs".into(), text: up.into(), code: blank(up) };
    assert_eq!(imports(&source).into_iter().collect::<Vec<_>>(), ["app", "pool", "stats"]);
}

#[test]
fn every_dependency_has_its_reason() {
    let dependencies = dependencies();
    assert!(dependencies.len() >= MIN_SOURCE_FILES, "saw {} dependencies", dependencies.len());
    assert_eq!(explained_crates(), dependencies, "docs/ARCHITECTURE.md (left), Cargo.toml (right)");
}

/// The docs name the test of each published fault, and no other.
#[test]
fn every_published_fault_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (tests, docs) = (read("tests/integration/cve.rs"), read("docs/SECURITY.md"));
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let found = |text: &str, before: &str| -> BTreeSet<String> {
        text.split(before).skip(1).map(name).map(|rest| format!("cve_{rest}")).collect()
    };
    let (tested, told) = (found(&tests, "fn cve_"), found(&docs, "`cve_"));
    assert!(tested.len() > 10, "{tested:?}");
    assert_eq!(told, tested, "docs/SECURITY.md (left), tests/integration/cve.rs (right)");
}
