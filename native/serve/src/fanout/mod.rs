//! Searching all shards at once: calls, hedges, waits no longer than is worth while, merges.
//!
//! What it is called with and what it returns are bytes wherever nothing has to look inside: a request is encoded
//! once for all shards, and a hit is passed on as its shard encoded it.

mod breaker;
mod channel;
mod failure;
mod matching;
mod merge;
mod patience;
mod replica;
mod search;
mod shard;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

pub use failure::{Failure, Kind};
pub use matching::Calibration;
pub use merge::{Matching, Merged, Wanted, merge};
pub use replica::answer_of;
pub use search::{Found, Search};

use crate::v1::{HasherServiceSearchRequest, ShardIdentity};
use patience::Patience;
use replica::Replica;
use shard::Shard;

/// Where the shards are, and how they are called.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Shard → `host:port` of the search port of each replica.
    pub shards: Vec<Vec<String>>,
    /// Of the installation, which every call names.
    pub installation_id: String,
    /// Of the layout, which every call names.
    pub layout_epoch: u64,
    /// Limit of one message in either direction.
    pub max_message_bytes: usize,
}

/// Is called with a shard and whether all of its replicas are left alone, when that changes.
pub type OnSilence = Arc<dyn Fn(usize, bool) + Send + Sync>;

/// All shards of the installation.
pub struct Fanout {
    shards: Arc<[Arc<Shard>]>,
    patience: Arc<Mutex<Patience>>,
    io: Handle,
}

/// A search in progress.
#[derive(Debug)]
pub struct Running(AbortHandle);

impl Running {
    /// Ends it, and its calls; nothing is reported of it any more.
    pub fn cancel(&self) {
        self.0.abort();
    }
}

impl Fanout {
    /// Connections are made when they are needed.
    ///
    /// # Errors
    ///
    /// An address is none, or the system has no threads left.
    pub fn new(layout: &Layout, on_silence: &OnSilence) -> io::Result<Self> {
        let io = crate::io::handle()?;
        let shards: io::Result<Vec<_>> =
            (0..layout.shards.len()).map(|number| shard_of(layout, number, on_silence)).collect();
        let shards = shards?.into();
        Ok(Self { shards, patience: Arc::default(), io })
    }

    /// Searches all shards, and calls `done` on the thread of all calls, unless the search is cancelled before.
    pub fn search(&self, search: Search, done: impl FnOnce(Found) + Send + 'static) -> Running {
        let (shards, patience) = (Arc::clone(&self.shards), Arc::clone(&self.patience));
        let task = self.io.spawn(async move {
            let found = AssertUnwindSafe(search::search(shards, patience, search)).catch_unwind().await;
            // Who waits learns of a defect, too.
            let failed = |_| Found { mistake: Some(Failure::new(Kind::Failed)), ..Found::default() };
            done(found.unwrap_or_else(failed));
        });
        Running(task.abort_handle())
    }
}

/// Returns metadata; what cannot be sent as such is left out.
pub fn headers_of(pairs: impl IntoIterator<Item = (String, String)>) -> HeaderMap {
    let sent = |(key, value): (String, String)| {
        Some((HeaderName::try_from(key).ok()?, HeaderValue::try_from(value).ok()?))
    };
    pairs.into_iter().filter_map(sent).collect()
}

fn shard_of(layout: &Layout, number: usize, on_silence: &OnSilence) -> io::Result<Arc<Shard>> {
    let addresses = &layout.shards[number];
    let open = Arc::new(Mutex::new(vec![false; addresses.len()]));
    let replicas: io::Result<Vec<_>> = addresses
        .iter()
        .enumerate()
        .map(|(replica, address)| {
            let (open, on_silence) = (Arc::clone(&open), Arc::clone(on_silence));
            let on_change = Box::new(move |is_open: bool| {
                let mut open = open.lock().expect("nothing panics while it holds the lock");
                let was_silent = open.iter().all(|one| *one);
                open[replica] = is_open;
                let is_silent = open.iter().all(|one| *one);
                if is_silent != was_silent {
                    on_silence(number, is_silent);
                }
            });
            Replica::new(address, layout.max_message_bytes, on_change).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("no address of a replica: {address:?}"))
            })
        })
        .collect();
    Ok(Arc::new(Shard::new(target_of(layout, number)?, replicas?)))
}

/// The identity of a shard, as the field of a request that is appended to it.
fn target_of(layout: &Layout, number: usize) -> io::Result<Bytes> {
    let too_many = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let target = ShardIdentity {
        installation_id: layout.installation_id.clone(),
        shard: u32::try_from(number).map_err(too_many)?,
        shard_count: u32::try_from(layout.shards.len()).map_err(too_many)?,
        layout_epoch: layout.layout_epoch,
    };
    let request = HasherServiceSearchRequest { target: Some(target), ..Default::default() };
    Ok(request.encode_to_vec().into())
}
