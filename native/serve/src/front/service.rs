//! A call on its way in: what is refused, what is received, and what is handed over.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method as Verb, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tonic::{Code, Status};

use super::call::{About, Driver, Step};
use super::client::Client;
use super::counts::{Cause, Kind, Method};
use super::draining::drain;
use super::ending::{Answer, Ending, not_grpc, stream};
use super::{Phase, Shared};
use crate::caller::{NOTICED, code_of_cancelled, is_retry, request_id, timeout};
use crate::failure::Failure;
use crate::messages::{Messages, NotReceived};
use crate::wire::receive;

const ENCODING: &str = "grpc-encoding";
/// What a connection has not sent may be as large as so many of the largest messages before it gets no more calls.
const MOST_UNSENT_MESSAGES: usize = 4;

/// How a call ends that is not handed over.
type Refused = Box<Ending>;

/// Answers a request of a connection.
pub(super) async fn respond(
    shared: Arc<Shared>,
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Response<Answer> {
    if let Some(status) = no_call(&request) {
        return not_grpc(status);
    }
    let Some(method) = shared.counts.method(request.uri().path()) else {
        let ending = Ending::from(&Status::unimplemented("Method not found!"));
        return ending.with_request_id(&request_id(request.headers())).into_response();
    };
    let (head, body) = request.into_parts();
    let mut arriving = Arriving::begin(&shared, &client, method, &head.headers);
    match arriving.answer(head.headers, body).await {
        Ok(response) => response,
        Err(ending) => arriving.end(*ending),
    }
}

/// The status of what no gRPC client sends.
fn no_call(request: &Request<Incoming>) -> Option<StatusCode> {
    if request.method() != Verb::POST {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    let content = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_grpc = matches!(content.strip_prefix(b"application/grpc"), Some([] | [b'+' | b';', ..]));
    (!is_grpc).then_some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

/// A call until it is handed over; what it took is given back when it is dropped before.
struct Arriving<'a> {
    shared: &'a Arc<Shared>,
    client: &'a Arc<Client>,
    method: &'a Method,
    request_id: HeaderValue,
    deadline: Option<Instant>,
    request_bytes: u64,
    code: Option<Code>,
    is_handed_over: bool,
}

impl<'a> Arriving<'a> {
    fn begin(
        shared: &'a Arc<Shared>,
        client: &'a Arc<Client>,
        method: &'a Method,
        headers: &HeaderMap,
    ) -> Self {
        if is_retry(headers) {
            method.retried.fetch_add(1, Relaxed);
        }
        let deadline = timeout(headers).and_then(|timeout| Instant::now().checked_add(timeout));
        Self {
            shared,
            client,
            method,
            request_id: request_id(headers),
            deadline,
            request_bytes: 0,
            code: None,
            is_handed_over: false,
        }
    }

    async fn answer(&mut self, headers: HeaderMap, body: Incoming) -> Result<Response<Answer>, Refused> {
        if let Err(refused) = self.admit() {
            drain(body);
            return Err(refused);
        }
        let is_gzip = is_gzip(&headers)?;
        let mut messages = Messages::new(body, self.shared.most_message_bytes, is_gzip);
        let served = &self.method.served;
        let request = if served.streams_requests {
            Bytes::new()
        } else {
            match self.receive(&mut messages).await {
                Ok(request) => request,
                Err(refused) => {
                    drain(messages.into_body());
                    return Err(refused);
                }
            }
        };
        let requests = served.streams_requests.then_some(messages);
        let mut driver = self.hand_over(headers, request, requests)?;
        if !served.streams_requests && !served.streams_responses {
            let Step::End(ending) =
                self.in_time(driver.step()).await.unwrap_or_else(|| Step::End(driver.late()))
            else {
                unreachable!("a call without streams sends no message of one")
            };
            return Ok(ending.into_response());
        }
        if let Some(deadline) = self.deadline {
            driver.end_at(noticed(deadline));
        }
        Ok(match driver.step().await {
            Step::End(ending) => ending.into_response(),
            Step::Message(first) => stream(first, driver),
        })
    }

    /// Looks whether there is room for it, before anything of it is read.
    fn admit(&self) -> Result<(), Refused> {
        let kind = self.method.served.kind;
        if kind != Kind::Probe && self.shared.is_stopping() {
            return Err(self.refused(Cause::Stopping));
        }
        self.look_whether_it_reads()?;
        if let Some(ending) = self.method.beyond_limit() {
            self.shared.counts.count_refusal(kind, Cause::Limited);
            return Err(Box::new(ending));
        }
        let full = self.shared.counts.is_full(&self.method.served);
        full.map_or(Ok(()), |cause| {
            self.shared.counts.count_refusal(kind, cause);
            // What is there already is too much, whatever the size of this one.
            Err(Box::new(self.method.refusal(Cause::TooMany)))
        })
    }

    /// A call gives its place back when it is answered; where nobody reads, answers would pile up.
    fn look_whether_it_reads(&self) -> Result<(), Refused> {
        let is_probe = self.method.served.kind == Kind::Probe;
        let most = MOST_UNSENT_MESSAGES * self.shared.most_message_bytes;
        if is_probe || self.client.unsent() <= most { Ok(()) } else { Err(self.refused(Cause::Unread)) }
    }

    fn refused(&self, cause: Cause) -> Refused {
        self.shared.counts.count_refusal(self.method.served.kind, cause);
        Box::new(self.method.refusal(cause))
    }

    async fn receive(&mut self, messages: &mut Messages<Incoming>) -> Result<Bytes, Refused> {
        let (shared, deadline) = (self.shared, self.deadline);
        let is_counted = self.method.served.kind == Kind::Call;
        let taken = &mut self.request_bytes;
        let accept = |bytes: usize| {
            let bytes = if is_counted { bytes as u64 } else { 0 };
            *taken += bytes;
            // The failure is not looked at: the refusal is ready.
            if shared.counts.take_bytes(bytes) { Ok(()) } else { Err(Failure::shutting_down()) }
        };
        let mut phases = shared.phase.subscribe();
        let received = tokio::select! {
            biased;
            received = in_time(deadline, receive(messages, shared.idle, accept)) => received,
            _ = phases.wait_for(|phase| *phase >= Phase::Closing) => return Err(self.refused(Cause::Stopping)),
        };
        received.ok_or_else(|| Box::new(Ending::late()))?.map_err(|error| match error {
            NotReceived::Status(status) => Box::new(Ending::from(&status)),
            NotReceived::Refused(_) => self.refused(Cause::TooLarge),
        })
    }

    /// Only now it counts: a call that never comes whole must not take the place of one that does.
    fn hand_over(
        &mut self,
        headers: HeaderMap,
        request: Bytes,
        requests: Option<Messages<Incoming>>,
    ) -> Result<Driver, Refused> {
        self.look_whether_it_reads()?;
        if !self.shared.counts.enter(self.method) {
            return Err(self.refused(Cause::TooMany));
        }
        self.is_handed_over = true;
        let about = About {
            number: self.shared.next.fetch_add(1, Relaxed),
            method: self.method.number,
            request_id: self.request_id.clone(),
            headers,
            request,
            deadline: self.deadline,
            arrived: Instant::now(),
            peer: self.client.peer,
        };
        Ok(Driver::begin(self.shared, self.client, about, self.request_bytes, requests))
    }

    fn in_time<T>(&self, work: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
        in_time(self.deadline, work)
    }

    fn end(mut self, ending: Ending) -> Response<Answer> {
        self.code = Some(ending.code);
        ending.with_request_id(&self.request_id).into_response()
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        if !self.is_handed_over {
            self.shared.counts.give_bytes(self.request_bytes);
            self.method.count_end(self.code.unwrap_or_else(|| code_of_cancelled(self.deadline)));
        }
    }
}

/// When a call notices that its time is over.
fn noticed(deadline: Instant) -> Instant {
    deadline.checked_sub(NOTICED).unwrap_or(deadline)
}

async fn in_time<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(noticed(deadline).into(), work).await.ok(),
        None => Some(work.await),
    }
}

/// Whether compressed messages are so with gzip.
fn is_gzip(headers: &HeaderMap) -> Result<bool, Refused> {
    match headers.get(ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => {
            let status = Status::unimplemented("messages may be compressed with gzip only");
            Err(Box::new(Ending::from(&status)))
        }
    }
}
