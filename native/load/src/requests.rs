//! Files of messages: each is its length, four bytes little-endian, and its bytes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use bytes::{Buf, Bytes};

/// The length that stands for a request without an answer.
pub const NO_ANSWER: u32 = u32::MAX;

/// Returns the messages of a file.
///
/// # Errors
///
/// It cannot be read, holds no message, or ends within one.
pub fn read(path: &Path) -> io::Result<Vec<Bytes>> {
    let invalid = |text| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {text}", path.display()));
    let mut rest = Bytes::from(std::fs::read(path)?);
    let mut messages = Vec::new();
    while rest.has_remaining() {
        let length = rest.try_get_u32_le().map_err(|_| invalid("ends within a length"))? as usize;
        if length > rest.len() {
            return Err(invalid("ends within a message"));
        }
        messages.push(rest.split_to(length));
    }
    if messages.is_empty() { Err(invalid("holds no message")) } else { Ok(messages) }
}

/// Writes the answers, one for each request.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_answers(path: &Path, answers: &[Option<Bytes>]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for answer in answers {
        let length = answer.as_ref().map_or(NO_ANSWER, |answer| answer.len() as u32);
        file.write_all(&length.to_le_bytes())?;
        file.write_all(answer.as_deref().unwrap_or_default())?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(content: &[u8]) -> io::Result<Vec<Bytes>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        read(file.path())
    }

    #[test]
    fn what_is_written_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let answers = [Some(Bytes::from_static(b"one")), Some(Bytes::new())];
        write_answers(file.path(), &answers).unwrap();
        assert_eq!(read(file.path()).unwrap(), answers.map(Option::unwrap));
    }

    #[test]
    fn an_answer_may_be_missing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write_answers(file.path(), &[None, Some(Bytes::from_static(b"x"))]).unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), [255, 255, 255, 255, 1, 0, 0, 0, b'x']);
    }

    #[test]
    fn a_cut_file_is_refused() {
        assert!(read_bytes(b"").is_err());
        assert!(read_bytes(&[1, 0]).is_err());
        assert!(read_bytes(&[2, 0, 0, 0, 7]).is_err());
        assert_eq!(read_bytes(&[1, 0, 0, 0, 7]).unwrap(), [Bytes::from_static(&[7])]);
    }
}
