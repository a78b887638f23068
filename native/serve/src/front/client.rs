//! Who calls on a connection, and what of its answers has not been sent yet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

/// The other side of one connection.
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    unsent: AtomicUsize,
}

impl Client {
    pub(super) fn new(peer: SocketAddr) -> Self {
        Self { peer, unsent: AtomicUsize::default() }
    }

    /// A message that is counted until nobody holds it any more.
    ///
    /// Neither hyper nor h2 says when a message has been sent: they take it from the body at once, and h2 keeps it
    /// for as long as the client does not read, be it for its windows or its socket.
    pub(super) fn counted(self: &Arc<Self>, message: Bytes) -> Bytes {
        self.unsent.fetch_add(message.len(), Relaxed);
        Bytes::from_owner(Counted { message, client: Arc::clone(self) })
    }

    /// Size of the messages that are on their way to it.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.load(Relaxed)
    }
}

struct Counted {
    message: Bytes,
    client: Arc<Client>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.client.unsent.fetch_sub(self.message.len(), Relaxed);
    }
}
