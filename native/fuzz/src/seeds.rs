//! Writes what the fuzzer begins with: whole indexes to `corpus/open`, searches and answers to `corpus/search`.

#[path = "requests.rs"]
mod requests;
// Its indexes are the target's.
#[allow(dead_code)]
#[path = "../../serve/tests/common/small.rs"]
mod small;
#[path = "../../core/tests/common/stored.rs"]
mod stored;

use std::fs;
use std::io;
use std::path::Path;

use prost::Message;

fn main() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    // Few items: the less there is of vectors, the more often an alteration hits what describes them.
    write("open", stored::varied(folder.path(), 8))?;
    let mut calls: Vec<Vec<u8>> = requests::varied().iter().map(Message::encode_to_vec).collect();
    // Of a call whose body is looked at as it is.
    calls.push([&[0, 0, 0, 0, calls[0].len() as u8], &calls[0][..]].concat());
    calls.push(requests::answer().encode_to_vec());
    write("search", calls)
}

fn write(target: &str, seeds: Vec<Vec<u8>>) -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&corpus)?;
    for (at, bytes) in seeds.iter().enumerate() {
        fs::write(corpus.join(format!("seed-{at}")), bytes)?;
    }
    Ok(())
}
