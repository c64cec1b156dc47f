//! Who may have a server, and when.

pub mod slots;
