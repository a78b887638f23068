//! The one thread of the process that sockets are read and written on.
//!
//! A search is received, sent on, merged and answered there, without a change of threads. What takes long does not
//! belong on it.

use std::future::pending;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Handle};

static STARTED: Mutex<Option<Handle>> = Mutex::new(None);

/// What work is given to it with; the first use starts it.
///
/// # Errors
///
/// The operating system refuses the thread.
pub fn handle() -> io::Result<Handle> {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*started {
        return Ok(handle.clone());
    }
    // A runtime of one thread has no queue to share with others, and wakes nobody for what it gives itself.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().name("io".to_owned()).spawn(move || runtime.block_on(pending::<()>()))?;
    *started = Some(handle.clone());
    Ok(handle)
}
