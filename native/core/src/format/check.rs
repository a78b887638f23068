//! What the rows of a file must be like for an index to work with them.

use super::FILE_NAME;
use crate::error::{Result, damaged};
use crate::filter::Filter;
use crate::index::list::List;
use crate::index::state::State;

/// Every ordinal is in range and lies at most once in a table; those that can be found lie in all tables and
/// have attributes.
pub fn check_rows(state: &State) -> Result<()> {
    let findable = state.attributes.evaluate(&Filter::default());
    let mut end = 0;
    for lists in state.lists.chunks(state.first_table().len()) {
        let (mut all, mut found, mut known) = (Vec::new(), 0, true);
        for run in lists.iter().flat_map(List::runs) {
            let ordinals = run.chunk().view(state.layout()).ordinals;
            all.extend_from_slice(ordinals);
            found += ordinals.len() - run.removed();
            known &= run.live_rows().all(|row| findable.contains(ordinals[row]));
        }
        // Sorted rather than in a set as large as the greatest, which a damaged file may choose.
        all.sort_unstable();
        end = all.last().map_or(0, |last| u64::from(*last) + 1).max(end);
        if !all.is_sorted_by(|a, b| a < b) {
            return damaged(format!("{FILE_NAME} holds a row twice"));
        }
        if !known || [found as u64, findable.len()] != [state.live as u64; 2] {
            return damaged(format!("{FILE_NAME} does not hold the rows that its header says"));
        }
    }
    if end != u64::from(state.ordinals) {
        return damaged(format!("{FILE_NAME} does not hold the ordinals that its header says"));
    }
    Ok(())
}
