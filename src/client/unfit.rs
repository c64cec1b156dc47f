//! A client whose settings Postgres refuses by now, as a role that was dropped: each of its requests is answered with
//! that error, but for one that takes them back or puts another role in its place.

use std::sync::Arc;

use super::session::Session;
use crate::protocol::frame::{self, HEADER_LENGTH, client_tag};
use crate::protocol::frontend::Parse;
use crate::server::parameters::Settings;
use crate::sql::effects::{Change, Effects};

/// Does Postgres take the client's settings?
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// As far as is known.
    Good,
    /// Not when it was asked last.
    Refused,
    /// Another role is being set, without that which these settings say. Should it fail, the client must not
    /// act as nobody in particular.
    Replacing(Arc<Settings>),
}

impl Session {
    /// The client is about to get a server for the requests in `input`: what its first one takes back, and Postgres
    /// refuses, is not set before.
    #[inline]
    pub(super) fn make_way(&mut self, input: &[u8]) {
        if self.fit != Fit::Good {
            self.leave_out(input);
        }
    }

    /// What was left out and never replaced is the client's still.
    #[cold]
    pub(super) fn take_back(&mut self) {
        if let Fit::Replacing(before) = std::mem::replace(&mut self.fit, Fit::Good) {
            self.settings = before;
        }
    }

    #[cold]
    fn leave_out(&mut self, input: &[u8]) {
        self.take_back();
        let Some((text, alone)) = first_text(input) else { return };
        let Some(effects) = Effects::read(text).filter(|_| Effects::is_single(text)) else {
            return;
        };
        let resets = effects.settings.iter().all(|(_, change)| *change == Change::Reset);
        let replaces = alone && effects.settings.iter().all(|(name, _)| &**name == ROLE);
        if !resets && !replaces {
            return;
        }
        let names: Vec<Box<str>> = self.settings.iter().map(|(name, _)| name.into()).collect();
        let taken_back = names.iter().filter(|name| {
            effects.resets_setting(name) || effects.settings.iter().any(|(known, _)| known == *name)
        });
        let interner = &self.handle.pool.interner;
        let rest = interner.with(&self.settings, taken_back.map(|name| (&**name, None)));
        let before = std::mem::replace(&mut self.settings, rest);
        if !resets && !Effects::says_none(text) {
            self.fit = Fit::Replacing(before);
        }
    }

    /// What the client's settings are now is known: has it another role?
    #[inline]
    pub(super) fn settle_fit(&mut self) {
        if let Fit::Replacing(before) = std::mem::replace(&mut self.fit, Fit::Good)
            && self.settings.get(ROLE).is_none()
        {
            let role = [(ROLE, before.get(ROLE))];
            self.settings = self.handle.pool.interner.with(&self.settings, role);
        }
    }
}

const ROLE: &str = "role";

/// The SQL of the first message, if it is a Query or Parse; and whether it is a Query and nothing follows.
fn first_text(input: &[u8]) -> Option<(&[u8], bool)> {
    let head = frame::header(input).ok()??;
    let body = input.get(HEADER_LENGTH..head.frame_length())?;
    let text = match head.tag {
        client_tag::QUERY => body,
        client_tag::PARSE => Parse::read(body).ok()?.statement,
        _ => return None,
    };
    let text = text.split(|byte| *byte == 0).next()?;
    Some((text, head.tag == client_tag::QUERY && head.frame_length() == input.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_text_is_found() {
        let query = b"Q\0\0\0\x0fRESET ROLE\0";
        assert_eq!(first_text(query), Some((&b"RESET ROLE"[..], true)));
        assert_eq!(
            first_text(&[&query[..], b"S\0\0\0\x04"].concat()).map(|(_, alone)| alone),
            Some(false)
        );
        assert_eq!(first_text(b"P\0\0\0\x0as\0x\0\0\0"), Some((&b"x"[..], false)));
        assert_eq!(first_text(b"S\0\0\0\x04"), None);
        assert_eq!(first_text(&query[..9]), None);
    }
}
