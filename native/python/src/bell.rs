//! Things that come on threads without the GIL, and the byte that wakes Python's event loop for them.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

/// Where things wait until the event loop takes them.
pub struct Bell<T> {
    waiting: Mutex<Vec<T>>,
    rings: UnixStream,
    heard: UnixStream,
}

impl<T> Bell<T> {
    pub fn new() -> io::Result<Self> {
        let (rings, heard) = UnixStream::pair()?;
        rings.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        Ok(Self { waiting: Mutex::default(), rings, heard })
    }

    /// Readable when something waits.
    pub fn fileno(&self) -> i32 {
        self.heard.as_raw_fd()
    }

    pub fn add(&self, thing: T) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = waiting.is_empty();
        waiting.push(thing);
        drop(waiting);
        if is_first {
            // A socket that is full has woken the loop already.
            let _ = (&self.rings).write(&[0]);
        }
    }

    /// All that has come since the last time.
    pub fn take(&self) -> Vec<T> {
        // First the bell, so that it rings again for what comes from now on.
        let _ = (&self.heard).read(&mut [0; 64]);
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
