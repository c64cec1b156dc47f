//! Statements of traces that are recorded, on their way to whoever sends them on. Bounded: what nobody takes in time is
//! dropped and counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::queries::{Event, Outcome};
use super::record::Owner;
use crate::sql::query::About;
use crate::sql::trace::{Sampled, TraceParent};

/// Statements that may wait to be sent: some 4 MB as they are sent, without texts less here.
pub const MOST_WAITING: usize = 8_192;

/// A statement that ended, of a trace that is recorded.
#[derive(Clone, Debug)]
pub struct Span {
    /// What it is.
    pub about: Arc<About>,
    /// Whose it is.
    pub owner: Arc<Owner>,
    /// Its place in the trace.
    pub parent: TraceParent,
    /// When it ended.
    pub ended: SystemTime,
    /// How long it took from when Postgres could begin, nanoseconds; with what its client took to read.
    pub nanos: u64,
    /// How long its client waited for a server before that, nanoseconds.
    pub waited: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// What became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// Taken by the collector.
    pub sent: u64,
    /// Given up: there was no room, or the collector did not take them.
    pub dropped: u64,
}

/// Those that wait to be sent.
#[derive(Debug, Default)]
pub struct Spans {
    waiting: Mutex<VecDeque<Span>>,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Span {
    /// Of an event that ended then, if its trace is recorded.
    #[must_use]
    pub(super) fn of(event: &Event, owner: &Arc<Owner>, ended: SystemTime) -> Option<Self> {
        Some(Self {
            about: Arc::clone(event.about()?),
            owner: Arc::clone(owner),
            parent: sampled(event)?,
            ended,
            nanos: event.nanos + event.place.blocked,
            waited: event.waited,
            outcome: event.outcome,
        })
    }
}

/// The place of a statement in a trace that is recorded.
#[inline]
pub(super) fn sampled(event: &Event) -> Option<TraceParent> {
    event.run.said.as_ref()?.trace.filter(|trace| trace.sampled == Sampled::Yes)
}

impl Spans {
    /// One more waits, if there is room.
    pub(super) fn push(&self, span: Span) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < MOST_WAITING {
            waiting.push_back(span);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The oldest, at most so many.
    #[must_use]
    pub fn take(&self, most: usize) -> Vec<Span> {
        let mut waiting = self.waiting.lock();
        let count = waiting.len().min(most);
        waiting.drain(..count).collect()
    }

    /// The collector has taken so many.
    pub fn note_sent(&self, count: usize) {
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// So many are given up.
    pub fn note_dropped(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// What became of them so far.
    #[must_use]
    pub fn counts(&self) -> SpanCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SpanCounts { sent: read(&self.sent), dropped: read(&self.dropped) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::fingerprint::Fingerprinter;
    use crate::sql::lexer::Backslashes;

    fn span() -> Span {
        let mut about = None;
        Fingerprinter::default().read(b"SELECT 1", Backslashes::Literal, |statement| {
            about = Some(Arc::new(About::new(statement)));
        });
        Span {
            about: about.unwrap(),
            owner: Arc::new(Owner { database: "shop".into(), user: "app".into() }),
            parent: TraceParent { trace: 1, parent: 2, sampled: Sampled::Yes },
            ended: SystemTime::UNIX_EPOCH,
            nanos: 1,
            waited: 0,
            outcome: Outcome::Complete { rows: 1 },
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let (spans, one) = (Spans::default(), span());
        for _ in 0..MOST_WAITING + 3 {
            spans.push(one.clone());
        }
        assert_eq!(spans.counts().dropped, 3);
        assert_eq!(spans.take(10).len(), 10);
        spans.push(one);
        assert_eq!(spans.take(usize::MAX).len(), MOST_WAITING - 9);
        assert_eq!((spans.counts().dropped, spans.take(1).len()), (3, 0));
    }
}
