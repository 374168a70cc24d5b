//! What stands for the queue while the mailbox is model-checked: crossbeam's cannot be seen into by the model, so a queue
//! with the same few methods takes its place. All else of the mailbox is the real one.
//!
//! It is a list behind a lock, which hands over what was sent as crossbeam's does: who sees a post sees all that its
//! sender did before. That crossbeam's keeps this promise without a lock is for its own tests to show.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::{TryRecvError, TrySendError};
use loom::sync::Mutex;

struct Shared<T> {
    items: Mutex<VecDeque<T>>,
    most: usize,
}

pub(super) struct Sender<T>(Arc<Shared<T>>);

pub(super) struct Receiver<T>(Arc<Shared<T>>);

pub(super) fn bounded<T>(most: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared { items: Mutex::new(VecDeque::new()), most });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Sender<T> {
    pub(super) fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let mut items = self.0.items.lock().unwrap();
        if items.len() == self.0.most {
            return Err(TrySendError::Full(item));
        }
        items.push_back(item);
        Ok(())
    }
}

impl<T> Receiver<T> {
    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.items.lock().unwrap().pop_front().ok_or(TryRecvError::Empty)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.items.lock().unwrap().is_empty()
    }
}
