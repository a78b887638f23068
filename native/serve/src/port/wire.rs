//! gRPC's framing: one message in, one message or a status out.
//!
//! tonic's own codecs take the whole message in before anything can refuse it, and say OUT_OF_RANGE where gRPC's other
//! servers say RESOURCE_EXHAUSTED; here the size is known as soon as its four bytes are.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::{Body as _, Frame};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::failure::Failure;

/// The id that finds one call in the logs of all services.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const HEADER_BYTES: usize = 5;
/// How long a message may be on its way: who begins a call has it at hand.
const ARRIVAL: Duration = Duration::from_secs(10);

/// The time that the caller gives.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count.checked_mul(3600)?),
        "M" => Duration::from_secs(count.checked_mul(60)?),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Why a message could not be received.
#[derive(Debug)]
pub enum NotReceived {
    /// The connection broke, or its peer does not speak gRPC.
    Status(Status),
    /// The receiver does not want it.
    Refused(Failure),
}

impl NotReceived {
    fn status(code: Code, message: impl Into<String>) -> Self {
        Self::Status(Status::new(code, message))
    }
}

/// Receives the one message of a call, as long as `accept` agrees to the bytes that arrive: what only says that it is
/// large takes nothing from others.
///
/// # Errors
///
/// It does not arrive whole or in time, is larger than `most`, compressed, or refused.
pub async fn receive(
    body: Body,
    most: usize,
    accept: impl FnMut(usize) -> Result<(), Failure>,
) -> Result<Bytes, NotReceived> {
    let late = |_| NotReceived::status(Code::DeadlineExceeded, "the message did not arrive in time");
    tokio::time::timeout(ARRIVAL, arrived(body, most, accept)).await.map_err(late)?
}

async fn arrived(
    mut body: Body,
    most: usize,
    mut accept: impl FnMut(usize) -> Result<(), Failure>,
) -> Result<Bytes, NotReceived> {
    let (mut data, mut size) = (BytesMut::new(), None);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(part) = frame.map_err(NotReceived::Status)?.into_data() else { continue };
        let of_message = |bytes: usize| bytes.saturating_sub(HEADER_BYTES);
        let arrived = of_message(data.len() + part.len()) - of_message(data.len());
        accept(arrived).map_err(NotReceived::Refused)?;
        if data.is_empty() && part.len() > HEADER_BYTES && body.is_end_stream() {
            // Nearly all come in one piece, which needs no copy.
            let size = check(&part, most)?;
            return whole(part, size.unwrap_or_default());
        }
        data.put(part);
        size = match size {
            None => check(&data, most)?,
            size => size,
        };
        if size.is_some_and(|size| data.len() > HEADER_BYTES + size) {
            return Err(NotReceived::status(Code::Internal, "there is more than one message"));
        }
    }
    match size {
        Some(size) => whole(data.freeze(), size),
        None => Err(NotReceived::status(Code::Internal, "there is no message")),
    }
}

/// The size of a message, once its header is there.
fn check(data: &[u8], most: usize) -> Result<Option<usize>, NotReceived> {
    let Some(([compressed, size @ ..], _)) = data.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes(*size) as usize;
    if *compressed != 0 {
        return Err(NotReceived::status(Code::Unimplemented, "compressed messages are not supported"));
    }
    if size > most {
        let message = format!("SERVER: Received message larger than max ({size} vs. {most})");
        return Err(NotReceived::status(Code::ResourceExhausted, message));
    }
    Ok(Some(size))
}

fn whole(data: Bytes, size: usize) -> Result<Bytes, NotReceived> {
    if data.len() != HEADER_BYTES + size {
        return Err(NotReceived::status(Code::Internal, "the message is not as long as it says"));
    }
    Ok(data.slice(HEADER_BYTES..))
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
pub fn message(content: &[u8], request_id: &HeaderValue) -> Response<Body> {
    let trailers = trailers(request_id);
    response(Body::new(Message { content: Some(framed(content)), trailers: Some(trailers) }))
}

/// An answer that ends with a status and has no message.
pub fn failure(failure: &Failure, request_id: &HeaderValue) -> Response<Body> {
    let (message, details) = failure.status();
    let mut metadata = HeaderMap::with_capacity(1);
    metadata.insert(REQUEST_ID, request_id.clone());
    let metadata = MetadataMap::from_headers(metadata);
    Status::with_details_and_metadata(failure.code, message, details, metadata).into_http()
}

/// An answer whose body is that of a stream.
pub fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A message with its header in front.
pub fn framed(content: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + content.len());
    out.put_u8(0);
    out.put_u32(content.len() as u32);
    out.put_slice(content);
    out.freeze()
}

/// One message, then the trailers.
struct Message {
    content: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Message {
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
