//! The items that have one term, by ordinal.

use std::borrow::Cow;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::bitset::from_bitset;

/// Ordinals that need no memory of their own: values such as article numbers belong to one item each.
const FEW: usize = 3;
/// A posting of at least this many is merged as a bitmap, a smaller one ordinal by ordinal.
const LARGE: u64 = 1 << 15;
/// Fewer ordinals than this are sorted rather than entered in a bit array.
const SORTED: usize = 2048;

/// A set of ordinals. Clones share large ones.
#[derive(Clone, Debug)]
pub enum Postings {
    /// The first `len` of `ordinals`, ascending.
    Few {
        /// 0 to 3.
        len: u8,
        /// The ordinals.
        ordinals: [u32; FEW],
    },
    /// More.
    Many(Arc<RoaringBitmap>),
}

impl Default for Postings {
    fn default() -> Self {
        Self::Few { len: 0, ordinals: [0; FEW] }
    }
}

impl Postings {
    /// Takes ascending ordinals, each there once.
    pub fn from_sorted(sorted: &[u32]) -> Self {
        if sorted.len() > FEW {
            let bitmap = RoaringBitmap::from_sorted_iter(sorted.iter().copied());
            return Self::Many(Arc::new(bitmap.expect("ordinals are ascending")));
        }
        let mut ordinals = [0; FEW];
        ordinals[..sorted.len()].copy_from_slice(sorted);
        Self::Few { len: sorted.len() as u8, ordinals }
    }

    /// How many ordinals there are.
    pub fn len(&self) -> u64 {
        match self {
            Self::Few { len, .. } => u64::from(*len),
            Self::Many(bitmap) => bitmap.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out `removed`, then adds `inserted`.
    pub fn change(&mut self, removed: impl Iterator<Item = u32>, inserted: impl Iterator<Item = u32>) {
        match self {
            Self::Few { .. } => {
                let removed: Vec<u32> = removed.collect();
                let mut ordinals: Vec<u32> =
                    self.few().iter().copied().filter(|o| !removed.contains(o)).chain(inserted).collect();
                ordinals.sort_unstable();
                ordinals.dedup();
                *self = Self::from_sorted(&ordinals);
            }
            Self::Many(bitmap) => {
                let bitmap = Arc::make_mut(bitmap);
                removed.for_each(|ordinal| {
                    bitmap.remove(ordinal);
                });
                bitmap.extend(inserted);
                if bitmap.len() <= FEW as u64 {
                    *self = Self::from_sorted(&bitmap.iter().collect::<Vec<_>>());
                }
            }
        }
    }

    /// The ordinals as a bitmap.
    pub fn bitmap(&self) -> Cow<'_, RoaringBitmap> {
        match self {
            Self::Few { .. } => Cow::Owned(self.few().iter().collect()),
            Self::Many(bitmap) => Cow::Borrowed(bitmap),
        }
    }

    /// Calls `each` for every ordinal, ascending.
    pub fn for_each(&self, each: impl FnMut(u32)) {
        match self {
            Self::Few { .. } => self.few().iter().copied().for_each(each),
            Self::Many(bitmap) => bitmap.iter().for_each(each),
        }
    }

    fn few(&self) -> &[u32] {
        match self {
            Self::Few { len, ordinals } => &ordinals[..*len as usize],
            Self::Many(_) => &[],
        }
    }

    /// Memory of its own, about.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Few { .. } => 0,
            Self::Many(bitmap) => bitmap_bytes(bitmap),
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
            Postings::Many(bitmap) if bitmap.len() >= LARGE => all |= &**bitmap,
            Postings::Many(bitmap) => {
                count += bitmap.len() as usize;
                greatest = greatest.max(bitmap.max().unwrap_or(0));
            }
            Postings::Few { len, .. } => {
                count += *len as usize;
                greatest = posting.few().iter().copied().max().unwrap_or(0).max(greatest);
            }
        }
    }
    let small = postings.filter(|posting| posting.len() < LARGE);
    // A bit array pays where it is not mostly empty.
    if count >= SORTED && greatest as usize / 64 < count * 4 && greatest < 1 << 31 {
        let mut words = vec![0u64; greatest as usize / 64 + 1];
        small.for_each(|posting| posting.for_each(|o| words[o as usize / 64] |= 1 << (o % 64)));
        all |= from_bitset(&words);
    } else {
        let mut ordinals = Vec::with_capacity(count);
        small.for_each(|posting| posting.for_each(|ordinal| ordinals.push(ordinal)));
        ordinals.sort_unstable();
        ordinals.dedup();
        all |= RoaringBitmap::from_sorted_iter(ordinals).expect("ordinals are ascending");
    }
    all
}
