//! Threads for one kind of work, and what waits for them.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use lookalike_core::threads::Stop;

type Work = Box<dyn FnOnce() + Send>;

struct Job {
    stop: Stop,
    work: Work,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    most: usize,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            match queue.jobs.pop_front() {
                // Nobody waits for it any more.
                Some(job) if job.stop.is_set() => {}
                Some(job) => return Some(job),
                None if queue.closed => return None,
                None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// A fixed number of threads with a bounded queue.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// Starts threads for which up to `most` pieces of work wait.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread.
    pub fn start(name: &str, threads: usize, most: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), most });
        let pool = Self { shared: Arc::clone(&shared), threads: Mutex::default() };
        for _ in 0..threads {
            let shared = Arc::clone(&shared);
            let work = move || {
                while let Some(job) = shared.next() {
                    (job.work)();
                }
            };
            let thread = thread::Builder::new().name(name.to_owned()).spawn(work)?;
            pool.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(pool)
    }

    /// Does some work, which catches its own panics, when its turn comes, unless `stop` is set by then; false: too much
    /// waits, or the pool is closed.
    pub fn submit(&self, stop: Stop, work: impl FnOnce() + Send + 'static) -> bool {
        let mut queue = self.shared.queue();
        if queue.jobs.len() >= self.shared.most {
            queue.jobs.retain(|job| !job.stop.is_set());
        }
        if queue.closed || queue.jobs.len() >= self.shared.most {
            return false;
        }
        queue.jobs.push_back(Job { stop, work: Box::new(work) });
        drop(queue);
        self.shared.changed.notify_one();
        true
    }

    /// How much waits for its turn, what was cancelled included.
    pub fn waiting(&self) -> usize {
        self.shared.queue().jobs.len()
    }

    /// Drops what waits, and waits for what is being done.
    pub fn close(&self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        let waiting = std::mem::take(&mut queue.jobs);
        drop(queue);
        drop(waiting);
        self.shared.changed.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn more_than_may_wait_is_refused_and_what_was_cancelled_makes_room() {
        let pool = Pool::start("test", 1, 2).unwrap();
        let ((begun, is_begun), (go_on, gate), (done, results)) = (channel(), channel::<()>(), channel());
        let submit = |number: u32, stop: &Stop| {
            let done = done.clone();
            pool.submit(stop.clone(), move || done.send(number).unwrap())
        };
        assert!(pool.submit(Stop::default(), move || {
            begun.send(()).unwrap();
            gate.recv().unwrap();
        }));
        is_begun.recv().unwrap();
        let cancelled = Stop::default();
        assert!(submit(1, &cancelled));
        assert!(submit(2, &Stop::default()));
        assert!(!submit(3, &Stop::default()));
        cancelled.set();
        assert!(submit(4, &Stop::default()));
        go_on.send(()).unwrap();
        assert_eq!([results.recv().unwrap(), results.recv().unwrap()], [2, 4]);
        pool.close();
        assert!(!submit(5, &Stop::default()));
        assert!(results.try_recv().is_err());
    }
}
