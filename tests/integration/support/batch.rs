//! Frames a client sends, put together as a script reads: `Batch::new().parse(…).bind(…).sync()`.

/// Bytes to send and how many ReadyForQuery they will bring.
#[derive(Clone, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) readies: usize,
}

/// A simple query.
pub(crate) fn query(sql: &str) -> Batch {
    Batch::new().query(sql)
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch::default()
    }

    /// Any message, well formed or not.
    pub(crate) fn frame(mut self, tag: u8, body: &[u8]) -> Batch {
        self.bytes.push(tag);
        self.bytes.extend(i32::try_from(body.len() + 4).unwrap().to_be_bytes());
        self.bytes.extend(body);
        self
    }

    pub(crate) fn query(self, sql: &str) -> Batch {
        self.frame(b'Q', &text(sql)).ready()
    }

    pub(crate) fn parse(self, name: &str, sql: &str) -> Batch {
        self.parse_typed(name, sql, &[])
    }

    pub(crate) fn parse_typed(self, name: &str, sql: &str, types: &[u32]) -> Batch {
        let mut body = [text(name), text(sql)].concat();
        body.extend(u16::try_from(types.len()).unwrap().to_be_bytes());
        body.extend(types.iter().flat_map(|oid| oid.to_be_bytes()));
        self.frame(b'P', &body)
    }

    /// Parameters and results as text.
    pub(crate) fn bind(self, portal: &str, statement: &str, parameters: &[&str]) -> Batch {
        let mut body = [text(portal), text(statement), vec![0, 0]].concat();
        body.extend(u16::try_from(parameters.len()).unwrap().to_be_bytes());
        for parameter in parameters {
            body.extend(i32::try_from(parameter.len()).unwrap().to_be_bytes());
            body.extend(parameter.as_bytes());
        }
        body.extend([0, 0]);
        self.frame(b'B', &body)
    }

    /// `kind` is `S` for a statement, `P` for a portal.
    pub(crate) fn describe(self, kind: char, name: &str) -> Batch {
        self.frame(b'D', &named(kind, name))
    }

    pub(crate) fn close(self, kind: char, name: &str) -> Batch {
        self.frame(b'C', &named(kind, name))
    }

    pub(crate) fn execute(self, portal: &str) -> Batch {
        self.execute_some(portal, 0)
    }

    /// At most so many rows; 0 is all of them.
    pub(crate) fn execute_some(self, portal: &str, rows: u32) -> Batch {
        self.frame(b'E', &[text(portal), rows.to_be_bytes().to_vec()].concat())
    }

    /// Bind to the unnamed portal and execute it.
    pub(crate) fn run(self, statement: &str, parameters: &[&str]) -> Batch {
        self.bind("", statement, parameters).execute("")
    }

    pub(crate) fn sync(self) -> Batch {
        self.frame(b'S', &[]).ready()
    }

    /// A Sync that Postgres reads while in COPY FROM STDIN and does not answer.
    pub(crate) fn swallowed_sync(self) -> Batch {
        self.frame(b'S', &[])
    }

    pub(crate) fn flush(self) -> Batch {
        self.frame(b'H', &[])
    }

    pub(crate) fn copy_data(self, data: &str) -> Batch {
        self.frame(b'd', data.as_bytes())
    }

    pub(crate) fn copy_done(self) -> Batch {
        self.frame(b'c', &[])
    }

    pub(crate) fn copy_fail(self, reason: &str) -> Batch {
        self.frame(b'f', &text(reason))
    }

    pub(crate) fn terminate(self) -> Batch {
        self.frame(b'X', &[])
    }

    /// The fastpath call, arguments and result as text.
    pub(crate) fn function_call(self, oid: u32, arguments: &[&str]) -> Batch {
        let mut body = oid.to_be_bytes().to_vec();
        body.extend([0, 0]);
        body.extend(u16::try_from(arguments.len()).unwrap().to_be_bytes());
        for argument in arguments {
            body.extend(i32::try_from(argument.len()).unwrap().to_be_bytes());
            body.extend(argument.as_bytes());
        }
        body.extend([0, 0]);
        self.frame(b'F', &body).ready()
    }

    /// This batch, then the other.
    pub(crate) fn then(mut self, other: Batch) -> Batch {
        self.bytes.extend(other.bytes);
        self.readies += other.readies;
        self
    }

    fn ready(mut self) -> Batch {
        self.readies += 1;
        self
    }
}

/// NUL-terminated.
fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn named(kind: char, name: &str) -> Vec<u8> {
    [vec![u8::try_from(kind).unwrap()], text(name)].concat()
}
