//! What the clients of a worker have in common, kept once: most of them are of one application.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::ClientTimeouts;

/// What the client before had; the next one's, if it is equal, is the same.
#[derive(Debug, Default)]
pub struct Alike {
    names: RefCell<Arc<(Box<str>, Box<str>)>>,
    timeouts: RefCell<Rc<ClientTimeouts>>,
}

impl Alike {
    /// A client's database and user.
    pub fn names(&self, database: &str, user: &str) -> Arc<(Box<str>, Box<str>)> {
        let mut last = self.names.borrow_mut();
        if (&*last.0, &*last.1) != (database, user) {
            *last = Arc::new((database.into(), user.into()));
        }
        Arc::clone(&last)
    }

    /// A client's timeouts.
    pub fn timeouts(&self, timeouts: ClientTimeouts) -> Rc<ClientTimeouts> {
        let mut last = self.timeouts.borrow_mut();
        if **last != timeouts {
            *last = Rc::new(timeouts);
        }
        Rc::clone(&last)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn equal_clients_share_what_they_have_in_common() {
        let alike = Alike::default();
        let first = alike.names("shop", "app");
        assert!(Arc::ptr_eq(&first, &alike.names("shop", "app")));
        assert_eq!(*alike.names("shop", "report"), ("shop".into(), "report".into()));
        assert_eq!(*first, ("shop".into(), "app".into()));
        let strict =
            ClientTimeouts { query: Some(Duration::from_secs(1)), ..ClientTimeouts::default() };
        let first = alike.timeouts(strict);
        assert_eq!(*first, strict);
        assert!(Rc::ptr_eq(&first, &alike.timeouts(strict)));
        assert_eq!(*alike.timeouts(ClientTimeouts::default()), ClientTimeouts::default());
    }
}
