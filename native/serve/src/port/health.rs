//! `grpc.health.v1`: what Python's own health servicer says, on this port.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use prost::Message;
use tokio::sync::{mpsc, watch};
use tonic::Status;

use crate::failure::Failure;
use crate::wire::{decoded, framed};

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;
const SERVICE_UNKNOWN: i32 = 3;

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Response {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The state of each service.
#[derive(Debug)]
pub struct Health {
    states: RwLock<HashMap<String, watch::Sender<i32>>>,
    /// Of all that nobody has named.
    unknown: watch::Sender<i32>,
}

impl Default for Health {
    fn default() -> Self {
        Self { states: RwLock::default(), unknown: watch::Sender::new(SERVICE_UNKNOWN) }
    }
}

impl Health {
    /// Says whether a service can be called.
    pub fn set(&self, service: &str, serving: bool) {
        let state = if serving { SERVING } else { NOT_SERVING };
        let mut states = self.states.write().unwrap_or_else(PoisonError::into_inner);
        states.entry(service.to_owned()).or_insert_with(|| watch::Sender::new(state)).send_replace(state);
    }

    fn subscribe(&self, service: &str) -> watch::Receiver<i32> {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        states.get(service).unwrap_or(&self.unknown).subscribe()
    }

    /// Answers `Check`.
    ///
    /// # Errors
    ///
    /// The message is none, or there is no such service.
    pub fn check(&self, request: Bytes) -> Result<Bytes, Failure> {
        let Request { service } = decoded(request)?;
        let status = *self.subscribe(&service).borrow();
        if status == SERVICE_UNKNOWN {
            return Err(Failure::not_found("ITEM_NOT_FOUND", format!("there is no service {service}")));
        }
        Ok(Response { status }.encode_to_vec().into())
    }

    /// Answers `Watch`, until `stops` says so.
    ///
    /// # Errors
    ///
    /// The message is none.
    pub fn watch<G>(
        &self,
        request: Bytes,
        mut stops: watch::Receiver<bool>,
        guard: G,
    ) -> Result<Changes<G>, Failure> {
        let Request { service } = decoded(request)?;
        let mut states = self.subscribe(&service);
        let (send, messages) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let status = *states.borrow_and_update();
                if send.send(framed(&Response { status }.encode_to_vec())).await.is_err() {
                    return;
                }
                tokio::select! {
                    changed = states.changed() => if changed.is_err() { return },
                    _ = stops.wait_for(|stops| *stops) => return,
                    () = send.closed() => return,
                }
            }
        });
        Ok(Changes { messages, ended: false, guard: Some(guard) })
    }
}

/// The states of one service as the body of an answer.
pub struct Changes<G> {
    messages: mpsc::Receiver<Bytes>,
    ended: bool,
    /// Dropped with the stream's end.
    guard: Option<G>,
}

impl<G: Ended + Unpin> http_body::Body for Changes<G> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(message) = ready!(self.messages.poll_recv(context)) {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        self.ended = true;
        let mut trailers = HeaderMap::new();
        if let Some(guard) = self.guard.take() {
            guard.ended(&mut trailers);
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

/// Who wants to know that a stream has ended by itself.
pub trait Ended {
    /// It has; with the status as it is sent.
    fn ended(self, trailers: &mut HeaderMap);
}
