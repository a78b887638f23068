//! What the rows of a file must be like for an index to work with them.

use roaring::RoaringBitmap;

use super::FILE_NAME;
use crate::chunk::Layout;
use crate::error::{Result, damaged};
use crate::index::bucket::Bucket;
use crate::input::NO_ID;

/// The ordinals of the items that can be found.
///
/// Checks that an ordinal lies at most once in a table and the greatest is the last of `ordinals`; that `live` items
/// can be found, the same under the same ids in all tables; and that each of these has an id of its own.
pub fn findable(tables: &[&[Bucket]], layout: &Layout, live: usize, ordinals: u32) -> Result<RoaringBitmap> {
    let mut items: Option<Vec<(u32, u64)>> = None;
    let mut end = 0;
    for buckets in tables {
        let (mut all, mut found) = (Vec::new(), Vec::new());
        for run in buckets.iter().flat_map(Bucket::runs) {
            let view = run.chunk().view(layout);
            all.extend_from_slice(view.ordinals);
            for row in run.live_rows() {
                let record = view.record(layout, row);
                if record.id() == NO_ID || record.product() == NO_ID {
                    return damaged(format!("{FILE_NAME} has an id or a product that no item can have"));
                }
                if record.error().is_nan() || record.error() < 0.0 {
                    return damaged(format!("{FILE_NAME} has an error out of range"));
                }
                found.push((view.ordinals[row], record.id()));
            }
        }
        // Sorted rather than in a set as large as the greatest, which a damaged file may choose.
        all.sort_unstable();
        end = all.last().map_or(0, |last| u64::from(*last) + 1).max(end);
        if !all.is_sorted_by(|a, b| a < b) {
            return damaged(format!("{FILE_NAME} holds a row twice"));
        }
        found.sort_unstable();
        if found.len() != live {
            return damaged(format!("{FILE_NAME} does not hold the rows that its header says"));
        }
        match &items {
            None => items = Some(found),
            Some(items) if *items == found => {}
            Some(_) => {
                return damaged(format!(
                    "{FILE_NAME} has an item under another id in another table, or not at all"
                ));
            }
        }
    }
    if end != u64::from(ordinals) {
        return damaged(format!("{FILE_NAME} does not hold the ordinals that its header says"));
    }
    let (items, mut ids): (Vec<u32>, Vec<u64>) = items.unwrap_or_default().into_iter().unzip();
    ids.sort_unstable();
    if !ids.is_sorted_by(|a, b| a < b) {
        return damaged(format!("{FILE_NAME} has two items with one id"));
    }
    Ok(RoaringBitmap::from_sorted_iter(items).expect("each ordinal was found once"))
}
