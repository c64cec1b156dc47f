//! One frame from the server and what its bytes say; judging replies is left to `reply`.

use super::reply::ServerError;

/// A message as it came: tag and body without the length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    /// The first frame in the bytes and its whole length; none while it is incomplete.
    pub(crate) fn cut(bytes: &[u8]) -> Option<(Frame, usize)> {
        let length = i32::from_be_bytes(bytes.get(1..5)?.try_into().unwrap());
        let end = 1 + usize::try_from(length).expect("the length of a frame is positive");
        let body = bytes.get(5..end)?.to_vec();
        Some((Frame { tag: bytes[0], body }, end))
    }

    /// The text at the start of the body, up to its NUL.
    pub(crate) fn text(&self) -> String {
        c_string(&self.body).0
    }

    /// Name and value of a ParameterStatus.
    pub(crate) fn parameter(&self) -> (String, String) {
        assert_eq!(self.tag, b'S');
        let (name, rest) = c_string(&self.body);
        (name, c_string(rest).0)
    }

    /// The columns of a DataRow as text; NULL is `∅`.
    pub(crate) fn columns(&self) -> Vec<String> {
        assert_eq!(self.tag, b'D');
        let count = u16::from_be_bytes(self.body[..2].try_into().unwrap());
        let mut rest = &self.body[2..];
        let mut columns = Vec::new();
        for _ in 0..count {
            let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
            rest = &rest[4..];
            let Ok(length) = usize::try_from(length) else {
                columns.push("∅".to_owned());
                continue;
            };
            columns.push(String::from_utf8_lossy(&rest[..length]).into_owned());
            rest = &rest[length..];
        }
        columns
    }

    /// Names of a RowDescription's columns with their type OIDs.
    pub(crate) fn fields(&self) -> Vec<(String, u32)> {
        assert_eq!(self.tag, b'T');
        let count = u16::from_be_bytes(self.body[..2].try_into().unwrap());
        let mut rest = &self.body[2..];
        let mut fields = Vec::new();
        for _ in 0..count {
            let (name, tail) = c_string(rest);
            fields.push((name, u32::from_be_bytes(tail[6..10].try_into().unwrap())));
            rest = &tail[18..];
        }
        fields
    }

    /// The body of a RowDescription with no table's id in it.
    pub(crate) fn without_tables(&self) -> Vec<u8> {
        assert_eq!(self.tag, b'T');
        let (mut body, mut at) = (self.body.clone(), 2);
        while at < body.len() {
            at += c_string(&body[at..]).0.len() + 1;
            body[at..at + 4].fill(0);
            at += 18;
        }
        body
    }

    /// The fields of an ErrorResponse or NoticeResponse.
    pub(crate) fn error(&self) -> ServerError {
        let mut error = ServerError::default();
        let mut rest = self.body.as_slice();
        while let [code, tail @ ..] = rest
            && *code != 0
        {
            let (text, next) = c_string(tail);
            match code {
                b'V' => error.severity = text,
                b'C' => error.sqlstate = text,
                b'M' => error.message = text,
                b'D' => error.detail = text,
                b'H' => error.hint = text,
                _ => {}
            }
            rest = next;
        }
        error
    }

    /// How the frame looks in a line of replies: its tag, and what a test wants to compare.
    pub(crate) fn shape(&self) -> String {
        let tag = char::from(self.tag);
        match self.tag {
            b'D' => format!("D({})", self.columns().join("|")),
            b'C' => format!("C({})", self.text()),
            b'E' => format!("E({})", self.error().sqlstate),
            b'N' => format!("N({})", self.error().message),
            b'Z' => format!("Z({})", char::from(self.body[0])),
            b'S' => format!("S({}={})", self.parameter().0, self.parameter().1),
            b'd' => format!("d({})", String::from_utf8_lossy(&self.body).trim_end()),
            _ => tag.to_string(),
        }
    }
}

/// The text up to the first NUL and what follows it.
fn c_string(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (String::from_utf8_lossy(&bytes[..end]).into_owned(), bytes.get(end + 1..).unwrap_or(&[]))
}
