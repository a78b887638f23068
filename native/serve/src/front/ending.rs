//! How calls end: statuses as headers, and the bodies of answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame};
use tonic::{Code, Status};

use super::call::{Driver, Step};
use crate::caller::REQUEST_ID;
use crate::failure::Failure;
use crate::wire::trailers;

const ENCODINGS: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The status that ends a call, and the one message of an answer.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Of the status.
    pub code: Code,
    message: Option<Bytes>,
    /// `grpc-status` and the like.
    trailers: HeaderMap,
}

impl Ending {
    /// OK, with one message that is framed.
    pub(super) fn answer(message: Bytes, request_id: &HeaderValue) -> Self {
        Self { code: Code::Ok, message: Some(message), trailers: trailers(request_id) }
    }

    /// A status, and what goes with it.
    pub fn status(
        code: Code,
        message: &str,
        metadata: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Self {
        let mut ending = Self::from(&Status::new(code, message));
        ending.trailers.extend(metadata);
        ending
    }

    pub(super) fn late() -> Self {
        Self::from(&Status::deadline_exceeded("Deadline Exceeded"))
    }

    pub(super) fn with_request_id(mut self, request_id: &HeaderValue) -> Self {
        self.trailers.insert(REQUEST_ID, request_id.clone());
        self
    }

    /// The response of a call that has not been answered yet.
    pub(super) fn into_response(self) -> Response<Answer> {
        if self.message.is_some() {
            return response(HeaderMap::with_capacity(2), Answer::ending(self));
        }
        response(self.trailers, Answer::default())
    }
}

impl From<&Status> for Ending {
    fn from(status: &Status) -> Self {
        let mut trailers = HeaderMap::with_capacity(6);
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(crate::wire::STATUS, HeaderValue::from(status.code() as i32));
        }
        Self { code: status.code(), message: None, trailers }
    }
}

impl From<&Failure> for Ending {
    fn from(failure: &Failure) -> Self {
        let (message, details) = failure.status();
        Self::from(&Status::with_details(failure.code, message, details))
    }
}

/// A response to something that is no call.
pub(super) fn not_grpc(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::default());
    *response.status_mut() = status;
    response
}

/// The response of a stream, which begins with this message.
pub(super) fn stream(first: Bytes, driver: Driver) -> Response<Answer> {
    let answer = Answer { message: Some(first), trailers: None, driver: Some(driver) };
    response(HeaderMap::with_capacity(2), answer)
}

fn response(headers: HeaderMap, answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    *response.headers_mut() = headers;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(ENCODINGS, HeaderValue::from_static("identity,gzip"));
    response
}

/// The body of an answer: messages, then trailers.
#[derive(Default)]
pub struct Answer {
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// Of a stream that goes on.
    driver: Option<Driver>,
}

impl Answer {
    fn ending(ending: Ending) -> Self {
        Self { message: ending.message, trailers: Some(ending.trailers), driver: None }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(message) = self.message.take() {
                return Poll::Ready(Some(Ok(Frame::data(message))));
            }
            let Some(driver) = &mut self.driver else {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            };
            match ready!(driver.poll_step(context)) {
                Step::Message(message) => self.message = Some(message),
                Step::End(ending) => *self = Self::ending(ending),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.trailers.is_none() && self.driver.is_none()
    }
}
