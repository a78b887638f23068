//! The stored form: dictionary and rows; bitmaps are made from them again.
//!
//! Little-endian, every number u32: number of terms · for each: parent, length, UTF-8 text · number of runs of
//! consecutive ordinals that have an item · for each, ascending: first ordinal, length · number of items with
//! terms · for each, by ascending ordinal: ordinal, number of terms, terms. The caller keeps a checksum.

use roaring::RoaringBitmap;

use super::base::Base;
use super::terms::{CATEGORIES, FIRST_TERM, NAMES, Terms};
use super::{ItemAttributes, MAX_CATEGORY_DEPTH};
use crate::error::{Result, damaged};

/// What a term is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Category { depth: usize },
    Name,
    Value,
}

/// Appends the stored form.
pub fn write(base: &Base, out: &mut Vec<u8>) {
    let mut put = |value: usize| out.extend_from_slice(&(value as u32).to_le_bytes());
    put(base.terms().len());
    for (_, parent, text) in base.terms().iter() {
        out.extend_from_slice(&parent.to_le_bytes());
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    let mut runs: Vec<[u32; 2]> = Vec::new();
    for ordinal in base.live() {
        match runs.last_mut() {
            Some([first, length]) if *first + *length == ordinal => *length += 1,
            _ => runs.push([ordinal, 1]),
        }
    }
    out.extend_from_slice(&(runs.len() as u32).to_le_bytes());
    out.extend(runs.as_flattened().iter().flat_map(|value| value.to_le_bytes()));
    let rows =
        || base.live().iter().map(|ordinal| (ordinal, base.row(ordinal))).filter(|row| !row.1.is_empty());
    out.extend_from_slice(&(rows().count() as u32).to_le_bytes());
    for (ordinal, row) in rows() {
        out.extend_from_slice(&ordinal.to_le_bytes());
        out.extend_from_slice(&(row.len() as u32).to_le_bytes());
        out.extend(row.iter().flat_map(|term| term.to_le_bytes()));
    }
}

/// Reads the stored form of the items with the ordinals `live`; every byte is checked.
pub fn read(bytes: &[u8], live: &RoaringBitmap) -> Result<Base> {
    let mut input = Input { bytes };
    let (terms, kinds) = read_terms(&mut input)?;
    check_live(&mut input, live)?;
    let mut rows = Vec::new();
    let mut flat = Vec::new();
    for _ in 0..input.u32()? {
        let (ordinal, count) = (input.u32()?, input.u32()? as usize);
        if rows.last().is_some_and(|(last, _)| *last >= ordinal) {
            return damaged("the stored attributes are not in the order of their items");
        }
        if count == 0 || !live.contains(ordinal) {
            return damaged("the stored attributes are of an item that does not exist");
        }
        let start = flat.len();
        flat.extend(
            input.take(count.saturating_mul(4))?.as_chunks().0.iter().map(|v| u32::from_le_bytes(*v)),
        );
        check_row(&flat[start..], &terms, &kinds)?;
        rows.push((ordinal, flat.len()));
    }
    if !input.bytes.is_empty() {
        return damaged("the stored attributes are longer than they say");
    }
    let starts = std::iter::once(0).chain(rows.iter().map(|row| row.1));
    let slices: Vec<(u32, &[u32])> =
        rows.iter().zip(starts).map(|((ordinal, end), start)| (*ordinal, &flat[start..*end])).collect();
    Ok(Base::from_rows(terms, live.clone(), &slices))
}

/// Checks that the runs of ordinals are those of the items.
fn check_live(input: &mut Input<'_>, live: &RoaringBitmap) -> Result<()> {
    let (mut end, mut count) = (0, 0);
    for _ in 0..input.u32()? {
        let (first, length) = (input.u32()?, input.u32()?);
        if length == 0 || first < end {
            return damaged("the items of the stored attributes are not in order");
        }
        end = match first.checked_add(length) {
            Some(end) if live.contains_range(first..end) => end,
            _ => return damaged("the stored attributes have an item that the index does not have"),
        };
        count += u64::from(length);
    }
    if count != live.len() {
        return damaged("the stored attributes do not have all items of the index");
    }
    Ok(())
}

fn read_terms(input: &mut Input<'_>) -> Result<(Terms, Vec<Kind>)> {
    let mut terms = Terms::starting_at(FIRST_TERM);
    let mut kinds: Vec<Kind> = Vec::new();
    for _ in 0..input.u32()? {
        let (parent, length) = (input.u32()?, input.u32()? as usize);
        let Ok(text) = std::str::from_utf8(input.take(length)?) else {
            return damaged("the stored attributes hold text that is not UTF-8");
        };
        let kind = match parent {
            CATEGORIES => Some(Kind::Category { depth: 1 }),
            NAMES => Some(Kind::Name),
            _ => match kinds.get((parent - FIRST_TERM) as usize) {
                Some(Kind::Category { depth }) if *depth < MAX_CATEGORY_DEPTH => {
                    Some(Kind::Category { depth: depth + 1 })
                }
                Some(Kind::Name) => Some(Kind::Value),
                _ => None,
            },
        };
        match kind {
            Some(kind) if terms.find(parent, text).is_none() => kinds.push(kind),
            _ => return damaged("the stored attributes have an impossible dictionary"),
        }
        terms.push(parent, text);
    }
    Ok((terms, kinds))
}

fn check_row(row: &[u32], terms: &Terms, kinds: &[Kind]) -> Result<()> {
    let kind = |term: u32| kinds.get(term.checked_sub(FIRST_TERM)? as usize);
    let (category, values) = row.split_first().map_or((CATEGORIES, &[][..]), |(c, values)| (*c, values));
    let is_category = category == CATEGORIES || matches!(kind(category), Some(Kind::Category { .. }));
    if !is_category || !values.iter().all(|term| kind(*term) == Some(&Kind::Value)) {
        return damaged("the stored attributes name a term that does not exist");
    }
    let mut names: Vec<u32> = values.iter().map(|term| terms.parent(*term)).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return damaged("the stored attributes give an item two values of one attribute");
    }
    Ok(())
}

/// The item of a row, whose texts are looked up with `term` (parent and text).
pub fn item_of<'a>(row: &[u32], term: impl Fn(u32) -> (u32, &'a str)) -> ItemAttributes {
    let (category, values) = row.split_first().map_or((CATEGORIES, &[][..]), |(c, values)| (*c, values));
    let mut path = Vec::new();
    let mut at = category;
    while at != CATEGORIES {
        let (parent, text) = term(at);
        path.push(text.to_owned());
        at = parent;
    }
    path.reverse();
    let values = values.iter().map(|value| {
        let (name, text) = term(*value);
        (term(name).1.to_owned(), text.to_owned())
    });
    ItemAttributes { category: path, values: values.collect() }
}

/// The bytes not yet read.
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        match self.bytes.split_at_checked(count) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => damaged("the stored attributes are shorter than they say"),
        }
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("4 bytes")))
    }
}
