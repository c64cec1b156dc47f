//! Reading choices out of a fuzzer's input, so that a mutation of a few bytes is a mutation of the choice.

/// An input that is taken from its front; when it is used up, it is all zeros.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Up to this many bytes.
    pub(super) fn some(&mut self, most: usize) -> &'a [u8] {
        let (some, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        some
    }

    /// What stands before the next line break, which is dropped, or all that is left.
    pub(super) fn line(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b'\n', self.0).unwrap_or(self.0.len());
        let line = self.some(end);
        self.some(1);
        line
    }
}
