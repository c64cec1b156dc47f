//! What a server keeps of a password for SCRAM: enough to recognise the client, not enough to log in as it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::super::secret_bytes::SecretBytes;
use super::MECHANISM;
use super::keys::{ParamsError, ScramKeys, ScramParams};

/// StoredKey and ServerKey with the salt and iteration count they were made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramSecret {
    params: ScramParams,
    pub(super) stored_key: SecretBytes,
    pub(super) server_key: SecretBytes,
}

impl ScramSecret {
    pub(in crate::auth) fn new(
        params: ScramParams,
        stored_key: SecretBytes,
        server_key: SecretBytes,
    ) -> Self {
        Self { params, stored_key, server_key }
    }

    /// The secret of a password whose keys were derived with `params`.
    pub fn from_keys(params: ScramParams, keys: &ScramKeys) -> Self {
        Self::new(params, keys.stored_key(), keys.server_key.clone())
    }

    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, `None` for a text of another form
    /// (`parse_scram_secret`, `src/backend/libpq/auth-scram.c`).
    ///
    /// # Errors
    /// When the form is right and a value is out of its range.
    pub fn parse(text: &str) -> Result<Option<Self>, ParamsError> {
        let Some(parts) = Parts::split(text) else { return Ok(None) };
        let (Ok(salt), Some(stored_key), Some(server_key)) =
            (BASE64_STANDARD.decode(parts.salt), key(parts.stored_key), key(parts.server_key))
        else {
            return Ok(None);
        };
        let iterations = parts.iterations.parse().map_err(|_| ParamsError::Iterations)?;
        Ok(Some(Self::new(ScramParams::new(&salt, iterations)?, stored_key, server_key)))
    }

    /// Salt and iteration count.
    pub fn params(&self) -> &ScramParams {
        &self.params
    }

    /// Whether these are the keys of the password this secret was made of.
    pub(in crate::auth) fn fits(&self, keys: &ScramKeys) -> bool {
        self.stored_key == keys.stored_key()
    }
}

struct Parts<'a> {
    iterations: &'a str,
    salt: &'a str,
    stored_key: &'a str,
    server_key: &'a str,
}

impl<'a> Parts<'a> {
    /// `None` unless every separator is there and the iteration count consists of digits.
    fn split(text: &'a str) -> Option<Self> {
        let (params, keys) = text.strip_prefix(MECHANISM)?.strip_prefix('$')?.split_once('$')?;
        let (iterations, salt) = params.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let is_number = !iterations.is_empty() && iterations.bytes().all(|b| b.is_ascii_digit());
        is_number.then_some(Self { iterations, salt, stored_key, server_key })
    }
}

fn key(base64: &str) -> Option<SecretBytes> {
    let bytes = BASE64_STANDARD.decode(base64).ok()?;
    Some(SecretBytes::new(bytes.try_into().ok()?))
}
