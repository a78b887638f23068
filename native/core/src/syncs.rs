//! Times the fsyncs of a file that SQLite has open.
//!
//! SQLite calls the methods of a file through a table, whose address is the first field of the file
//! ([`sqlite3_file`](https://sqlite.org/c3ref/file.html)). [`watch`] gives a file a table of its own: the same methods,
//! but that the one that syncs notes how long it took, and the one that closes puts the first table back. What is
//! synced, when, and what SQLite learns of it stay as they were.
//!
//! It is done here as a file system (VFS) in Python would hold the interpreter's lock during each fsync.

use std::ffi::c_int;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// `sqlite3_file`: what it has beyond its methods is the file system's own.
#[repr(C)]
#[derive(Debug)]
pub struct File {
    methods: *const Methods,
}

type Close = unsafe extern "C" fn(*mut File) -> c_int;
type Sync = unsafe extern "C" fn(*mut File, c_int) -> c_int;
/// A method that is only handed on.
type Other = Option<unsafe extern "C" fn()>;

/// `sqlite3_io_methods`, of which versions 1 and 2 have fewer methods.
#[repr(C)]
#[derive(Clone, Copy)]
struct Methods {
    version: c_int,
    close: Close,
    read: Other,
    write: Other,
    truncate: Other,
    sync: Sync,
    others: [Other; 13],
}

/// The methods after `sync` that each version has, and the latest version of which this is known.
const OTHERS: [usize; 4] = [0, 7, 11, 13];
const LATEST: usize = OTHERS.len() - 1;

/// A table that stands for another one. SQLite sees its first field alone.
#[repr(C)]
struct Watched {
    own: Methods,
    first: *const Methods,
    times: Arc<SyncTimes>,
}

/// How long the fsyncs of watched files took.
#[derive(Debug, Default)]
pub struct SyncTimes {
    since_taken: Mutex<Vec<Duration>>,
}

impl SyncTimes {
    /// The times of the fsyncs since the last call, in their order, also of those that failed.
    pub fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.since_taken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, time: Duration) {
        self.since_taken.lock().unwrap_or_else(PoisonError::into_inner).push(time);
    }
}

/// Notes the times of the fsyncs of a file until SQLite closes it, and returns whether it is open.
///
/// # Safety
/// `file` is null or as SQLite's file controls `SQLITE_FCNTL_FILE_POINTER` and `SQLITE_FCNTL_JOURNAL_POINTER` return it,
/// and nothing uses its connection meanwhile.
pub unsafe fn watch(file: *mut File, times: Arc<SyncTimes>) -> bool {
    // SAFETY: as the caller promises.
    let Some(&File { methods: first }) = (unsafe { file.as_ref() }) else { return false };
    if first.is_null() {
        // SQLite's mark of a file that is not open.
        return false;
    }
    // SAFETY: the methods of an open file stay where they are, and have what their version promises.
    let own = unsafe { copied(first) };
    let watched = Watched { own: Methods { close, sync, ..own }, first, times };
    // SAFETY: `file` is valid and nobody else uses it. The table lives until `close`.
    unsafe { (*file).methods = Box::into_raw(Box::new(watched)).cast() };
    true
}

/// Copies the methods that are known of the version of a table.
///
/// # Safety
/// `methods` is valid, and as long as its version has it.
unsafe fn copied(methods: *const Methods) -> Methods {
    // SAFETY: each version begins with its number.
    let version = unsafe { (&raw const (*methods).version).read() };
    let known = (version.max(1) as usize).min(LATEST);
    let size = offset_of!(Methods, others) + OTHERS[known] * size_of::<Other>();
    let mut own = MaybeUninit::<Methods>::zeroed();
    // SAFETY: both are so long. A method that the version lacks is null, which `Other` may be.
    let mut own = unsafe {
        own.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(methods.cast(), size);
        own.assume_init()
    };
    own.version = known as c_int;
    own
}

unsafe extern "C" fn sync(file: *mut File, flags: c_int) -> c_int {
    // SAFETY: only the tables of `watch` have this method, and their files are open.
    let watched = unsafe { &*(*file).methods.cast::<Watched>() };
    let start = Instant::now();
    // SAFETY: SQLite calls what would have been called without the watch.
    let result = unsafe { ((*watched.first).sync)(file, flags) };
    watched.times.add(start.elapsed());
    result
}

unsafe extern "C" fn close(file: *mut File) -> c_int {
    // SAFETY: only the tables of `watch` have this method, each of one file, which is closed once.
    let watched = unsafe { Box::from_raw((*file).methods.cast::<Watched>().cast_mut()) };
    // SAFETY: SQLite calls what would have been called without the watch.
    unsafe {
        (*file).methods = watched.first;
        ((*watched.first).close)(file)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::ptr::{null, null_mut};

    use super::*;

    const FULL: c_int = 13;

    thread_local! {
        static CALLS: RefCell<Vec<(&'static str, c_int)>> = const { RefCell::new(Vec::new()) };
        static METHODS_AT_CLOSE: Cell<*const Methods> = const { Cell::new(null()) };
    }

    unsafe extern "C" fn plain_sync(_: *mut File, flags: c_int) -> c_int {
        CALLS.with_borrow_mut(|calls| calls.push(("sync", flags)));
        if flags == 2 { FULL } else { 0 }
    }

    unsafe extern "C" fn plain_close(file: *mut File) -> c_int {
        CALLS.with_borrow_mut(|calls| calls.push(("close", 0)));
        // SAFETY: of the test.
        METHODS_AT_CLOSE.set(unsafe { (*file).methods });
        7
    }

    unsafe extern "C" fn any() {}

    fn table(version: c_int) -> Methods {
        let other: Other = Some(any);
        let (close, sync): (Close, Sync) = (plain_close, plain_sync);
        Methods { version, close, read: other, write: other, truncate: other, sync, others: [other; 13] }
    }

    #[test]
    fn a_sync_is_passed_on_and_timed_also_one_that_fails() {
        let methods = table(3);
        let (mut file, times) = (File { methods: &methods }, Arc::new(SyncTimes::default()));
        // SAFETY: the file is the test's.
        assert!(unsafe { watch(&raw mut file, times.clone()) });
        // SAFETY: as SQLite calls them.
        let results = [1, 2].map(|flags| unsafe { ((*file.methods).sync)(&raw mut file, flags) });
        assert_eq!(results, [0, FULL]);
        assert_eq!(times.take().len(), 2);
        assert!(times.take().is_empty());
        // SAFETY: as SQLite closes it.
        assert_eq!(unsafe { ((*file.methods).close)(&raw mut file) }, 7);
        assert_eq!(CALLS.take(), [("sync", 1), ("sync", 2), ("close", 0)]);
        assert_eq!((METHODS_AT_CLOSE.get(), file.methods), (&raw const methods, &raw const methods));
        assert_eq!(Arc::strong_count(&times), 1, "what a file was watched with goes with it");
    }

    #[test]
    fn a_file_that_is_not_open_is_left_alone() {
        let mut closed = File { methods: null() };
        for file in [&raw mut closed, null_mut()] {
            // SAFETY: the file is null or the test's.
            assert!(!unsafe { watch(file, Arc::default()) });
        }
        assert!(closed.methods.is_null());
    }

    #[test]
    fn a_table_keeps_the_methods_of_its_version_and_no_others() {
        for (version, known) in [(0, 7), (1, 7), (2, 11), (3, 13), (4, 13)] {
            let methods = table(version);
            // SAFETY: the table is whole.
            let copy = unsafe { copied(&raw const methods) };
            assert_eq!(copy.version, version.clamp(1, 3));
            assert!(copy.read.is_some() && copy.write.is_some() && copy.truncate.is_some());
            assert_eq!(copy.others.iter().filter(|other| other.is_some()).count(), known);
            assert!(copy.others[..known].iter().all(Option::is_some));
        }
    }

    #[test]
    fn a_table_is_as_long_as_that_of_sqlite() {
        assert_eq!(size_of::<Methods>(), 19 * size_of::<usize>());
        assert_eq!(offset_of!(Methods, sync), 5 * size_of::<usize>());
    }
}
