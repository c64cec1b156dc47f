//! The Postgres wire protocol, version 3: pure functions over bytes, no sockets.
