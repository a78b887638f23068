//! Bytes that snapshots share: freshly built, or mapped from a file.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use memmap2::{Mmap, MmapMut, MmapOptions};

/// Alignment of every buffer: one cache line, enough for each kernel and each column type.
pub const ALIGN: usize = 64;

/// From this size on, memory comes straight from the system and asks for 2 MiB pages, which make scattered
/// reads an eighth faster.
const HUGE: usize = 1 << 21;

#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; ALIGN]);

#[derive(Debug)]
enum Owner {
    Heap(Vec<Line>),
    Pages(MmapMut),
    File(Mmap),
}

impl Owner {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(lines) => bytemuck::cast_slice(lines),
            Self::Pages(pages) => pages,
            Self::File(file) => file,
        }
    }
}

/// A read-only range of shared memory. Clones share it.
#[derive(Clone, Debug)]
pub struct Buffer {
    owner: Arc<Owner>,
    range: Range<usize>,
}

impl Buffer {
    /// A part of this buffer; panics if it reaches beyond its end.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.range.len(), "a part of the buffer");
        let start = self.range.start;
        Self { owner: Arc::clone(&self.owner), range: start + range.start..start + range.end }
    }

    /// Consecutive parts of these sizes; panics if they reach beyond its end.
    pub fn cut(&self, sizes: &[usize]) -> impl Iterator<Item = Self> {
        let mut at = 0;
        sizes.iter().map(move |size| {
            at += size;
            self.slice(at - size..at)
        })
    }

    /// Whether it lies in a mapped file.
    pub fn is_mapped(&self) -> bool {
        matches!(*self.owner, Owner::File(_))
    }

    /// A copy of `bytes` in memory.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = BufferMut::zeroed(bytes.len());
        copy.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        copy.freeze().slice(0..bytes.len())
    }

    /// Maps a part of a file; panics if it reaches beyond what can be addressed.
    pub fn map(file: &File, part: Range<usize>) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        options.offset(part.start as u64).len(part.len());
        // SAFETY: index files are written once under another name, renamed into place and never changed, so
        // the mapped bytes stay as they are. A file that someone truncates by hand ends the process (SIGBUS),
        // as with every mapped file.
        let map = unsafe { options.map(file)? };
        let range = 0..map.len();
        Ok(Self { owner: Arc::new(Owner::File(map)), range })
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.owner.bytes()[self.range.clone()]
    }
}

/// Zeroed memory that is being filled.
#[derive(Debug)]
pub struct BufferMut(Owner);

impl BufferMut {
    /// `size` zero bytes, rounded up to the alignment.
    pub fn zeroed(size: usize) -> Self {
        let lines = size.div_ceil(ALIGN);
        let pages = (size >= HUGE).then(|| MmapMut::map_anon(lines * ALIGN)).and_then(Result::ok);
        Self(match pages {
            Some(pages) => {
                #[cfg(target_os = "linux")]
                // Without huge pages everything works, only slower.
                let _ = pages.advise(memmap2::Advice::HugePage);
                Owner::Pages(pages)
            }
            None => Owner::Heap(vec![Line::zeroed(); lines]),
        })
    }

    /// The bytes to fill.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Owner::Heap(lines) => bytemuck::cast_slice_mut(lines),
            Owner::Pages(pages) => pages,
            Owner::File(_) => unreachable!("mapped files are only read"),
        }
    }

    /// Shares the bytes, which nobody can change any more.
    pub fn freeze(self) -> Buffer {
        let range = 0..self.0.bytes().len();
        Buffer { owner: Arc::new(self.0), range }
    }
}
