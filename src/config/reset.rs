//! How the configuration says when a server is reset. What a reset is, is left to the pool.

use super::kind::Word;

/// When a server gets `DISCARD ALL` before its next client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerReset {
    /// Where something may be left that cannot be read.
    Auto,
    /// Always.
    Always,
    /// Never, but for what is known to be left.
    Never,
}

impl Word for ServerReset {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];
}
