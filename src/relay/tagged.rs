//! `strip_comments`: tags are taken off a client's texts before anything else is done with them. What they say still
//! counts for that client's statement, and Postgres' places in a text are told as in the client's.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use memchr::memchr;
use rustc_hash::FxBuildHasher;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::buffers::Splice;
use super::prepared::{ClientStatements, key};
use super::requests::{Fate, Requests};
use crate::config::StripComments;
use crate::protocol::frame::{self, HEADER_LENGTH, client_tag};
use crate::server::statement::Tagged;
use crate::sql::strip::strip_tags;
use crate::stats::said::Said;

/// What was taken off one client's texts. Clients of pools that take nothing off have none.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    strip: StripComments,
    named: HashMap<Box<[u8]>, Tagged, FxBuildHasher>,
    /// Of the unnamed statement, and which that was.
    unnamed: Option<(u64, Tagged)>,
    /// Of the Query at hand.
    query: Option<Tagged>,
    /// Of the statement that was bound last.
    bound: u16,
}

impl Cuts {
    fn is_empty(&self) -> bool {
        self.named.is_empty() && self.unnamed.is_none()
    }
}

impl ClientStatements {
    /// From now on these comments are taken off.
    #[inline]
    pub fn strip_comments(&mut self, strip: StripComments) {
        match &mut self.cuts {
            None if strip == StripComments::Off => {}
            None => self.cuts = Some(Box::new(Cuts { strip, ..Cuts::default() })),
            Some(cuts) if strip == StripComments::Off && cuts.is_empty() => self.cuts = None,
            Some(cuts) => cuts.strip = strip,
        }
    }

    #[inline]
    fn strips(&self) -> bool {
        self.cuts.as_ref().is_some_and(|cuts| cuts.strip == StripComments::Tags)
    }

    /// A Parse's text and types without tags, and what the tags say.
    #[inline]
    pub(super) fn without_tags<'a>(&self, body: &'a [u8]) -> (Cow<'a, [u8]>, Option<Tagged>) {
        if self.strips()
            && let Some(end) = memchr(0, body)
            && let Some((text, tagged)) = self.stripped(&body[..end])
        {
            let body = [text, &body[end..]].concat();
            return (Cow::Owned(body), Some(tagged));
        }
        (Cow::Borrowed(body), None)
    }

    fn stripped<'a>(&self, text: &'a [u8]) -> Option<(&'a [u8], Tagged)> {
        let stripped = strip_tags(text)?;
        let said = self.watch.as_ref().and_then(|watch| watch.said(&stripped.comments));
        let hash = |seed, comment: &&[u8]| xxh3_64_with_seed(comment, seed);
        let hash = stripped.comments.iter().fold(0, hash);
        Some((stripped.text, Tagged { said, lead: stripped.lead, hash }))
    }

    /// A name has got its meaning by a Parse off which this was taken.
    #[inline]
    pub(super) fn tag(&mut self, name: &[u8], id: u64, tagged: Option<Tagged>) {
        let Some(cuts) = &mut self.cuts else { return };
        match tagged {
            _ if name.is_empty() => cuts.unnamed = tagged.map(|tagged| (id, tagged)),
            Some(tagged) => drop(cuts.named.insert(key(name).into(), tagged)),
            None => drop(cuts.named.remove(key(name))),
        }
    }

    /// A name has lost its meaning.
    #[inline]
    pub(super) fn untag(&mut self, name: &[u8]) -> Option<Tagged> {
        self.cuts.as_mut()?.named.remove(key(name))
    }

    /// Names have lost their meaning.
    pub(super) fn untag_lost(&mut self) {
        if let Some(mut cuts) = self.cuts.take() {
            cuts.named.retain(|name, _| self.get(name).is_some());
            self.cuts = Some(cuts);
        }
    }

    #[inline]
    fn tagged(&self, name: &[u8]) -> Option<&Tagged> {
        let cuts = self.cuts.as_ref()?;
        if !name.is_empty() {
            return cuts.named.get(key(name));
        }
        // A Parse that Postgres discarded may have brought another.
        let now = self.get(name)?.id;
        cuts.unnamed.as_ref().filter(|(id, _)| *id == now).map(|(_, tagged)| tagged)
    }

    /// What the tags say that were taken off a statement.
    #[inline]
    pub(super) fn said(&self, name: &[u8]) -> Option<Arc<Said>> {
        self.tagged(name)?.said.clone()
    }

    /// What was taken off the Query at hand.
    #[inline]
    pub(super) fn take_query_tags(&mut self) -> Option<Tagged> {
        self.cuts.as_mut()?.query.take()
    }
}

impl Requests<'_> {
    /// Is anything to be taken off texts?
    #[inline]
    pub(super) fn strips(&self) -> bool {
        self.statements.strips()
    }

    /// A simple Query that is there in full: as [`Self::query`], without its tags.
    pub(super) fn query_without_tags(
        &mut self,
        head: frame::Header,
        frame: &[u8],
        splice: &mut Splice<'_>,
    ) -> Fate {
        // What is no text is Postgres' to refuse.
        let text = frame[HEADER_LENGTH..].strip_suffix(b"\0").filter(|t| memchr(0, t).is_none());
        let Some((text, tagged)) = text.and_then(|text| self.statements.stripped(text)) else {
            return self.query(head, frame, splice);
        };
        let mut own = Vec::with_capacity(frame.len());
        frame::write_frame(&mut own, client_tag::QUERY, |out| {
            out.extend_from_slice(text);
            out.push(0);
        });
        let length = own.len() - HEADER_LENGTH;
        // No longer than the client's.
        let head = frame::Header { body: length as u32, ..head };
        if let Some(cuts) = &mut self.statements.cuts {
            cuts.query = Some(tagged);
        }
        let fate = self.query(head, &own, splice);
        self.statements.take_query_tags();
        match fate {
            Fate::Forward => {
                splice.insert().extend_from_slice(&own);
                Fate::Drop
            }
            Fate::Drop
            | Fate::Rewritten(_)
            | Fate::Incomplete
            | Fate::Uncertain
            | Fate::Violation(_) => fate,
        }
    }

    /// The request that was pushed last is about the text of this statement: places that Postgres tells of it are
    /// further behind in the client's.
    #[inline]
    pub(super) fn note_lead(&mut self, name: &[u8]) {
        if self.statements.cuts.is_some() {
            let lead = self.statements.tagged(name).map_or(0, |tagged| tagged.lead);
            self.server.owed.note_lead(lead);
        }
    }

    /// As [`Self::note_lead`], of a Bind.
    #[inline]
    pub(super) fn note_bound_lead(&mut self, name: &[u8]) {
        self.note_lead(name);
        let lead = self.statements.tagged(name).map_or(0, |tagged| tagged.lead);
        if let Some(cuts) = &mut self.statements.cuts {
            cuts.bound = lead;
        }
    }

    /// As [`Self::note_lead`], of an Execute, which runs what was bound last: utilities are read only then.
    #[inline]
    pub(super) fn note_executed_lead(&mut self) {
        if let Some(cuts) = &self.statements.cuts {
            self.server.owed.note_lead(cuts.bound);
        }
    }
}
