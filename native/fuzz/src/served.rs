//! A search port without a socket, with an index of every family and of exact vectors, each under its own name.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use lookalike_core::Family;
use lookalike_core::chunk::Rerank;
use lookalike_core::threads::Stop;
use lookalike_serve::port::registry::Published;
use lookalike_serve::port::vectors::{Rows, Vectors};
use lookalike_serve::port::{Options, Port};
use tokio::runtime::{Builder, Runtime};

use crate::small;

/// Generations: the first keeps its vectors exactly, too.
pub const NAMES: [&str; 4] = ["g", "learned", "planes", "polytope"];
/// Enough for buckets.
const ITEMS: u64 = 400;
const FORMS: [(Family, Rerank); 4] = [
    (Family::Learned, Rerank::Int8),
    (Family::Learned, Rerank::F32),
    (Family::Hyperplane, Rerank::F16),
    (Family::CrossPolytope, Rerank::Int8),
];

/// The port. A position that is not reached is not waited for.
pub static PORT: LazyLock<Port> = LazyLock::new(|| {
    let options = Options { position_wait: Duration::ZERO, ..small::options() };
    let port = Port::new(options).expect("threads for a port");
    let shared = port.shared();
    for (name, (family, rerank)) in NAMES.into_iter().zip(FORMS) {
        let exact = Arc::new(Exact(small::vectors(ITEMS))) as Arc<dyn Vectors>;
        let published = Published {
            index: small::index(family, rerank, ITEMS),
            model_version: "m".to_owned(),
            positions: BTreeMap::from([(0, 7), (3, 9)]),
            vectors: (name == NAMES[0]).then_some(exact),
        };
        shared.registry.publish(name.to_owned(), published);
    }
    shared.registry.loaded();
    shared.health.set("", true);
    port
});

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

/// Waits for a call.
pub fn wait<T>(call: impl Future<Output = T>) -> T {
    RUNTIME.block_on(call)
}

struct Exact(Vec<f32>);

impl Vectors for Exact {
    fn read(&self, numbers: &[u64], _: &Stop, take: &mut (dyn FnMut(Rows) + Send)) -> Result<(), String> {
        for part in numbers.chunks(100) {
            let row = |number: &u64| &self.0[*number as usize * small::DIM..][..small::DIM];
            take(Rows {
                numbers: part.to_vec(),
                item_ids: part.iter().map(|number| small::item_id(*number)).collect(),
                products: part.iter().map(|number| number / 2).collect(),
                vectors: part.iter().flat_map(row).copied().collect(),
            });
        }
        Ok(())
    }
}

/// The body of a call, as it arrives in two parts.
pub struct Parts(Vec<Bytes>);

impl Parts {
    /// The same bytes, cut at a place that depends on them.
    pub fn of(bytes: &[u8]) -> Self {
        let at = bytes.first().map_or(0, |first| usize::from(*first) % (bytes.len() + 1));
        let (start, end) = bytes.split_at(at);
        Self(vec![Bytes::copy_from_slice(end), Bytes::copy_from_slice(start)])
    }
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop().map(|part| Ok(Frame::data(part))))
    }
}
