//! A batch that is sent to its server once more, because what it uses has changed.

use std::task::Context;
use std::time::Instant;

use super::session::{Session, State, Step};

impl Session {
    /// A batch that found its statement outdated is sent once more; what it uses is prepared anew.
    #[cold]
    pub(super) fn send_again(
        &mut self,
        batch: &[u8],
        now: Instant,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Step {
        let State::Active(server) = &mut self.state else { return Step::Moved };
        let tries = server.connection().kept.tries();
        let step = self.forward(batch, now, cx, out);
        if let State::Active(server) = &mut self.state {
            server.connection().kept.keep_again(batch, tries);
        }
        step
    }
}
