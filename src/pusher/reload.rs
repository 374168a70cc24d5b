//! Other apps while the server runs: how they reach each core.
//!
//! ```text
//!   Reload::replace ─▶ Apps::successor ─▶ a box for each core ─┐          then Reviewer::review rings:
//!                                         (room for one)       └─▶ Incoming::take, in that core's on_notice
//! ```
//!
//! A box holds the newest apps and no others. It is looked into when the bell has rung and never on an event's way:
//! there each core reads through a pointer of its own, and nothing is written.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::apps::{App, Apps, AppsError};

/// Hands apps to all cores. There is one for each server.
#[derive(Debug)]
pub struct Reload {
    /// Those that were handed out last.
    apps: Arc<Apps>,
    boxes: Vec<AppsBox>,
}

/// Room for one.
#[derive(Debug)]
struct AppsBox {
    sender: Sender<Arc<Apps>>,
    /// To take out what nobody has taken, and is old.
    receiver: Receiver<Arc<Apps>>,
}

/// The box of one core: its end.
#[derive(Clone, Debug)]
pub struct Incoming(Receiver<Arc<Apps>>);

impl Reload {
    /// For so many cores, which begin with these apps; and the cores' ends, by their numbers.
    pub fn new(apps: Arc<Apps>, cores: usize) -> (Self, Vec<Incoming>) {
        let new = |(sender, receiver)| AppsBox { sender, receiver };
        let boxes: Vec<_> = (0..cores).map(|_| new(bounded(1))).collect();
        let incoming = boxes.iter().map(|each| Incoming(each.receiver.clone())).collect();
        (Self { apps, boxes }, incoming)
    }

    /// Lays other apps before every core. They take them over when they are told to look:
    /// [`crate::Reviewer::review`].
    ///
    /// # Errors
    ///
    /// As for [`Apps::successor`]; then the old ones stay.
    pub fn replace(&mut self, apps: Vec<App>) -> Result<(), AppsError> {
        self.apps = Arc::new(self.apps.successor(apps)?);
        for AppsBox { sender, receiver } in &self.boxes {
            let mut apps = Arc::clone(&self.apps);
            // Only we put something in, so the second attempt finds room.
            while let Err(TrySendError::Full(again)) = sender.try_send(apps) {
                let _ = receiver.try_recv();
                apps = again;
            }
        }
        Ok(())
    }

    /// Those in force, or about to be.
    pub fn apps(&self) -> &Arc<Apps> {
        &self.apps
    }
}

impl Incoming {
    /// The newest, unless they were taken before.
    pub(super) fn take(&self) -> Option<Arc<Apps>> {
        self.0.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(id: &str) -> App {
        App::new(id, format!("k{id}"), "s")
    }

    fn reload(cores: usize) -> (Reload, Vec<Incoming>) {
        Reload::new(Arc::new(Apps::new(vec![app("1")]).unwrap()), cores)
    }

    fn ids(apps: &Apps) -> Vec<&str> {
        apps.iter().map(|app| app.id.as_str()).collect()
    }

    #[test]
    fn each_core_takes_the_newest_once() {
        let (mut reload, incoming) = reload(2);
        assert!(incoming[0].take().is_none());
        reload.replace(vec![app("1"), app("2")]).unwrap();
        assert_eq!(ids(&incoming[1].take().unwrap()), ["1", "2"]);
        reload.replace(vec![app("3")]).unwrap();
        reload.replace(vec![app("4")]).unwrap();
        for core in &incoming {
            assert_eq!(ids(&core.take().unwrap()), ["4"]);
            assert!(core.take().is_none());
        }
    }

    #[test]
    fn wrong_apps_reach_nobody() {
        let (mut reload, incoming) = reload(1);
        assert_eq!(reload.replace(Vec::new()), Err(AppsError::Nobody));
        assert!(incoming[0].take().is_none());
        assert_eq!(ids(reload.apps()), ["1"]);
    }
}
