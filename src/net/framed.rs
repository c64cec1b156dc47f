//! Whole messages, one after the other: how logins are read, on both sides. After login the relay
//! takes over, which never waits for a whole message unless it must.

use std::future::poll_fn;
use std::io;

use zeroize::{Zeroize, Zeroizing};

use super::stream::Stream;
use crate::protocol::frame::{self, HEADER_LENGTH, InvalidLength};

/// Bytes read at once; login messages are small.
const CHUNK: usize = 1_024;

/// Reads messages, keeping what was read beyond them.
#[derive(Default)]
pub struct MessageReader {
    buffer: Vec<u8>,
    taken: usize,
}

/// A message: its tag, and its body within the reader.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The message's type.
    pub tag: u8,
    /// What follows the header.
    pub body: &'a [u8],
}

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// A length that cannot be.
    #[error(transparent)]
    Length(#[from] InvalidLength),
    /// The message is longer than the caller allows.
    #[error("a message of type {tag:#04x} and {length} bytes is over the limit of {limit}")]
    TooLong {
        /// The message's type.
        tag: u8,
        /// Its length.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
}

impl MessageReader {
    /// Reads the next message with a body of at most `limit` bytes. Cancel safe: what was read
    /// stays here.
    ///
    /// # Errors
    /// As [`ReadError`] says. The limit holds before anything is allocated.
    pub async fn next(
        &mut self,
        stream: &mut Stream,
        limit: usize,
    ) -> Result<Message<'_>, ReadError> {
        self.fill(stream, HEADER_LENGTH).await?;
        let head = frame::header(&self.buffer[self.taken..])?.ok_or(ReadError::Closed)?;
        let length = head.frame_length();
        if head.body as usize > limit {
            return Err(ReadError::TooLong { tag: head.tag, length, limit });
        }
        self.fill(stream, length).await?;
        let start = self.taken + HEADER_LENGTH;
        self.taken += length;
        Ok(Message { tag: head.tag, body: &self.buffer[start..self.taken] })
    }

    /// The type of the next message, which stays unread. Cancel safe.
    ///
    /// # Errors
    /// As the socket's, and when it closes before.
    pub async fn tag(&mut self, stream: &mut Stream) -> Result<u8, ReadError> {
        self.fill(stream, 1).await?;
        Ok(self.buffer[self.taken])
    }

    /// Reads exactly `length` bytes that are no message. Cancel safe.
    ///
    /// # Errors
    /// As the socket's, and when it closes before.
    pub async fn bytes(&mut self, stream: &mut Stream, length: usize) -> Result<&[u8], ReadError> {
        self.fill(stream, length).await?;
        let start = self.taken;
        self.taken += length;
        Ok(&self.buffer[start..self.taken])
    }

    /// Has nothing been read beyond the last message?
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.taken == self.buffer.len()
    }

    /// What was read beyond the last message, which is forgotten here: it is of another protocol.
    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(self).into_rest()
    }

    /// What was read beyond the last message.
    #[must_use]
    pub fn into_rest(mut self) -> Vec<u8> {
        // Mostly empty: then it owns nothing.
        self.buffer[std::mem::take(&mut self.taken)..].to_vec()
    }

    async fn fill(&mut self, stream: &mut Stream, wanted: usize) -> Result<(), ReadError> {
        if self.buffer.len() - self.taken >= wanted {
            return Ok(());
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        while self.buffer.len() < wanted {
            let mut chunk = Zeroizing::new([0; CHUNK]);
            let read = poll_fn(|cx| stream.poll_read(cx, &mut *chunk)).await?;
            if read == 0 {
                return Err(ReadError::Closed);
            }
            self.grow(read);
            self.buffer.extend_from_slice(&chunk[..read]);
        }
        Ok(())
    }

    /// Makes room for so many bytes. A vector that grows by itself gives back what it held as it is, secrets and all.
    fn grow(&mut self, more: usize) {
        let wanted = self.buffer.len() + more;
        if wanted > self.buffer.capacity() {
            let mut larger = Vec::with_capacity(wanted.max(2 * self.buffer.capacity()));
            larger.extend_from_slice(&self.buffer);
            self.buffer.zeroize();
            self.buffer = larger;
        }
    }
}

/// Passwords were among what was read.
impl Drop for MessageReader {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

impl std::fmt::Debug for MessageReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageReader").field("taken", &self.taken).finish_non_exhaustive()
    }
}
