//! Writes whole indexes for the fuzzer to alter into `corpus/open`.

#[path = "../../core/tests/common/stored.rs"]
mod stored;

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/open");
    fs::create_dir_all(&corpus)?;
    let folder = tempfile::tempdir()?;
    // Few items: the less there is of vectors, the more often an alteration hits what describes them.
    for (at, bytes) in stored::varied(folder.path(), 8).iter().enumerate() {
        fs::write(corpus.join(format!("seed-{at}")), bytes)?;
    }
    Ok(())
}
