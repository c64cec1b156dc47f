//! One level of brackets, and what of it may repeat. Plain records of [`super::shape`].

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    Statement,
    /// `in (`, `array [`
    List(u8),
    /// The first row of VALUES.
    Row,
    Group,
    Bracket,
    Case,
}

/// From a token on, up to another: tokens and bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: Place,
    pub(super) to: Place,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) token: usize,
    pub(super) byte: usize,
}

/// The elements of a list, or the arms of a CASE.
#[derive(Clone, Copy, Debug)]
pub(super) enum Elements {
    /// None has ended.
    None,
    /// All that ended equal this one.
    Same(Span),
    /// They differ.
    Mixed,
}

/// Where a VALUES stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    None,
    /// The word was seen.
    Due,
    /// One row or more.
    Ended,
    /// A comma, not noted yet.
    Comma,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ordinals {
    Outside,
    Within,
}

/// One level of brackets, or a CASE.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) opened: Opened,
    pub(super) at: Place,
    /// Where the present element or arm begins; before the first arm of a CASE, nowhere.
    pub(super) element: Option<Place>,
    pub(super) elements: Elements,
    pub(super) count: u32,
    pub(super) rows: Rows,
    pub(super) ordinals: Ordinals,
    /// The group that ended last, without its mark.
    pub(super) group: Option<Span>,
}

impl Level {
    pub(super) fn new(opened: Opened, at: Place, element: Option<Place>) -> Self {
        Self {
            opened,
            at,
            element,
            elements: Elements::None,
            count: 0,
            rows: Rows::None,
            ordinals: Ordinals::Outside,
            group: None,
        }
    }
}

/// How an element ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    /// With the text.
    Cut,
}
