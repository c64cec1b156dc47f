//! SQLSTATE codes the pooler itself says or looks for (Postgres' `errcodes.txt`).

/// A five-character SQLSTATE code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// `XX000 internal_error`.
    pub const INTERNAL_ERROR: Self = Self(*b"XX000");
    /// `0A000 feature_not_supported`.
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    /// `08006 connection_failure`.
    pub const CONNECTION_FAILURE: Self = Self(*b"08006");
    /// `08P01 protocol_violation`.
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    /// `25P03 idle_in_transaction_session_timeout`.
    pub const IDLE_IN_TRANSACTION_TIMEOUT: Self = Self(*b"25P03");
    /// `25P04 transaction_timeout`.
    pub const TRANSACTION_TIMEOUT: Self = Self(*b"25P04");
    /// `22023 invalid_parameter_value`.
    pub const INVALID_PARAMETER_VALUE: Self = Self(*b"22023");
    /// `28000 invalid_authorization_specification`.
    pub const INVALID_AUTHORIZATION: Self = Self(*b"28000");
    /// `28P01 invalid_password`.
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    /// `3D000 invalid_catalog_name` (no such database).
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");
    /// `42P05 duplicate_prepared_statement`.
    pub const DUPLICATE_PREPARED_STATEMENT: Self = Self(*b"42P05");
    /// `invalid_sql_statement_name`: no prepared statement has the name.
    pub const INVALID_SQL_STATEMENT_NAME: Self = Self(*b"26000");
    /// `53300 too_many_connections`.
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    /// `54000 program_limit_exceeded`.
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self(*b"54000");
    /// `57014 query_canceled`.
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// `57P01 admin_shutdown`.
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    /// `57P02 crash_shutdown`.
    pub const CRASH_SHUTDOWN: Self = Self(*b"57P02");
    /// `57P03 cannot_connect_now`.
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    /// `57P05 idle_session_timeout`.
    pub const IDLE_SESSION_TIMEOUT: Self = Self(*b"57P05");

    /// Reads a code; `None` unless it is five ASCII digits or upper-case letters.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let code: [u8; 5] = bytes.try_into().ok()?;
        code.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()).then_some(Self(code))
    }

    /// The code's five characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }

    /// The class: the first two characters.
    #[must_use]
    pub fn class(&self) -> [u8; 2] {
        [self.0[0], self.0[1]]
    }
}

impl std::fmt::Debug for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Display for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
