//! The document of each item: opaque bytes that searches answer with, by ordinal.
//!
//! Documents lie one after another in pages of a few, which snapshots share. A page in memory is written again when it
//! gets or loses a document, so that no space is left over. A page of a mapped file is written again in memory when it
//! gets one; what it loses only stays unread, as a copy of the others would take memory for space on the disk.

use std::array;
use std::sync::Arc;

use crate::memory::{Buffer, BufferMut};

/// Most bytes of a document.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 24;

/// Documents of a page: the most that changing one has to copy.
const PAGE: usize = 8;
/// Pages of a group: the most whose places changing one has to copy.
const GROUP: usize = 64;

/// The documents of consecutive ordinals.
#[derive(Clone, Debug, Default)]
struct Page {
    /// None where there is no document.
    bytes: Option<Buffer>,
    /// Where in `bytes` each ends; the next begins there.
    ends: [u32; PAGE],
    /// Those that there are: bit `i` for slot `i`.
    used: u8,
}

impl Page {
    fn packed(documents: [&[u8]; PAGE]) -> Self {
        let mut page = Self::default();
        let size = documents.iter().map(|document| document.len()).sum();
        let mut bytes = BufferMut::zeroed(size);
        let mut end = 0;
        for (slot, document) in documents.into_iter().enumerate() {
            bytes.bytes_mut()[end..end + document.len()].copy_from_slice(document);
            end += document.len();
            page.ends[slot] = end as u32;
            page.used |= u8::from(!document.is_empty()) << slot;
        }
        page.bytes = (size > 0).then(|| bytes.freeze().slice(0..size));
        page
    }

    fn get(&self, slot: usize) -> &[u8] {
        match &self.bytes {
            Some(bytes) if self.has(slot) => {
                let start = if slot == 0 { 0 } else { self.ends[slot - 1] };
                &bytes[start as usize..self.ends[slot] as usize]
            }
            _ => &[],
        }
    }

    fn has(&self, slot: usize) -> bool {
        self.used >> slot & 1 == 1
    }

    fn all(&self) -> [&[u8]; PAGE] {
        array::from_fn(|slot| self.get(slot))
    }

    fn remove(&mut self, slot: usize) {
        self.used &= !(1 << slot);
        if self.used == 0 {
            *self = Self::default();
        } else if self.bytes.as_ref().is_some_and(|bytes| !bytes.is_mapped()) {
            *self = Self::packed(self.all());
        }
    }
}

type Group = [Page; GROUP];

/// The documents of all items, by ordinal. Clones are cheap and independent.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    groups: Vec<Option<Arc<Group>>>,
    /// Of the documents alone.
    bytes: usize,
}

impl Documents {
    /// Some documents with the ordinals 0, 1, 2, …; an empty one is none.
    pub fn of<'a>(documents: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut new = Self::default();
        new.insert((0..).zip(documents));
        new
    }

    /// Documents of these lengths, one after another in `bytes`, with the ordinals 0, 1, 2, …
    ///
    /// Panics if they are longer.
    pub fn in_buffer(lengths: &[u32], bytes: &Buffer) -> Self {
        let mut new = Self { bytes: bytes.len(), ..Self::default() };
        let mut start = 0;
        for (number, lengths) in lengths.chunks(PAGE).enumerate() {
            let mut page = Page::default();
            let mut size = 0;
            for (slot, length) in lengths.iter().enumerate() {
                size += *length;
                page.ends[slot] = size;
                page.used |= u8::from(*length > 0) << slot;
            }
            if page.used > 0 {
                page.bytes = Some(bytes.slice(start..start + size as usize));
                *new.page_mut((number * PAGE) as u32) = page;
            }
            start += size as usize;
        }
        new
    }

    /// The document of an ordinal; empty where there is none.
    pub fn get(&self, ordinal: u32) -> &[u8] {
        let (group, page, slot) = place(ordinal);
        self.groups.get(group).and_then(Option::as_ref).map_or(&[], |group| group[page].get(slot))
    }

    /// Gives ordinals their documents, in place of those that they may have; an empty one changes nothing.
    pub fn insert<'a>(&mut self, documents: impl IntoIterator<Item = (u32, &'a [u8])>) {
        let mut new: Vec<_> = documents.into_iter().filter(|(_, document)| !document.is_empty()).collect();
        new.sort_unstable_by_key(|(ordinal, _)| *ordinal);
        for new in new.chunk_by(|(a, _), (b, _)| *a as usize / PAGE == *b as usize / PAGE) {
            let page = self.page_mut(new[0].0);
            let old = page.all();
            let mut documents = old;
            new.iter().for_each(|(ordinal, document)| documents[place(*ordinal).2] = *document);
            let size = |documents: &[&[u8]; PAGE]| documents.iter().map(|one| one.len()).sum::<usize>();
            let (before, after) = (size(&old), size(&documents));
            *page = Page::packed(documents);
            self.bytes = self.bytes - before + after;
        }
    }

    /// Removes the documents of ordinals; those without one are passed over.
    pub fn remove(&mut self, ordinals: &[u32]) {
        for ordinal in ordinals {
            let (at, number, slot) = place(*ordinal);
            let Some(Some(group)) = self.groups.get_mut(at) else { continue };
            if !group[number].has(slot) {
                continue;
            }
            self.bytes -= group[number].get(slot).len();
            let pages = Arc::make_mut(group);
            pages[number].remove(slot);
            if pages.iter().all(|page| page.used == 0) {
                self.groups[at] = None;
            }
        }
    }

    /// Memory in use, about, mapped files included; what snapshots share counts in each.
    pub fn bytes(&self) -> usize {
        self.bytes + self.groups.iter().flatten().count() * size_of::<Group>()
    }

    fn page_mut(&mut self, ordinal: u32) -> &mut Page {
        let (group, page, _) = place(ordinal);
        if self.groups.len() <= group {
            self.groups.resize(group + 1, None);
        }
        let group = self.groups[group].get_or_insert_with(|| Arc::new(array::from_fn(|_| Page::default())));
        &mut Arc::make_mut(group)[page]
    }
}

/// Group, page within it, and slot within that.
fn place(ordinal: u32) -> (usize, usize, usize) {
    let ordinal = ordinal as usize;
    (ordinal / (GROUP * PAGE), ordinal / PAGE % GROUP, ordinal % PAGE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    type Model = BTreeMap<u32, Vec<u8>>;

    fn check(documents: &Documents, model: &Model) {
        for ordinal in (0..2_100).chain([1 << 20, u32::MAX]) {
            assert_eq!(documents.get(ordinal), model.get(&ordinal).map_or(&[][..], Vec::as_slice));
        }
        let groups = documents.groups.iter().flatten().count();
        let used: std::collections::BTreeSet<u32> = model.keys().map(|ordinal| ordinal / 512).collect();
        assert_eq!((documents.bytes, groups), (model.values().map(Vec::len).sum(), used.len()));
    }

    /// Documents in a mapped file.
    fn mapped(model: &Model) -> Documents {
        let mut file = tempfile::tempfile().unwrap();
        model.values().for_each(|document| file.write_all(document).unwrap());
        let end = model.last_key_value().map_or(0, |(last, _)| last + 1);
        let lengths: Vec<u32> =
            (0..end).map(|ordinal| model.get(&ordinal).map_or(0, |document| document.len() as u32)).collect();
        let size = lengths.iter().sum::<u32>() as usize;
        Documents::in_buffer(&lengths, &Buffer::map(&file, 0..size).unwrap())
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(Vec<(u32, u8)>),
        Remove(Vec<u32>),
        Map,
    }

    fn step() -> impl Strategy<Value = Step> {
        // Near each other, and in other groups.
        let ordinal = || prop_oneof![0..40u32, 500..530u32, 0..2_000u32];
        prop_oneof![
            3 => prop::collection::vec((ordinal(), 0..90u8), 0..30).prop_map(Step::Insert),
            3 => prop::collection::vec(ordinal(), 0..30).prop_map(Step::Remove),
            1 => Just(Step::Map),
        ]
    }

    proptest! {
        #[test]
        fn a_map_of_bytes(steps in prop::collection::vec(step(), 1..30)) {
            let (mut documents, mut model) = (Documents::default(), Model::new());
            let mut before = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(new) => {
                        let new: Model =
                            new.into_iter().map(|(at, size)| (at, vec![size ^ at as u8; size.into()])).collect();
                        documents.insert(new.iter().map(|(ordinal, document)| (*ordinal, &document[..])));
                        model.extend(new.into_iter().filter(|(_, document)| !document.is_empty()));
                    }
                    Step::Remove(ordinals) => {
                        documents.remove(&ordinals);
                        model.retain(|ordinal, _| !ordinals.contains(ordinal));
                    }
                    Step::Map => documents = mapped(&model),
                }
                check(&documents, &model);
                before.push((documents.clone(), model.clone()));
            }
            // Earlier snapshots are as they were.
            before.iter().for_each(|(documents, model)| check(documents, model));
        }
    }

    #[test]
    fn what_leaves_a_mapped_page_takes_no_memory_and_the_rest_stays_there() {
        let model: Model = (0..64).map(|ordinal| (ordinal, vec![7; 100])).collect();
        let mut documents = mapped(&model);
        let in_file = |documents: &Documents| {
            let pages = documents.groups.iter().flatten().flat_map(|group| group.iter());
            pages.filter_map(|page| page.bytes.as_ref()).map(Buffer::is_mapped).collect::<Vec<_>>()
        };
        documents.remove(&[1, 2, 8, 63]);
        assert_eq!(in_file(&documents), [true; 8]);
        documents.insert([(8, &b"new"[..])]);
        assert_eq!(in_file(&documents), [true, false, true, true, true, true, true, true]);
        documents.remove(&(0..64).collect::<Vec<_>>());
        assert_eq!((in_file(&documents).len(), documents.bytes()), (0, 0));
    }
}
