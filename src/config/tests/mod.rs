//! What a configuration comes to, from its text and environment. The shipped files are tested in `tests/config_file.rs`.

mod environment;
mod faults;
mod hba;
mod oauth;
mod passwords;
mod precedence;
mod reading;
mod user_list;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{Config, ConfigErrors};

/// A folder with files for one test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes a file that only its owner can read.
    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn load(&self, text: impl AsRef<[u8]>, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        Config::load(Some(&self.write("pooler.toml", text)), &variables(env))
    }
}

fn variables(env: &[(&str, &str)]) -> BTreeMap<String, String> {
    env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The configuration of a file's text.
fn toml(text: &str) -> Config {
    Folder::new().load(text, &[]).unwrap_or_else(|faults| panic!("{text}\n{faults}"))
}

/// The configuration of an environment alone.
fn env(env: &[(&str, &str)]) -> Config {
    Config::load(None, &variables(env)).unwrap_or_else(|faults| panic!("{env:?}\n{faults}"))
}

/// The faults of a file and an environment, a line each, with the file called by its name only.
fn faults(text: impl AsRef<[u8]>, env: &[(&str, &str)]) -> Vec<String> {
    let folder = Folder::new();
    let prefix = format!("{}/", folder.0.path().display());
    let faults = folder.load(text, env).expect_err("the configuration has no fault");
    assert_eq!(faults.to_string().lines().count(), faults.faults().len());
    faults.to_string().replace(&prefix, "").lines().map(str::to_owned).collect()
}

/// The one fault of a file's text, without the file's name.
fn fault(text: &str) -> String {
    let all = faults(text, &[]);
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].strip_prefix("pooler.toml: ").unwrap_or(&all[0]).to_owned()
}
