//! Worker pools by size, made on first use and kept; and the way to stop long work.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::Result;

static POOLS: LazyLock<Mutex<HashMap<usize, Arc<ThreadPool>>>> = LazyLock::new(Mutex::default);

/// A pool of `threads` workers; 0 means one per core.
pub fn pool(threads: usize) -> Result<Arc<ThreadPool>> {
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = pools.get(&threads) {
        return Ok(Arc::clone(pool));
    }
    let pool = Arc::new(ThreadPoolBuilder::new().num_threads(threads).build()?);
    pools.insert(threads, Arc::clone(&pool));
    Ok(pool)
}

/// A pool of `threads` workers for work that nobody waits for: where cores are scarce it gives way to all other threads.
pub fn background_pool(threads: usize) -> std::result::Result<ThreadPool, rayon::ThreadPoolBuildError> {
    ThreadPoolBuilder::new().num_threads(threads).start_handler(|_| give_way()).build()
}

/// Lowers the priority of the calling thread, for good.
fn give_way() {
    // On Linux a thread has a nice value of its own; elsewhere this would be the whole process's.
    #[cfg(target_os = "linux")]
    {
        // Not the idle class: on a busy machine the work would never end.
        const NICENESS: i32 = 10;
        // Where it is refused everything works, only less smoothly.
        let _ = rustix::process::nice(NICENESS);
    }
}

/// Asks long work to end without a result. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on the work is to end.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the work is to end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// `None` once the work is to end.
    pub fn check(&self) -> Option<()> {
        (!self.is_set()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn background_work_gives_way_and_others_do_not() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();
        let inside = super::background_pool(1).unwrap().install(niceness);
        assert_eq!((inside, niceness()), ((before + 10).min(19), before));
    }
}
