//! Postgres' error texts name a statement as the server knows it; the client knows another name.

use memchr::memmem;

use crate::protocol::sqlstate::SqlState;
use crate::server::statement::{SHARED_PREFIX, SharedName};

/// Puts the client's names in place of the shared ones in an error's body. `None`: there is nothing
/// to replace, as nearly always.
#[must_use]
pub fn restore<'a>(body: &[u8], name_of: impl Fn(u64) -> Option<&'a [u8]>) -> Option<Vec<u8>> {
    let mut restored: Option<Vec<u8>> = None;
    let mut copied = 0;
    for at in memmem::find_iter(body, SHARED_PREFIX) {
        let digits = &body[at + SHARED_PREFIX.len()..];
        let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        let id = std::str::from_utf8(&digits[..count]).ok().and_then(|d| d.parse().ok());
        let Some(name) = id.and_then(&name_of) else { continue };
        let out = restored.get_or_insert_default();
        out.extend_from_slice(&body[copied..at]);
        out.extend_from_slice(name);
        copied = at + SHARED_PREFIX.len() + count;
    }
    if let Some(out) = &mut restored {
        out.extend_from_slice(&body[copied..]);
    }
    restored
}

/// Does this error say that a statement is gone which servers share?
#[must_use]
pub fn is_lost(code: Option<SqlState>, body: &[u8]) -> bool {
    code == Some(SqlState::INVALID_SQL_STATEMENT_NAME)
        && memmem::find(body, SHARED_PREFIX).is_some()
        // That one is asked for where there is to be none.
        && memmem::find(body, SharedName::new(u64::MAX).as_bytes()).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_known_by_its_name() {
        let missing = Some(SqlState::INVALID_SQL_STATEMENT_NAME);
        assert!(is_lost(missing, b"Mprepared statement \"pooler_5\" does not exist\0\0"));
        assert!(!is_lost(missing, b"Mprepared statement \"mine\" does not exist\0\0"));
        assert!(!is_lost(missing, b"Mno \"pooler_18446744073709551615\"\0\0"));
        assert!(!is_lost(Some(SqlState::QUERY_CANCELED), b"M\"pooler_5\"\0\0"));
    }

    fn name_of(id: u64) -> Option<&'static [u8]> {
        (id == 12).then_some(b"mine")
    }

    #[test]
    fn shared_names_become_the_clients() {
        let body = b"Mprepared statement \"pooler_12\" requires 1, pooler_13 pooler_\0\0";
        let wanted = b"Mprepared statement \"mine\" requires 1, pooler_13 pooler_\0\0";
        assert_eq!(restore(body, name_of).as_deref(), Some(&wanted[..]));
    }

    #[test]
    fn other_errors_stay_as_they_are() {
        assert_eq!(restore(b"Mdivision by zero\0\0", name_of), None);
        assert_eq!(restore(b"Mpooler_99999999999999999999999999\0\0", name_of), None);
    }
}
