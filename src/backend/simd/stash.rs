//! Buffers that tasks need for a while and leave for the next ones.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
};

/// As many values as threads have been at work at once, kept from loop to loop, so that loops do not allocate.
#[derive(Default)]
pub struct Stash<T>(Mutex<Vec<T>>);

impl<T: Default> Stash<T> {
    /// A value that an earlier task left, or a new one.
    pub(super) fn take(&self) -> Taken<'_, T> {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Taken { stash: self, value: left.unwrap_or_default() }
    }
}

/// A value that goes back to its stash when it is dropped.
pub(super) struct Taken<'a, T: Default> {
    stash: &'a Stash<T>,
    value: T,
}

impl<T: Default> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let value = std::mem::take(&mut self.value);
        self.stash.0.lock().unwrap_or_else(PoisonError::into_inner).push(value);
    }
}

impl<T: Default> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Default> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
