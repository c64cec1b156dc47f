//! Proving who a client is, and proving to a server who we are; it never looks a secret up.
