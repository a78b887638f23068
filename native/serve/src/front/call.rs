//! One call that was handed over: what is known of it, and what it is answered.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use hyper::body::Incoming;
use tokio::task::AbortHandle;

use super::client::Client;
use super::counts::Method;
use super::ending::Ending;
use super::{Arrival, Note, Shared};
use crate::caller::code_of_cancelled;
use crate::failure::Failure;
use crate::messages::{Messages, NotReceived};
use crate::wire::framed;

/// What a call is.
pub struct About {
    /// Unique.
    pub number: u64,
    /// Place of its method among those that are served.
    pub method: usize,
    /// The caller's, or a new one.
    pub request_id: HeaderValue,
    /// As the caller sent them.
    pub headers: HeaderMap,
    /// The one request; empty where requests are a stream.
    pub request: Bytes,
    /// When the caller gives up.
    pub deadline: Option<Instant>,
    /// When all of the request had arrived, or the headers of a stream.
    pub arrived: Instant,
    /// Who called.
    pub peer: SocketAddr,
}

/// A call for whom it is handed to; dropped before its end it ends as a defect.
pub struct Call(Arc<Inner>);

pub(super) struct Inner {
    about: About,
    shared: Arc<Shared>,
    client: Arc<Client>,
    request_bytes: u64,
    exchange: Mutex<Exchange>,
}

/// What passes between the two sides of a call.
#[derive(Default)]
struct Exchange {
    /// It was ended, or nobody waits any more: nothing that is done has an effect.
    is_over: bool,
    ending: Option<Ending>,
    /// Of a stream, what is to be sent next.
    message: Option<Bytes>,
    /// Whether the next message of a stream was asked for.
    is_wanted: bool,
    waker: Option<Waker>,
}

impl Call {
    /// What it is.
    pub fn about(&self) -> &About {
        &self.0.about
    }

    /// Asks for the next message of a stream of requests, which comes as a note.
    pub fn receive(&self) {
        self.0.change(|exchange| exchange.is_wanted = true);
    }

    /// Sends a message of a stream of answers; false: the one before is still on its way, or there is to be one only.
    pub fn send(&self, message: &[u8]) -> bool {
        let mut has_room = true;
        self.0.change(|exchange| {
            has_room = exchange.message.is_none() && self.0.method().served.streams_responses;
            if has_room {
                exchange.message = Some(self.0.client.counted(framed(message)));
            }
        });
        has_room
    }

    /// Ends it with one message.
    pub fn answer(&self, message: &[u8]) {
        let message = self.0.client.counted(framed(message));
        self.0.end(Ending::answer(message, &self.0.about.request_id));
    }

    /// Counts one that was over before anybody had looked at it.
    pub fn unseen(&self) {
        self.0.method().count_end(code_of_cancelled(self.0.about.deadline));
    }

    /// Ends it with a status.
    pub fn end(&self, ending: Ending) {
        self.0.end(ending.with_request_id(&self.0.about.request_id));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.0.exchange().is_over {
            let request_id = self.0.about.request_id.to_str().unwrap_or_default();
            self.end(Ending::from(&Failure::internal(request_id)));
        }
    }
}

impl Inner {
    fn method(&self) -> &Method {
        &self.shared.counts.methods[self.about.method]
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is to be done, and wakes who does it.
    fn change(&self, change: impl FnOnce(&mut Exchange)) {
        let mut exchange = self.exchange();
        if exchange.is_over {
            return;
        }
        change(&mut exchange);
        let waker = exchange.waker.take();
        drop(exchange);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the call, unless it is over.
    fn end(&self, ending: Ending) -> bool {
        let mut is_first = false;
        self.change(|exchange| {
            (exchange.is_over, exchange.ending) = (true, Some(ending));
            is_first = true;
        });
        if is_first {
            self.shared.counts.leave(self.method(), self.request_bytes);
        }
        is_first
    }

    /// Ends it without the doing of whom it was handed to.
    pub(super) fn cut(&self, ending: Ending) {
        if self.end(ending) {
            self.note(Note::Cancelled);
        }
    }

    fn note(&self, note: Note) {
        (self.shared.on_arrival)(Arrival::Note(self.about.number, note));
    }
}

/// What is to be sent next.
pub(super) enum Step {
    /// A message of a stream.
    Message(Bytes),
    /// The end.
    End(Ending),
}

/// Does what whom a call was handed to wants; dropped before the end: nobody waits any more.
pub(super) struct Driver {
    call: Arc<Inner>,
    requests: Option<Messages<Incoming>>,
    /// Ends a stream at its deadline.
    timer: Option<AbortHandle>,
}

impl Driver {
    /// Hands a call over that has entered, with a stream of requests where there is one.
    pub(super) fn begin(
        shared: &Arc<Shared>,
        client: &Arc<Client>,
        about: About,
        request_bytes: u64,
        requests: Option<Messages<Incoming>>,
    ) -> Self {
        let call = Arc::new(Inner {
            about,
            shared: Arc::clone(shared),
            client: Arc::clone(client),
            request_bytes,
            exchange: Mutex::default(),
        });
        (shared.on_arrival)(Arrival::Call(Call(Arc::clone(&call))));
        Self { call, requests, timer: None }
    }

    /// Ends a stream when its time is over, also where nothing else asks about it as its client does not read.
    pub(super) fn end_at(&mut self, at: Instant) {
        let call = Arc::clone(&self.call);
        let timer = tokio::spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            call.cut(Ending::late().with_request_id(&call.about.request_id));
        });
        self.timer = Some(timer.abort_handle());
    }

    pub(super) async fn step(&mut self) -> Step {
        poll_fn(|context| self.poll_step(context)).await
    }

    pub(super) fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        loop {
            let mut exchange = self.call.exchange();
            if let Some(message) = exchange.message.take() {
                let is_over = exchange.is_over;
                drop(exchange);
                if !is_over {
                    self.call.note(Note::Sent);
                }
                return Poll::Ready(Step::Message(message));
            }
            if let Some(ending) = exchange.ending.take() {
                return Poll::Ready(Step::End(ending));
            }
            match &mut exchange.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            let is_wanted = exchange.is_wanted;
            drop(exchange);
            let Some(requests) = self.requests.as_mut().filter(|_| is_wanted) else {
                return Poll::Pending;
            };
            let Poll::Ready(message) = requests.poll_next(context, &mut |_| Ok(())) else {
                return Poll::Pending;
            };
            self.call.exchange().is_wanted = false;
            match message {
                Ok(Some(message)) => self.call.note(Note::Message(message)),
                Ok(None) => self.call.note(Note::End),
                Err(error) => {
                    let ending = match error {
                        NotReceived::Status(status) => Ending::from(&status),
                        NotReceived::Refused(failure) => Ending::from(&failure),
                    };
                    self.call.cut(ending.with_request_id(&self.call.about.request_id));
                }
            }
        }
    }

    /// Ends the call as one that is too late.
    pub(super) fn late(&self) -> Ending {
        let ending = Ending::late().with_request_id(&self.call.about.request_id);
        self.call.cut(ending.clone());
        ending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.abort();
        }
        self.call.cut(Ending::late());
    }
}
