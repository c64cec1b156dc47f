//! The client's last batch, kept as it was sent while it may have to be sent once more: Postgres refuses a prepared
//! statement whose result has changed, and a client that has its results described can have them as they are now.

use crate::protocol::frame::{HEADER_LENGTH, client_tag, header};

/// The longest batch that is kept.
const MOST_KEPT: usize = 4 * 1024;

/// How often: while the schema changes again and again, something must be said at some time.
const MOST_TRIES: u8 = 5;

/// The batch that may be sent again: nothing of its replies has been passed on when its first message fails, and the
/// client learns from it what the columns are. (Of a statement's Describe the parameters are passed on by then.)
const BATCH: [u8; 4] =
    [client_tag::BIND, client_tag::DESCRIBE, client_tag::EXECUTE, client_tag::SYNC];

/// What a server was sent last, if it may be sent again. The buffer is the server's, and used again and again.
#[derive(Debug, Default)]
pub struct Kept {
    batch: Vec<u8>,
    state: State,
    tries: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Nothing,
    /// A [`BATCH`].
    Batch,
    /// It is to be sent again.
    Due,
}

impl Kept {
    /// The client's input was passed on: it is kept if it may be sent again.
    #[inline]
    pub fn keep(&mut self, input: &[u8]) {
        (self.state, self.tries) = (State::Nothing, 0);
        if is_batch(input) {
            self.batch.clear();
            self.batch.extend_from_slice(input);
            self.state = State::Batch;
        }
    }

    /// Something else was passed on.
    #[inline]
    pub fn forget(&mut self) {
        self.state = State::Nothing;
    }

    /// The batch that may be sent again, and how many requests it has.
    #[must_use]
    pub fn batch(&self) -> Option<(&[u8], usize)> {
        match self.state {
            State::Batch => Some((&self.batch, BATCH.len())),
            State::Nothing | State::Due => None,
        }
    }

    /// It is to be sent again.
    pub fn send_again(&mut self) {
        self.state = State::Due;
    }

    /// What is to be sent again.
    #[inline]
    pub fn take_due(&mut self) -> Option<Vec<u8>> {
        if self.state != State::Due {
            return None;
        }
        self.state = State::Nothing;
        Some(std::mem::take(&mut self.batch))
    }

    /// A batch was sent again. Gives up after some tries.
    pub fn keep_again(&mut self, batch: &[u8], tries: u8) {
        self.keep(batch);
        self.tries = tries + 1;
        if self.tries >= MOST_TRIES {
            self.forget();
        }
    }

    /// How often the batch was sent again.
    #[must_use]
    pub fn tries(&self) -> u8 {
        self.tries
    }
}

/// Is it a [`BATCH`] and nothing else?
#[inline]
fn is_batch(input: &[u8]) -> bool {
    if input.len() > MOST_KEPT {
        return false;
    }
    let mut rest = input;
    for tag in BATCH {
        let Ok(Some(head)) = header(rest) else { return false };
        // A portal is described: of another statement it would say nothing.
        let portal = tag != client_tag::DESCRIBE || rest.get(HEADER_LENGTH) == Some(&b'P');
        let Some(behind) = rest.get(head.frame_length()..) else { return false };
        if head.tag != tag || !portal {
            return false;
        }
        rest = behind;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    #[test]
    fn only_a_batch_that_describes_what_it_executes_is_kept() {
        let bind = frame(b'B', b"\0s\0\0\0\0\0\0\0");
        let (execute, sync) = (frame(b'E', b"\0\0\0\0\0"), frame(b'S', b""));
        let (portal, statement) = (frame(b'D', b"P\0"), frame(b'D', b"Ss\0"));
        let mut kept = Kept::default();
        for (batch, wanted) in [
            ([&bind[..], &portal, &execute, &sync].concat(), Some(4)),
            ([&statement[..], &sync].concat(), None),
            ([&bind[..], &execute, &sync].concat(), None),
            ([&bind[..], &statement, &execute, &sync].concat(), None),
            ([&bind[..], &portal, &execute].concat(), None),
            ([&bind[..], &portal, &execute, &sync, &sync].concat(), None),
            ([&bind[..], &portal, &execute, &sync[..3]].concat(), None),
            (Vec::new(), None),
            (frame(b'B', &[0; 2 * MOST_KEPT]), None),
        ] {
            kept.keep(&batch);
            assert_eq!(kept.batch().map(|(_, requests)| requests), wanted, "{batch:?}");
        }
    }

    #[test]
    fn it_is_sent_again_but_not_for_ever() {
        let bind = frame(b'B', b"\0s\0\0\0\0\0\0\0");
        let (portal, execute) = (frame(b'D', b"P\0"), frame(b'E', b"\0\0\0\0\0"));
        let batch = [bind, portal, execute, frame(b'S', b"")].concat();
        let mut kept = Kept::default();
        kept.keep(&batch);
        assert_eq!(kept.take_due(), None);
        kept.send_again();
        assert_eq!(kept.take_due(), Some(batch.clone()));
        assert_eq!(kept.take_due(), None);
        for _ in 0..MOST_TRIES {
            let tries = kept.tries();
            kept.keep_again(&batch, tries);
        }
        assert_eq!(kept.batch(), None);
        kept.keep(&batch);
        assert!(kept.batch().is_some());
    }
}
