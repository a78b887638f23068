//! The items that have one term, by ordinal.

use std::borrow::Cow;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::words::from_words;

/// Ordinals that need no memory of their own: values such as article numbers belong to one item each.
const FEW: usize = 3;
/// Up to here a plain list is about as small as a bitmap, and copied in one piece instead of one for each 65,536
/// ordinals.
const LISTED: usize = 2048;
/// A posting of at least this many is merged as a bitmap, a smaller one ordinal by ordinal.
const LARGE: u64 = 1 << 15;
/// Fewer ordinals than this are sorted rather than entered in a bit array.
const SORTED: usize = 2048;

/// A set of ordinals. Clones share all but the smallest.
#[derive(Clone, Debug)]
pub enum Postings {
    /// The first `len` of `ordinals`, ascending.
    Few {
        /// 0 to 3.
        len: u8,
        /// The ordinals.
        ordinals: [u32; FEW],
    },
    /// Up to 2,048, ascending.
    List(Arc<Vec<u32>>),
    /// More.
    Bitmap(Arc<RoaringBitmap>),
}

impl Default for Postings {
    fn default() -> Self {
        Self::Few { len: 0, ordinals: [0; FEW] }
    }
}

impl Postings {
    /// Takes ascending ordinals, each there once.
    pub fn from_sorted(sorted: Vec<u32>) -> Self {
        if sorted.len() > LISTED {
            let bitmap = RoaringBitmap::from_sorted_iter(sorted);
            return Self::Bitmap(Arc::new(bitmap.expect("ordinals are ascending")));
        }
        if sorted.len() > FEW {
            return Self::List(Arc::new(sorted));
        }
        let mut ordinals = [0; FEW];
        ordinals[..sorted.len()].copy_from_slice(&sorted);
        Self::Few { len: sorted.len() as u8, ordinals }
    }

    /// How many ordinals there are.
    pub fn len(&self) -> u64 {
        match self {
            Self::Few { len, .. } => u64::from(*len),
            Self::List(list) => list.len() as u64,
            Self::Bitmap(bitmap) => bitmap.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        // Larger forms shrink before they are empty.
        matches!(self, Self::Few { len: 0, .. })
    }

    /// Removes `removed`, then adds `inserted`; both are ascending.
    pub fn change(&mut self, removed: impl Iterator<Item = u32>, inserted: impl Iterator<Item = u32>) {
        if let Self::Bitmap(bitmap) = self {
            let bitmap = Arc::make_mut(bitmap);
            removed.for_each(|ordinal| {
                bitmap.remove(ordinal);
            });
            bitmap.extend(inserted);
            if bitmap.len() <= LISTED as u64 / 2 {
                *self = Self::from_sorted(bitmap.iter().collect());
            }
            return;
        }
        let (mut removed, inserted) = (removed.peekable(), inserted.collect::<Vec<u32>>());
        let old = self.listed();
        let mut ordinals = Vec::with_capacity(old.len() + inserted.len());
        ordinals.extend(old.iter().copied().filter(|ordinal| {
            while removed.next_if(|gone| gone < ordinal).is_some() {}
            removed.peek() != Some(ordinal)
        }));
        ordinals.extend(inserted);
        if !ordinals.is_sorted_by(|a, b| a < b) {
            ordinals.sort();
            ordinals.dedup();
        }
        *self = Self::from_sorted(ordinals);
    }

    /// The ordinals as a bitmap.
    pub fn bitmap(&self) -> Cow<'_, RoaringBitmap> {
        match self {
            Self::Bitmap(bitmap) => Cow::Borrowed(bitmap),
            _ => {
                let bitmap = RoaringBitmap::from_sorted_iter(self.listed().iter().copied());
                Cow::Owned(bitmap.expect("ordinals are ascending"))
            }
        }
    }

    /// Calls `each` for every ordinal, ascending.
    pub fn for_each(&self, each: impl FnMut(u32)) {
        match self {
            Self::Bitmap(bitmap) => bitmap.iter().for_each(each),
            _ => self.listed().iter().copied().for_each(each),
        }
    }

    fn greatest(&self) -> u32 {
        match self {
            Self::Bitmap(bitmap) => bitmap.max().unwrap_or(0),
            _ => self.listed().last().copied().unwrap_or(0),
        }
    }

    /// The ordinals of all forms but the bitmap.
    fn listed(&self) -> &[u32] {
        match self {
            Self::Few { len, ordinals } => &ordinals[..*len as usize],
            Self::List(list) => list,
            Self::Bitmap(_) => &[],
        }
    }

    /// Memory of its own, about.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Few { .. } => 0,
            Self::List(list) => list.capacity() * 4 + 64,
            Self::Bitmap(bitmap) => bitmap_bytes(bitmap),
        }
    }
}

/// Memory of a bitmap, about: its containers' content and what each allocation costs.
pub fn bitmap_bytes(bitmap: &RoaringBitmap) -> usize {
    let containers = bitmap.statistics().n_containers as usize;
    bitmap.serialized_size() + containers * 64
}

/// The union of postings.
pub fn union<'a>(postings: impl Iterator<Item = &'a Postings> + Clone) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    let (mut count, mut greatest) = (0, 0);
    for posting in postings.clone() {
        match posting {
            Postings::Bitmap(bitmap) if bitmap.len() >= LARGE => all |= &**bitmap,
            _ => {
                count += posting.len() as usize;
                greatest = greatest.max(posting.greatest());
            }
        }
    }
    let small = postings.filter(|posting| posting.len() < LARGE);
    // A bit array pays where it is not mostly empty.
    if count >= SORTED && greatest as usize / 64 < count * 4 && greatest < 1 << 31 {
        let mut words = vec![0u64; greatest as usize / 64 + 1];
        small.for_each(|posting| posting.for_each(|o| words[o as usize / 64] |= 1 << (o % 64)));
        all |= from_words(&words);
    } else {
        let mut ordinals = Vec::with_capacity(count);
        small.for_each(|posting| posting.for_each(|ordinal| ordinals.push(ordinal)));
        ordinals.sort_unstable();
        ordinals.dedup();
        all |= RoaringBitmap::from_sorted_iter(ordinals).expect("ordinals are ascending");
    }
    all
}
