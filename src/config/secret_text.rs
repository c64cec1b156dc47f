//! Text that must never be printed: a password or a stored secret. What kind it is, `auth` finds out.

use std::fmt;

use zeroize::Zeroizing;

/// What is shown in place of a secret.
pub const MASK: &str = "********";

/// A secret from the configuration. `Debug` and `Display` show only [`MASK`].
///
/// Equality serves to see what a reload changed, never to check a login: it is not constant in time.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text as it is: plain, `md5…` or `SCRAM-SHA-256$…`.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the code that proves a login.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_debug_nor_display_shows_the_text() {
        let secret = SecretText::new("hunter2".to_owned());
        assert_eq!(
            format!("{secret} {secret:?} {:#?}", Some(&secret)).matches("hunter2").count(),
            0
        );
        assert_eq!(secret.to_string(), MASK);
        assert_eq!(secret.expose(), "hunter2");
    }
}
