//! What is served: the shard's identity and its generations, as Python publishes them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use lookalike_core::HashIndex;
use tokio::sync::watch;

use super::checks::{check_generation_name, check_target};
use super::vectors::Vectors;
use crate::failure::Failure;
use crate::v1::ShardIdentity;

/// Lane → position of the log.
pub type Positions = BTreeMap<u32, u64>;

/// What the shard is, as in `hasher.identity`; `installation_id` is empty until a first generation is created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The installation that it belongs to.
    pub installation_id: String,
    /// Its number.
    pub shard: u32,
    /// Shards that there are.
    pub shard_count: u32,
    /// The epoch of that layout.
    pub layout_epoch: u64,
}

impl Identity {
    /// The shard's number, how many there are, and the epoch.
    pub fn layout(&self) -> (u32, u32, u64) {
        (self.shard, self.shard_count, self.layout_epoch)
    }
}

/// What a generation is published with.
pub struct Published {
    /// Its index, whose documents are encoded hits without scores.
    pub index: Arc<HashIndex>,
    /// The model of its vectors.
    pub model_version: String,
    /// Positions that its index rests on.
    pub positions: Positions,
    /// The vectors as they were written, if the index keeps them rounded.
    pub vectors: Option<Arc<dyn Vectors>>,
}

/// A generation that is searched.
pub struct Generation {
    /// Its index.
    pub index: Arc<HashIndex>,
    /// The model of its vectors.
    pub model_version: String,
    /// The vectors as they were written, if the index keeps them rounded.
    pub vectors: Option<Arc<dyn Vectors>>,
    positions: watch::Sender<Positions>,
}

impl Generation {
    fn new(published: Published) -> Self {
        let Published { index, model_version, positions, vectors } = published;
        Self { index, model_version, vectors, positions: watch::Sender::new(positions) }
    }

    /// The position of lane 0 that searches rest on.
    pub fn position(&self) -> u64 {
        self.positions.borrow().get(&0).copied().unwrap_or_default()
    }

    /// Waits until searches rest on at least these positions.
    ///
    /// # Errors
    ///
    /// They do not within `most`.
    pub async fn reach(&self, wanted: &Positions, most: Duration) -> Result<(), Failure> {
        let reached = |now: &Positions| {
            wanted.iter().all(|(lane, position)| now.get(lane).copied().unwrap_or_default() >= *position)
        };
        if reached(&self.positions.borrow()) {
            return Ok(());
        }
        let mut changes = self.positions.subscribe();
        if tokio::time::timeout(most, changes.wait_for(reached)).await.is_ok() {
            return Ok(());
        }
        let now = self.positions.borrow().clone();
        let message =
            format!("position {} is not reached: the generation is at {}", words(wanted), words(&now));
        let failure = Failure::unavailable("LOG_POSITION_NOT_REACHED", message, Duration::ZERO);
        Err(failure.at("min_positions").with("position", now.get(&0).copied().unwrap_or_default()))
    }
}

fn words(positions: &Positions) -> String {
    let word = |(lane, position): (&u32, &u64)| match lane {
        0 => position.to_string(),
        lane => format!("{position} of lane {lane}"),
    };
    positions.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// Everything that is served.
#[derive(Default)]
pub struct Registry(RwLock<Contents>);

#[derive(Default)]
struct Contents {
    identity: Identity,
    /// Why nothing is answered yet; empty: something is.
    unloaded: String,
    generations: HashMap<String, Arc<Generation>>,
}

impl Registry {
    /// One that is not loaded yet, for this reason.
    pub fn new(identity: Identity, unloaded: &str) -> Self {
        let contents = Contents { identity, unloaded: unloaded.to_owned(), generations: HashMap::new() };
        Self(RwLock::new(contents))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Contents) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets what the shard is.
    pub fn set_identity(&self, identity: Identity) {
        self.change(|contents| contents.identity = identity);
    }

    /// Answers from now on.
    pub fn loaded(&self) {
        self.change(|contents| contents.unloaded.clear());
    }

    /// Serves a generation, in place of one of that name.
    pub fn publish(&self, name: String, published: Published) {
        let generation = Arc::new(Generation::new(published));
        self.change(|contents| contents.generations.insert(name, generation));
    }

    /// Says on which positions the searches of a generation rest now; of an unknown one it says nothing.
    pub fn advance(&self, name: &str, positions: Positions) {
        if let Some(generation) = self.get(name) {
            generation.positions.send_replace(positions);
        }
    }

    /// Serves a generation no more; searches that have begun go on.
    pub fn withdraw(&self, name: &str) {
        drop(self.change(|contents| contents.generations.remove(name)));
    }

    fn get(&self, name: &str) -> Option<Arc<Generation>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).generations.get(name).cloned()
    }

    /// The generation that a request is for.
    ///
    /// # Errors
    ///
    /// The shard is still loading, the request is meant for another one, or there is no such generation.
    pub fn generation(&self, target: Option<&ShardIdentity>, name: &str) -> Result<Arc<Generation>, Failure> {
        let contents = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if !contents.unloaded.is_empty() {
            let message = format!("the shard cannot answer yet: {}", contents.unloaded);
            return Err(Failure::unavailable("SHARD_UNAVAILABLE", message, Duration::from_secs(1)));
        }
        check_target(target, &contents.identity)?;
        check_generation_name(name)?;
        let found = contents.generations.get(name).cloned();
        found.ok_or_else(|| {
            Failure::not_found("COLLECTION_NOT_FOUND", format!("no generation {name} on this shard"))
        })
    }
}
