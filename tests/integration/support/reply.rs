//! What a client got back, comparable as one line of text: `1 2 D(7) C(SELECT 1) Z(I)`.

use std::fmt;

use super::frame::Frame;

/// The fields of an error that tests look at.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) severity: String,
    pub(crate) sqlstate: String,
    pub(crate) message: String,
    pub(crate) detail: String,
    pub(crate) hint: String,
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServerError { severity, sqlstate, message, detail, hint } = self;
        write!(f, "{severity} {sqlstate}: {message} [{detail}{hint}]")
    }
}

/// Frames in the order they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) frames: Vec<Frame>,
    /// The connection was closed behind the last frame.
    pub(crate) closed: bool,
}

impl Reply {
    /// The replies in one line, without what may come at any time (`S`, `N`, `A`).
    pub(crate) fn shape(&self) -> String {
        let expected = self.frames.iter().filter(|frame| !b"SNA".contains(&frame.tag));
        let mut words: Vec<_> = expected.map(Frame::shape).collect();
        if self.closed {
            words.push("closed".to_owned());
        }
        words.join(" ")
    }

    /// All rows, as text.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        self.frames.iter().filter(|frame| frame.tag == b'D').map(Frame::columns).collect()
    }

    /// The only column of the only row.
    #[track_caller]
    pub(crate) fn value(&self) -> String {
        let rows = self.rows();
        assert!(rows.len() == 1 && rows[0].len() == 1, "not one value: {}", self.shape());
        rows[0][0].clone()
    }

    /// The first error.
    #[track_caller]
    pub(crate) fn error(&self) -> ServerError {
        match self.frames.iter().find(|frame| frame.tag == b'E') {
            Some(frame) => frame.error(),
            None => panic!("no error in: {}", self.shape()),
        }
    }

    /// Severity and SQLSTATE of the first error, as `FATAL 57P01`.
    #[track_caller]
    pub(crate) fn fault(&self) -> String {
        let error = self.error();
        format!("{} {}", error.severity, error.sqlstate)
    }

    pub(crate) fn has_error(&self) -> bool {
        self.frames.iter().any(|frame| frame.tag == b'E')
    }

    pub(crate) fn notices(&self) -> Vec<String> {
        let notices = self.frames.iter().filter(|frame| frame.tag == b'N');
        notices.map(|frame| frame.error().message).collect()
    }
}
