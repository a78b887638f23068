//! Requests that are answered before all of them has come.
//!
//! To drop such a request resets its stream, and what was on its way by then is an error to h2, which forgets most streams
//! that it has reset. After 1,024 of these errors it closes the connection, with all calls that are in progress on it.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use tokio::time::timeout;

/// As much as is on its way at most: a stream's window.
const MOST_BYTES: usize = super::connection::STREAM_WINDOW as usize;
/// A client that sends for longer has not read its answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads what still comes, and drops it.
pub(super) fn drain(mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(timeout(PATIENCE, async move {
        let mut room = MOST_BYTES;
        while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            match room.checked_sub(frame.data_ref().map_or(0, bytes::Bytes::len)) {
                Some(left) => room = left,
                None => break,
            }
        }
    }));
}
