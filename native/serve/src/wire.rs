//! gRPC's framing: one message in, one message or a status out.
//!
//! tonic's own codecs take the whole message in before anything can refuse it, and say OUT_OF_RANGE where gRPC's other
//! servers say RESOURCE_EXHAUSTED; here the size is known as soon as its four bytes are.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::{Body, Frame};
use tokio::time::{Sleep, sleep};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status, body};

use crate::caller::REQUEST_ID;
use crate::failure::Failure;
use crate::messages::{Messages, NotReceived};

pub(crate) const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// In front of a message: whether it is compressed, and its length.
pub(crate) const HEADER_BYTES: usize = 5;

/// Receives the one message of a call, as long as `accept` agrees to its bytes that arrive: what only says that it is
/// large takes nothing from others.
///
/// # Errors
///
/// It does not arrive whole, or nothing of it for longer than `idle`, is too large, or refused.
pub async fn receive<B>(
    messages: &mut Messages<B>,
    idle: Duration,
    mut accept: impl FnMut(usize) -> Result<(), Failure>,
) -> Result<Bytes, NotReceived>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut of_header = HEADER_BYTES;
    let mut accept = |bytes: usize| {
        let content = bytes.saturating_sub(of_header);
        of_header -= bytes - content;
        accept(content)
    };
    let Some(message) = unless_idle(messages, idle, &mut accept).await? else {
        return Err(NotReceived::status(Code::Internal, "there is no message"));
    };
    if !messages.is_end() && unless_idle(messages, idle, &mut accept).await?.is_some() {
        return Err(NotReceived::status(Code::Internal, "there is more than one message"));
    }
    Ok(message)
}

/// The next message, if parts of it keep arriving.
async fn unless_idle<B>(
    messages: &mut Messages<B>,
    idle: Duration,
    accept: &mut impl FnMut(usize) -> Result<(), Failure>,
) -> Result<Option<Bytes>, NotReceived>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Set where something is waited for, which is rare.
    let mut patience: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        let mut has_arrived = false;
        let message = messages.poll_next(context, &mut |bytes| {
            has_arrived = true;
            accept(bytes)
        });
        if message.is_ready() {
            return message;
        }
        if has_arrived {
            patience = None;
        }
        let patience = patience.get_or_insert_with(|| Box::pin(sleep(idle)));
        let late =
            |()| Err(NotReceived::status(Code::DeadlineExceeded, "the message did not arrive in time"));
        patience.as_mut().poll(context).map(late)
    })
    .await
}

/// The message of a request.
///
/// # Errors
///
/// It is of another type.
pub fn decoded<T: prost::Message + Default>(content: Bytes) -> Result<T, Failure> {
    T::decode(content).map_err(|_| {
        Failure::invalid("the message cannot be decoded: it is not of this method's request type".to_owned())
    })
}

/// What ends an answer that is one.
pub fn trailers(request_id: &HeaderValue) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    trailers.insert(REQUEST_ID, request_id.clone());
    trailers
}

/// An answer that is one message.
pub fn message(content: &[u8], request_id: &HeaderValue) -> Response<body::Body> {
    let trailers = trailers(request_id);
    response(body::Body::new(Message { content: Some(framed(content)), trailers: Some(trailers) }))
}

/// An answer that ends with a status and has no message.
pub fn failure(failure: &Failure, request_id: &HeaderValue) -> Response<body::Body> {
    let (message, details) = failure.status();
    let mut metadata = HeaderMap::with_capacity(1);
    metadata.insert(REQUEST_ID, request_id.clone());
    let metadata = MetadataMap::from_headers(metadata);
    Status::with_details_and_metadata(failure.code, message, details, metadata).into_http()
}

/// An answer whose body is that of a stream.
pub fn response(body: body::Body) -> Response<body::Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A message with its header in front.
pub fn framed(content: &[u8]) -> Bytes {
    framed_parts(&[content])
}

/// A message of several parts with its header in front; fields of a message may be concatenated.
pub fn framed_parts(parts: &[&[u8]]) -> Bytes {
    let size = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = BytesMut::with_capacity(HEADER_BYTES + size);
    out.put_u8(0);
    out.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
    parts.iter().for_each(|part| out.put_slice(part));
    out.freeze()
}

/// One message, then the trailers.
struct Message {
    content: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Body for Message {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let content = self.content.take().map(Frame::data);
        Poll::Ready(content.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }
}
