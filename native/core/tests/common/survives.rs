//! Opening files that may be wrong, and what it costs.

use std::panic::catch_unwind;
use std::path::Path;

use crate::counting::held_and_most;
use crate::damage::open_and_use;

/// Far more than any file of these tests needs, tests that run at the same time included.
pub const ABSURD_BYTES: usize = 256 << 20;

/// Opens and uses the file, and reports which one it was if that panics or takes absurdly much memory.
pub fn survives(folder: &Path, bytes: &[u8], what: &str) -> bool {
    let (before, _) = held_and_most();
    let Ok(opened) = catch_unwind(|| open_and_use(folder, bytes)) else { panic!("panicked with {what}") };
    let held = held_and_most().1.saturating_sub(before);
    assert!(held < ABSURD_BYTES, "{held} bytes held with {what}");
    opened
}
