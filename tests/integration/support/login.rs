//! Who a client says it is, where, and in which words; the exchange itself is in `client` and `scram`.

use super::postgres::Address;

/// The version number of a startup packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    V3_0,
    V3_2,
}

impl Protocol {
    pub(crate) fn number(self) -> u32 {
        match self {
            Protocol::V3_0 => 3 << 16,
            Protocol::V3_2 => 3 << 16 | 2,
        }
    }
}

/// Everything a login needs.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) address: Address,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) protocol: Protocol,
}

impl Login {
    pub(crate) fn new(address: Address, database: &str, user: &str, password: &str) -> Login {
        Login {
            address,
            database: database.to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
            parameters: Vec::new(),
            protocol: Protocol::V3_0,
        }
    }

    pub(crate) fn user(mut self, user: &str, password: &str) -> Login {
        user.clone_into(&mut self.user);
        password.clone_into(&mut self.password);
        self
    }

    pub(crate) fn database(mut self, database: &str) -> Login {
        database.clone_into(&mut self.database);
        self
    }

    pub(crate) fn parameter(mut self, name: &str, value: &str) -> Login {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn protocol(mut self, protocol: Protocol) -> Login {
        self.protocol = protocol;
        self
    }

    /// The bytes of the StartupMessage.
    pub(crate) fn startup(&self) -> Vec<u8> {
        let mut body = self.protocol.number().to_be_bytes().to_vec();
        let mut pairs = vec![("user", self.user.as_str()), ("database", self.database.as_str())];
        pairs.extend(self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            body.extend(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        let length = i32::try_from(body.len() + 4).unwrap();
        [length.to_be_bytes().to_vec(), body].concat()
    }
}
