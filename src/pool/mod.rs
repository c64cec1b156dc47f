//! Who may have a server, and when.

pub mod grow;
pub mod handle;
pub mod limits;
pub mod pool;
pub mod slots;
