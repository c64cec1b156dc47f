//! The tokens of one statement in canonical form, and what of them is left out: lists, rows, arms and
//! groups that only repeat the one before. Which token comes next is decided by [`super::normal`].

use super::canonical::{Canonical, Mark, Piece, are_values};
use super::level::{Elements, Ending, Level, Opened, Ordinals, Place, Rows, Span};
use super::words::Role;

/// Brackets and CASEs deeper than this are not collapsed: comparing costs their length at every level.
const MAX_DEPTH: usize = 32;

/// What a value is hashed as.
const VALUE_BYTE: u8 = 1;
/// Ends every token in what is hashed.
const TOKEN_END: u8 = 0;
/// Follows the end of a token that stands for a repetition.
const HASHED_MARK: u8 = 2;

/// One statement being built. Its buffers are used again for the next.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// What is hashed; tokens are ranges of it.
    pub(super) bytes: Vec<u8>,
    pub(super) tokens: Vec<Canonical>,
    levels: Vec<Level>,
    /// Levels beyond [`MAX_DEPTH`].
    beyond: usize,
    /// Open brackets of a row that is left out.
    skipping: usize,
    /// The longest repetition.
    pub(super) max_list: u32,
}

impl Shape {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.tokens.clear();
        self.levels.clear();
        self.beyond = 0;
        self.skipping = 0;
        self.max_list = 0;
        self.levels.push(Level::new(Opened::Statement, self.here(), None));
    }

    fn here(&self) -> Place {
        Place { token: self.tokens.len(), byte: self.bytes.len() }
    }

    pub(super) fn is_top(&self) -> bool {
        self.levels.len() <= 1 && self.beyond == 0 && self.skipping == 0
    }

    pub(super) fn last(&self) -> Option<Piece> {
        self.tokens.last().map(|token| token.piece)
    }

    fn top(&mut self) -> Option<&mut Level> {
        if self.beyond > 0 { None } else { self.levels.last_mut() }
    }

    /// Is this part of a row that is left out? Then it is dealt with. To be asked first of each token.
    #[inline]
    pub(super) fn skips(&mut self, piece: Piece) -> bool {
        if self.skipping > 0 {
            if piece == Piece::Byte(b'(') {
                self.skipping += 1;
            } else if piece == Piece::Byte(b')') {
                self.skipping -= 1;
            }
            return true;
        }
        let Some(level) = self.top() else { return false };
        match (level.rows, piece) {
            (Rows::None, _) | (Rows::Due, Piece::Byte(b'(')) => {}
            (Rows::Ended, Piece::Byte(b',')) => {
                level.rows = Rows::Comma;
                return true;
            }
            (Rows::Comma, Piece::Byte(b'(')) => {
                level.rows = Rows::Ended;
                level.count += 1;
                let count = level.count;
                self.skipping = 1;
                self.repeats(Mark::Hashed, count);
                return true;
            }
            (Rows::Comma, _) => {
                level.rows = Rows::None;
                self.append(Piece::Byte(b','), b",");
            }
            (Rows::Due | Rows::Ended, _) => level.rows = Rows::None,
        }
        false
    }

    /// Adds a token whose bytes are not there yet.
    #[inline]
    pub(super) fn append(&mut self, piece: Piece, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.note(piece, start);
    }

    /// Adds a token whose bytes, from `start` on, were put at the end of [`Self::bytes`].
    #[inline]
    pub(super) fn note(&mut self, piece: Piece, start: usize) {
        let end = self.bytes.len();
        self.bytes.push(TOKEN_END);
        // What is scanned is bounded far below 4 GiB.
        let (start, end) = (start as u32, end as u32);
        self.tokens.push(Canonical { piece, mark: Mark::None, start, end });
    }

    /// Adds a value; a sign before it that is no operation is part of it.
    #[inline]
    pub(super) fn value(&mut self) {
        while let [.., sign] = &*self.tokens
            && sign.piece == Piece::Operator
            && matches!(self.bytes.get(sign.start as usize..sign.end as usize), Some(b"+" | b"-"))
            && self.begins_operand()
        {
            self.bytes.truncate(sign.start as usize);
            self.tokens.pop();
        }
        self.append(Piece::Value, &[VALUE_BYTE]);
    }

    /// Can what stands before the last token be followed by an operand only?
    fn begins_operand(&self) -> bool {
        let Some(before) = self.tokens.len().checked_sub(2).and_then(|at| self.tokens.get(at))
        else {
            return true;
        };
        match before.piece {
            // `case … end - 1` takes something away.
            Piece::Word(role) => role.is_structural() && role != Role::End,
            Piece::Operator | Piece::Assign | Piece::Byte(b'(' | b'[' | b',' | b':') => true,
            Piece::Value | Piece::Quoted | Piece::Ordinal | Piece::Cast | Piece::Byte(_) => false,
        }
    }

    /// Is a number here a column's place?
    pub(super) fn is_ordinal(&mut self) -> bool {
        matches!(self.last(), Some(Piece::Word(Role::By) | Piece::Byte(b',')))
            && self.top().is_some_and(|level| level.ordinals == Ordinals::Within)
    }

    /// A structural word is about to be added.
    #[inline]
    pub(super) fn before_word(&mut self, role: Role) {
        let last = self.last();
        match role {
            Role::Case => self.open(Opened::Case),
            Role::When | Role::Else | Role::End => self.arm(role),
            Role::Values | Role::By | Role::Clause | Role::OrderOrGroup => {
                let Some(level) = self.top() else { return };
                if role == Role::Values {
                    level.rows = Rows::Due;
                }
                let within = role == Role::By && last == Some(Piece::Word(Role::OrderOrGroup));
                level.ordinals = if within { Ordinals::Within } else { Ordinals::Outside };
            }
            Role::Name
            | Role::Structural
            | Role::Callable
            | Role::In
            | Role::Array
            | Role::Or
            | Role::IsOrNot
            | Role::Constant => {}
        }
    }

    fn open(&mut self, opened: Opened) {
        if self.beyond > 0 || self.levels.len() > MAX_DEPTH {
            self.beyond += 1;
            return;
        }
        let at = self.here();
        self.levels.push(Level::new(opened, at, None));
    }

    /// The next arm of a CASE begins, or its end.
    fn arm(&mut self, role: Role) {
        if self.beyond > 0 {
            self.beyond -= usize::from(role == Role::End);
            return;
        }
        if self.levels.last().is_none_or(|level| level.opened != Opened::Case) {
            return;
        }
        self.end_arm(Ending::Whole);
        let here = self.here();
        if role == Role::End {
            self.levels.pop();
        } else if let Some(level) = self.levels.last_mut() {
            level.element = (role == Role::When).then_some(here);
        }
    }

    /// An opening bracket.
    pub(super) fn bracket(&mut self, byte: u8) {
        let list = match (byte, self.last()) {
            (b'(', Some(Piece::Word(Role::In))) => Some(b')'),
            (b'[', Some(Piece::Word(Role::Array))) => Some(b']'),
            _ => None,
        };
        let row = self.top().is_some_and(|level| level.rows == Rows::Due);
        self.open(match (list, byte) {
            (Some(closing), _) => Opened::List(closing),
            (None, b'(') if row => Opened::Row,
            (None, b'(') => Opened::Group,
            (None, _) => Opened::Bracket,
        });
        self.append(Piece::Byte(byte), &[byte]);
        let here = self.here();
        if let Some(level) = self.top() {
            level.element = list.map(|_| here);
        }
    }

    /// A comma.
    pub(super) fn comma(&mut self) {
        let in_list = self.top().is_some_and(|level| matches!(level.opened, Opened::List(_)));
        if in_list {
            self.end_element(Ending::Whole);
        }
        self.append(Piece::Byte(b','), b",");
        let here = self.here();
        if let Some(level) = self.top().filter(|_| in_list) {
            level.element = Some(here);
        }
    }

    /// A closing bracket.
    pub(super) fn close(&mut self, byte: u8) {
        if self.beyond > 0 {
            self.beyond -= 1;
            self.append(Piece::Byte(byte), &[byte]);
            return;
        }
        let closes = |opened| match opened {
            Opened::List(closing) => closing == byte,
            Opened::Row | Opened::Group => byte == b')',
            Opened::Bracket => byte == b']',
            Opened::Statement | Opened::Case => false,
        };
        // A CASE without END is over as well.
        let opener = self.levels.iter().rposition(|level| level.opened != Opened::Case);
        let Some(at) = opener.filter(|at| closes(self.levels[*at].opened)) else {
            self.append(Piece::Byte(byte), &[byte]);
            return;
        };
        self.levels.truncate(at + 1);
        let Some(level) = self.levels.last().copied() else { return };
        if matches!(level.opened, Opened::List(_)) {
            self.end_element(Ending::Whole);
            self.end_list();
        }
        self.levels.pop();
        self.append(Piece::Byte(byte), &[byte]);
        match level.opened {
            Opened::Row => {
                if let Some(outer) = self.levels.last_mut() {
                    outer.rows = Rows::Ended;
                    outer.count = 1;
                }
            }
            Opened::Group => self.end_group(level.at),
            Opened::Statement | Opened::List(_) | Opened::Bracket | Opened::Case => {}
        }
    }

    /// `( … ) or ( … )`: what only repeats is left out.
    fn end_group(&mut self, from: Place) {
        let span = Span { from, to: self.here() };
        let Some(level) = self.levels.last().copied() else { return };
        let before = from.token.checked_sub(1).and_then(|at| self.tokens.get(at));
        let before = before.map(|token| token.piece);
        if before == Some(Piece::Word(Role::Or))
            && !matches!(level.opened, Opened::List(_))
            && let Some(first) = level.group
            && first.to.token + 1 == from.token
            && self.span(first) == self.span(span)
        {
            self.cut(first.to);
            let count = self.levels.last_mut().map_or(0, |level| {
                level.count = level.count.max(1) + 1;
                level.count
            });
            self.repeats(Mark::Hashed, count);
            return;
        }
        let begins = match before {
            None | Some(Piece::Byte(b'(' | b',')) => true,
            Some(Piece::Word(role)) => {
                matches!(role, Role::Or | Role::Clause | Role::Structural | Role::When | Role::Else)
            }
            Some(_) => false,
        };
        if let Some(level) = self.levels.last_mut() {
            level.group = begins.then_some(span);
        }
    }

    fn span(&self, span: Span) -> &[u8] {
        self.bytes.get(span.from.byte..span.to.byte).unwrap_or_default()
    }

    /// Leaves out everything behind a place, the mark of the token before it included.
    fn cut(&mut self, to: Place) {
        self.bytes.truncate(to.byte);
        self.tokens.truncate(to.token);
        if let Some(last) = self.tokens.last_mut()
            && last.end as usize + 1 == to.byte
        {
            last.mark = Mark::None;
        }
    }

    /// The last token stands for a repetition.
    fn repeats(&mut self, mark: Mark, count: u32) {
        self.max_list = self.max_list.max(count);
        let Some(last) = self.tokens.last_mut() else { return };
        if mark == Mark::Hashed && last.mark != Mark::Hashed {
            self.bytes.push(HASHED_MARK);
        }
        last.mark = last.mark.max(mark);
    }

    /// The comment that says so was read.
    pub(super) fn read_mark(&mut self) {
        if self.skipping > 0 {
            return;
        }
        let list = self.top().is_some_and(|level| {
            matches!(level.opened, Opened::List(_)) && level.rows == Rows::None
        });
        let mark = if list { Mark::Shown } else { Mark::Hashed };
        self.repeats(mark, 0);
    }

    fn end_element(&mut self, ending: Ending) {
        let to = self.here();
        let Some(level) = self.levels.last().copied() else { return };
        let Some(from) = level.element else { return };
        let span = Span { from, to };
        let elements = match level.elements {
            Elements::None => Elements::Same(span),
            Elements::Same(first) if self.is_same(first, span, ending) => Elements::Same(first),
            Elements::Same(_) | Elements::Mixed => Elements::Mixed,
        };
        if let Some(level) = self.levels.last_mut() {
            level.elements = elements;
            level.count += 1;
        }
    }

    fn is_same(&self, first: Span, next: Span, ending: Ending) -> bool {
        match ending {
            Ending::Whole => self.span(first) == self.span(next),
            Ending::Cut => self.span(first).starts_with(self.span(next)),
        }
    }

    fn end_list(&mut self) {
        let Some(level) = self.levels.last().copied() else { return };
        let Elements::Same(first) = level.elements else { return };
        let tokens = self.tokens.get(first.from.token..first.to.token).unwrap_or_default();
        if are_values(tokens, &self.bytes) {
            self.bytes.truncate(first.to.byte);
            self.tokens.truncate(first.to.token);
            self.repeats(Mark::Shown, level.count);
        }
    }

    /// An arm that equals the one before is left out.
    fn end_arm(&mut self, ending: Ending) {
        let mut to = self.here();
        let Some(level) = self.levels.last_mut() else { return };
        let Some(from) = level.element.take() else { return };
        let elements = level.elements;
        if self.tokens.last().is_some_and(|last| last.mark == Mark::Hashed) {
            to.byte -= 1;
        }
        let span = Span { from, to };
        match elements {
            Elements::Same(first) if self.is_same(first, span, ending) => {
                self.cut(first.to);
                let count = self.levels.last_mut().map_or(0, |level| {
                    level.count += 1;
                    level.group = None;
                    level.count
                });
                self.repeats(Mark::Hashed, count);
            }
            Elements::None | Elements::Same(_) | Elements::Mixed => {
                if let Some(level) = self.levels.last_mut() {
                    level.elements = Elements::Same(span);
                    level.count = 1;
                }
            }
        }
    }

    /// The text has ended: what is open collapses like what was closed.
    pub(super) fn finish(&mut self) {
        if let Some(level) = self.top().copied()
            && level.rows == Rows::Comma
        {
            self.repeats(Mark::Hashed, level.count + 1);
        }
        let mut inner = 0;
        while self.beyond == 0
            && let Some(level) = self.levels.last()
        {
            match (level.opened, level.elements) {
                // Its only element is itself not whole.
                (Opened::List(_), Elements::None) if inner > 0 => {}
                (Opened::List(_), _) => {
                    self.end_element(Ending::Cut);
                    self.end_list();
                }
                (Opened::Case, _) => self.end_arm(Ending::Cut),
                (Opened::Statement | Opened::Row | Opened::Group | Opened::Bracket, _) => {}
            }
            inner += 1;
            self.levels.pop();
        }
    }
}
