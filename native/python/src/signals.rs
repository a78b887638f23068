//! Long work that a signal can end.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use lookalike_core::threads::Stop;
use pyo3::prelude::*;

use crate::panics;

/// Between looks at what signals have arrived.
const PAUSE: Duration = Duration::from_millis(50);

/// Does `work` on another thread, without the GIL. When the handler of a signal raises, as that of Ctrl-C does, stops
/// the work, waits until it has ended, and returns what was raised.
pub fn interruptible<T: Send>(py: Python<'_>, work: impl FnOnce(&Stop) -> T + Send) -> PyResult<T> {
    let stop = Stop::default();
    let (ended, mut end) = channel::<()>();
    thread::scope(|scope| {
        let work = || {
            // Dropped when the work ends, also by a panic.
            let _ended = ended;
            work(&stop)
        };
        let worker = thread::Builder::new().name("build".to_owned()).spawn_scoped(scope, work)?;
        while py.detach(|| is_going_on(&mut end)) {
            if let Err(raised) = py.check_signals() {
                stop.set();
                py.detach(|| drop(worker.join()));
                return Err(raised);
            }
        }
        worker.join().map_err(|panic| panics::to_py(&*panic))
    })
}

/// Waits for a moment, or until nothing can arrive any more.
fn is_going_on(end: &mut Receiver<()>) -> bool {
    end.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout)
}
