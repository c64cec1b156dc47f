//! Takes comments that a tool tagged a statement with off its ends, so that statements which differ in nothing else are
//! one. Pure; hints, other comments and comments within the text stay.

use super::tags::{Edges, is_tags};

/// How many comments are taken off each end: tools that tag are stacked, but not higher.
const MOST_EACH: usize = 4;

/// A text whose tags were taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stripped<'a> {
    /// What is left.
    pub text: &'a [u8],
    /// How much was taken off its front: bytes, and characters too, since a comment there is taken off only if it is
    /// ASCII. Postgres counts what it says of places in a text in characters.
    pub lead: u16,
    /// The comments that were taken off, in the order of the text.
    pub comments: Vec<&'a [u8]>,
}

/// Takes the tags off a text (without a NUL), if there are any. Cheap where there are none: only its ends are looked at.
///
/// What Postgres refuses because something in it does not end is refused without its tags, too: what stands before
/// something that only looks like a comment at the end is then a string or comment that does not end.
#[must_use]
pub fn strip_tags(text: &[u8]) -> Option<Stripped<'_>> {
    let (mut left, mut lead) = (text, 0);
    let (mut comments, mut behind) = (Vec::new(), Vec::new());
    for _ in 0..MOST_EACH {
        let edges = Edges::of(left);
        let first = edges.first.as_ref().filter(|first| {
            let comment = &left[(*first).clone()];
            comment.is_ascii() && is_tags(comment)
        });
        let last = edges.last.as_ref().filter(|last| is_certain(left, last.start, last.end));
        if first.is_none() && last.is_none() {
            break;
        }
        comments.extend(first.map(|first| &left[first.clone()]));
        behind.extend(last.map(|last| &left[last.clone()]));
        let start = if first.is_some() { edges.body.start } else { 0 };
        let end = if last.is_some() { edges.body.end } else { left.len() };
        left = &left[start..end];
        lead += start;
    }
    if comments.is_empty() && behind.is_empty() {
        return None;
    }
    comments.extend(behind.into_iter().rev());
    // White space without end is no tool's.
    u16::try_from(lead).ok().map(|lead| Stripped { text: left, lead, comments })
}

/// Is what ends the text a comment with tags, whatever stands before it? A line comment before it would end with a
/// line of it, and an operator may end in a star.
fn is_certain(text: &[u8], start: usize, end: usize) -> bool {
    let comment = &text[start..end];
    let after_star = start.checked_sub(1).is_some_and(|before| text[before] == b'*');
    !after_star && !comment.iter().any(|byte| matches!(byte, b'\n' | b'\r')) && is_tags(comment)
}

#[cfg(test)]
#[path = "strip_tests.rs"]
mod tests;
