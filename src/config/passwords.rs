//! Secrets that stand somewhere else than in the configuration: in a file of their own, or in an environment variable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::fault::{Conflict, Fault, Place, Problem, Warning};
use super::layers;
use super::secret_text::SecretText;

/// The largest file of one secret, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Where a secret may come from, with the place of each key for faults.
pub(super) struct Sources<'a> {
    /// The names of `own` and `file`.
    pub(super) keys: [&'static str; 2],
    /// `password`.
    pub(super) own: &'a mut Option<SecretText>,
    /// `password_file`.
    pub(super) file: (Option<&'a PathBuf>, Place),
    /// `password_env`.
    pub(super) variable: (&'a str, Place),
}

/// Puts the secret that a file or a variable holds into its key. A warning, where others can read the file.
pub(super) fn fetch(
    sources: Sources<'_>,
    env: &BTreeMap<String, String>,
) -> Result<Option<Warning>, Fault> {
    let Sources {
        keys: [key, file_key],
        own,
        file: (file, file_place),
        variable: (variable, variable_place),
    } = sources;
    let fault = |place, problem: Problem| Err(Fault { place, problem });
    match (file, variable) {
        (None, "") => return Ok(None),
        (Some(_), "") if own.is_some() => {
            return fault(file_place, Conflict::TwoPasswords(key).into());
        }
        (Some(_), name) if !name.is_empty() => {
            return fault(variable_place, Conflict::TwoPasswords(file_key).into());
        }
        (None, _) if own.is_some() => {
            return fault(variable_place, Conflict::TwoPasswords(key).into());
        }
        (Some(file), _) => {
            *own = Some(first_line(file)?);
            return Ok(layers::readable_by_all(file));
        }
        (None, name) => match env.get(name).map(String::as_str) {
            None => return fault(variable_place, Conflict::NoVariable(name.to_owned()).into()),
            Some("") => return fault(variable_place, Conflict::EmptySecret.into()),
            Some(secret) => *own = Some(SecretText::new(secret.to_owned())),
        },
    }
    Ok(None)
}

fn first_line(file: &Path) -> Result<SecretText, Fault> {
    let fault = |problem| Fault { place: Place::File(file.to_owned()), problem };
    let text = Zeroizing::new(layers::read_text(file, MAX_BYTES).map_err(fault)?);
    match text.lines().next() {
        None | Some("") => Err(fault(Conflict::EmptySecret.into())),
        Some(line) if line.contains('\0') => Err(fault(Problem::ZeroByte)),
        Some(line) => Ok(SecretText::new(line.to_owned())),
    }
}
