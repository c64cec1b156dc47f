//! Places that Postgres tells of a text, where the client's began with something that Postgres did not get.

use memchr::memchr;

/// The field of an error with the place, counted in characters from 1
/// (<https://www.postgresql.org/docs/current/protocol-error-fields.html>).
const POSITION: u8 = b'P';

/// An error's body with its place moved back by so many characters. `None`: it tells of none.
#[must_use]
pub(super) fn moved(body: &[u8], lead: u16) -> Option<Vec<u8>> {
    let mut at = 0;
    while let Some((&kind, rest)) = body.get(at..)?.split_first() {
        let end = memchr(0, rest).filter(|_| kind != 0)?;
        if kind != POSITION {
            at += end + 2;
            continue;
        }
        let place: u64 = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        let place = place.checked_add(u64::from(lead))?.to_string();
        return Some([&body[..=at], place.as_bytes(), &rest[end..]].concat());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_place_is_moved() {
        let body = b"SERROR\0C42703\0Mcolumn \"P8\" does not exist\0P8\0p3\0q select P8\0\0";
        let wanted = b"SERROR\0C42703\0Mcolumn \"P8\" does not exist\0P30\0p3\0q select P8\0\0";
        assert_eq!(moved(body, 22).as_deref(), Some(&wanted[..]));
    }

    #[test]
    fn without_a_place_there_is_nothing_to_move() {
        for body in [&b""[..], b"\0", b"SERROR\0\0", b"P8", b"Px\0\0", b"P18446744073709551615\0\0"]
        {
            assert_eq!(moved(body, 1), None, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn any_body_gives_an_answer(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = moved(&body, 7);
        }
    }
}
