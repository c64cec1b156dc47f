//! The files that ship or serve as examples: `pooler.toml.example`, and the valid and invalid ones in `tests/config/`.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its files has to fail")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pooler::config::{Config, Key, Reload, TABLES, Table};

const EXAMPLE: &str = "pooler.toml.example";

/// Set to any value, the tests write the files anew instead of comparing them.
const UPDATE: &str = "UPDATE_EXPECT";

const PREAMBLE: &str = "\
# Every setting of pooler, each with its default. Take out the # before what you want to change.
#
# Start it with `pooler --config FILE`; `pooler check --config FILE` says what is wrong with a file,
# or which settings it comes to. Environment variables win over the file: POOLER__TABLE__KEY, such as
# POOLER__POOL__DEFAULT_POOL_SIZE=25 or POOLER__DATABASES__SHOP__HOST=db.example.com. Without a name,
# POOLER__DATABASES__HOST is of the database \"*\", which serves every name.
#
# Durations are written as \"500ms\", \"30s\", \"5m\", \"1h\" or \"1d\"; a plain number is seconds.
# Settings marked (restart) take effect with a restart, all others with a reload (SIGHUP).
";

#[test]
fn the_example_says_what_the_code_says() {
    compare(Path::new(EXAMPLE), &example());
}

#[test]
fn the_example_changes_nothing_as_it_is() {
    assert_eq!(load(Path::new(EXAMPLE)), Ok(Config::default()));
}

#[test]
fn the_example_holds_the_defaults_when_its_keys_are_taken_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pooler.toml");
    fs::write(&path, uncommented(&fs::read_to_string(EXAMPLE).unwrap())).unwrap();
    let all = load(&path).unwrap_or_else(|faults| panic!("{faults}"));
    let default = Config::default();

    // Every key is there: what is shown of it has a line for each.
    let shown = all.to_toml();
    let keys = TABLES.iter().map(|table| table.keys.len()).sum::<usize>();
    assert_eq!(shown.lines().filter(|line| line.contains(" = ")).count(), keys, "{shown}");

    let global = |config: &Config| Config {
        databases: BTreeMap::new(),
        users: BTreeMap::new(),
        tokens: BTreeMap::new(),
        warnings: Vec::new(),
        ..config.clone()
    };
    // The example's auth_type is the default without secrets, so that nothing differs here.
    assert_eq!(global(&all), global(&default));
    // Samples of optional keys are what they fall back on.
    let (shop, ann) = ("shop", "ann");
    assert_eq!(all.pool_limits(shop, ann), default.pool_limits(shop, ann));
    assert_eq!(all.client_timeouts(shop, ann), default.client_timeouts(shop, ann));
    assert_eq!(all.client_limits(shop, ann), default.client_limits(shop, ann));
}

#[test]
fn valid_files_are_accepted_without_a_warning() {
    let files = files("tests/config/valid");
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let config = load(&file).unwrap_or_else(|faults| panic!("{faults}"));
        let of_permissions = |text: &str| text.contains("chmod");
        let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
        // The checkout decides who can read the files.
        assert!(warnings.iter().all(|text| of_permissions(text)), "{file:?} {warnings:?}");
    }
}

#[test]
fn invalid_files_are_refused_in_these_words() {
    let files = files("tests/config/invalid");
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let faults = load(&file).expect_err(&format!("{} is accepted", file.display()));
        let folder = format!("{}/", file.parent().unwrap().display());
        compare(&file.with_extension("faults"), &format!("{faults}\n").replace(&folder, ""));
    }
}

fn load(path: &Path) -> Result<Config, pooler::config::ConfigErrors> {
    Config::load(Some(path), &BTreeMap::new())
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let mut files: Vec<_> = entries.filter(is_toml).collect();
    files.sort();
    files
}

fn compare(path: &Path, expected: &str) {
    if std::env::var_os(UPDATE).is_some() {
        fs::write(path, expected).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "{} is not what the code says; first difference {differs:#?}; {UPDATE}=1 writes it anew",
        path.display()
    );
}

/// The text of the example file.
fn example() -> String {
    let mut text = PREAMBLE.to_owned();
    for table in TABLES {
        text.push('\n');
        push_wrapped(&mut text, table.about());
        text.push_str(&header(table));
        for key in table.keys {
            text.push('\n');
            push_wrapped(&mut text, &about(key));
            text.push_str(&format!("#{} = {}\n", key.name, key.default.literal()));
        }
    }
    text
}

/// A table that is there changes nothing, but a database would be one.
fn header(table: &Table) -> String {
    match table.name {
        "databases.NAME" => "#[databases.shop]\n".to_owned(),
        "users.NAME" => "#[users.ann]\n".to_owned(),
        "tokens.NAME" => "#[tokens.prometheus]\n".to_owned(),
        name => format!("[{name}]\n"),
    }
}

fn about(key: &Key) -> String {
    let mut about = key.about().to_owned();
    if key.reload == Reload::Restart {
        about.push_str(" (restart)");
    }
    about
}

/// Adds comment lines of at most 100 characters.
fn push_wrapped(text: &mut String, sentence: &str) {
    let mut line = String::from("#");
    for word in sentence.split_whitespace() {
        if line.len() + 1 + word.len() > 100 {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

/// The file with `#` taken off its keys and tables, which have no space after it as sentences do.
fn uncommented(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest,
        Some(_) | None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}
