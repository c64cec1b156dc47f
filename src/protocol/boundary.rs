//! Where messages end in a stream that is passed on without being read: only there may anything be put in.

use super::frame::{HEADER_LENGTH, InvalidLength, header};

/// How far into a message a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boundary {
    head: [u8; HEADER_LENGTH],
    /// Bytes of the header that have passed.
    known: usize,
    /// Bytes of the body that are still to pass.
    left: usize,
    /// The type of the message that ended last; 0 before any.
    last: u8,
}

impl Boundary {
    /// Is the stream between two messages?
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.known == 0
    }

    /// The type of the message that ended last; 0 before any.
    #[must_use]
    pub fn last(&self) -> u8 {
        self.last
    }

    /// These bytes pass.
    ///
    /// # Errors
    /// When a length cannot be that of a message.
    pub fn pass(&mut self, mut bytes: &[u8]) -> Result<(), InvalidLength> {
        while !bytes.is_empty() {
            if self.known < HEADER_LENGTH {
                let taken = bytes.len().min(HEADER_LENGTH - self.known);
                self.head[self.known..self.known + taken].copy_from_slice(&bytes[..taken]);
                self.known += taken;
                bytes = &bytes[taken..];
                let Some(header) = header(&self.head[..self.known])? else { continue };
                self.left = header.body as usize;
            }
            let taken = bytes.len().min(self.left);
            self.left -= taken;
            bytes = &bytes[taken..];
            if self.left == 0 {
                (self.known, self.last) = (0, self.head[0]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::write_frame;
    use super::*;

    #[test]
    fn a_length_that_cannot_be_is_an_error() {
        assert!(Boundary::default().pass(b"Q\0\0\0\x03").is_err());
        assert!(Boundary::default().pass(b"Q\0\0\0").is_ok());
    }

    proptest! {
        #[test]
        fn it_is_where_messages_end_however_the_stream_is_cut(
            bodies in proptest::collection::vec(0..20_usize, 1..8),
            cuts in proptest::collection::vec(1..30_usize, 1..30),
        ) {
            let (mut stream, mut ends) = (Vec::new(), vec![0]);
            for body in &bodies {
                write_frame(&mut stream, b'd', |out| out.resize(out.len() + body, 7));
                ends.push(stream.len());
            }
            let (mut boundary, mut at) = (Boundary::default(), 0);
            for cut in cuts {
                let to = (at + cut).min(stream.len());
                boundary.pass(&stream[at..to]).unwrap();
                at = to;
                prop_assert_eq!(boundary.is_here(), ends.contains(&at), "{} of {:?}", at, ends);
            }
        }
    }
}
