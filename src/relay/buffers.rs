//! A worker's buffers, and the two ways bytes pass through them: read in, spliced out.

use std::io;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use crate::net::stream::Stream;
use crate::protocol::frame;

/// Bytes read at once. All clients and servers of a worker share one such buffer.
pub const READ_BUFFER: usize = 128 * 1024;

/// A message that must be complete before it is looked at may begin with this many carried bytes
/// and still be read into the shared buffer; a longer one gets a buffer of its own.
const CARRY_LIMIT: usize = READ_BUFFER / 2;

/// What was put together for one client may be as large as its messages; more memory than this is not kept for the next.
const MOST_KEPT: usize = 1024 * 1024;

/// What a worker's connections share.
#[derive(Debug)]
pub struct Buffers {
    /// Bytes just read.
    pub read: Box<[u8]>,
    /// Bytes put together to be sent, where they differ from those read.
    pub out: Vec<u8>,
}

/// Bytes to look at.
#[derive(Debug)]
pub enum Input {
    /// At the start of the read buffer.
    Shared {
        /// How many.
        length: usize,
        /// How many of them were read only now.
        fresh: usize,
    },
    /// In a buffer of their own, because one message is larger than the read buffer.
    Own {
        /// The bytes.
        bytes: Vec<u8>,
        /// How many of them were read only now.
        fresh: usize,
    },
}

impl Default for Buffers {
    fn default() -> Self {
        Self { read: vec![0; READ_BUFFER].into_boxed_slice(), out: Vec::new() }
    }
}

impl Input {
    /// The bytes.
    #[inline]
    #[must_use]
    pub fn bytes<'a>(&'a self, read: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Shared { length, .. } => &read[..*length],
            Self::Own { bytes, .. } => bytes,
        }
    }

    /// How many bytes were read only now.
    #[must_use]
    pub fn fresh(&self) -> u64 {
        match self {
            Self::Shared { fresh, .. } | Self::Own { fresh, .. } => *fresh as u64,
        }
    }
}

/// Reads what is there behind what `carry` holds of an incomplete message. `None` is the end of
/// the stream.
///
/// # Errors
/// As the socket's, and `InvalidData` for a carried message whose length cannot be.
#[inline]
pub fn poll_input(
    stream: &mut Stream,
    carry: &mut Vec<u8>,
    cx: &mut Context<'_>,
    read: &mut [u8],
) -> Poll<io::Result<Option<Input>>> {
    if carry.len() <= CARRY_LIMIT {
        let carried = carry.len();
        read[..carried].copy_from_slice(carry);
        let length = ready!(stream.poll_read(cx, &mut read[carried..]))?;
        if length == 0 {
            return Poll::Ready(Ok(None));
        }
        if carried > 0 {
            // An idle connection owns no buffer.
            *carry = Vec::new();
        }
        let input = Input::Shared { length: carried + length, fresh: length };
        return Poll::Ready(Ok(Some(input)));
    }
    let before = carry.len();
    loop {
        let length = ready!(stream.poll_read(cx, read))?;
        if length == 0 {
            return Poll::Ready(Ok(None));
        }
        carry.extend_from_slice(&read[..length]);
        let head =
            frame::header(carry).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        if head.is_some_and(|head| carry.len() >= head.frame_length()) {
            let bytes = std::mem::take(carry);
            // What came in earlier rounds that ended without a whole message counts here at last.
            let fresh = bytes.len() - before.min(bytes.len());
            return Poll::Ready(Ok(Some(Input::Own { bytes, fresh })));
        }
    }
}

/// Bytes on their way out: runs of the input as they are, with other bytes between them. As long
/// as there is one run only, nothing is copied.
#[derive(Debug)]
pub struct Splice<'a> {
    input: &'a [u8],
    out: &'a mut Vec<u8>,
    run: Range<usize>,
}

impl<'a> Splice<'a> {
    /// Nothing yet; `out` is emptied.
    pub fn new(input: &'a [u8], out: &'a mut Vec<u8>) -> Self {
        if out.capacity() > MOST_KEPT {
            *out = Vec::new();
        }
        out.clear();
        Self { input, out, run: 0..0 }
    }

    /// Passes on a range of the input.
    #[inline]
    pub fn forward(&mut self, range: Range<usize>) {
        if self.run.end == range.start {
            self.run.end = range.end;
        } else {
            self.close_run();
            self.run = range;
        }
    }

    /// Puts other bytes after what was passed on so far.
    #[inline]
    pub fn insert(&mut self) -> &mut Vec<u8> {
        self.close_run();
        self.out
    }

    /// How many bytes were put together so far.
    #[inline]
    #[must_use]
    pub fn put_together(&self) -> usize {
        self.out.len()
    }

    /// Is there nothing to send?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.run.is_empty() && self.out.is_empty()
    }

    /// The bytes to send.
    #[inline]
    #[must_use]
    pub fn finish(mut self) -> &'a [u8] {
        if self.out.is_empty() {
            &self.input[self.run]
        } else {
            self.close_run();
            self.out
        }
    }

    fn close_run(&mut self) {
        self.out.extend_from_slice(&self.input[self.run.clone()]);
        self.run = self.run.end..self.run.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_is_not_copied() {
        let input = b"abcdef".to_vec();
        let mut out = Vec::new();
        let mut splice = Splice::new(&input, &mut out);
        splice.forward(1..3);
        splice.forward(3..5);
        assert_eq!(splice.finish().as_ptr(), input[1..].as_ptr());
        assert!(out.is_empty());
    }

    #[test]
    fn what_a_large_message_took_is_given_back() {
        let mut out = Vec::new();
        Splice::new(b"", &mut out).insert().resize(2 * MOST_KEPT, 0);
        assert!(out.capacity() >= 2 * MOST_KEPT);
        let _next = Splice::new(b"", &mut out);
        assert!(out.capacity() <= MOST_KEPT);
    }

    #[test]
    fn runs_and_insertions_keep_their_order() {
        let mut out = b"old".to_vec();
        let mut splice = Splice::new(b"abcdef", &mut out);
        assert!(splice.is_empty());
        splice.forward(0..2);
        splice.insert().push(b'-');
        splice.forward(2..3);
        splice.forward(5..6);
        assert_eq!(splice.finish(), b"ab-cf");
    }
}
