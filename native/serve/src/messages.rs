//! The messages of a request as they arrive, plain or compressed.

use std::future::poll_fn;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::buf::Reader;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::bufread::GzDecoder;
use http_body::Body;
use tonic::{Code, Status};

use crate::failure::Failure;
use crate::wire::HEADER_BYTES;

/// What is inflated at once: other calls wait that long.
const INFLATED_AT_ONCE: usize = 256 << 10;

/// Why a message could not be received.
#[derive(Debug)]
pub enum NotReceived {
    /// The connection broke, or its peer does not speak gRPC.
    Status(Status),
    /// The receiver does not want it.
    Refused(Failure),
}

impl NotReceived {
    pub(crate) fn status(code: Code, message: impl Into<String>) -> Self {
        Self::Status(Status::new(code, message))
    }

    fn too_large(size: impl std::fmt::Display, most: usize) -> Self {
        let message = format!("SERVER: Received message larger than max ({size} vs. {most})");
        Self::status(Code::ResourceExhausted, message)
    }
}

/// Reads the messages of a body, one after another, and no further than it is asked.
pub struct Messages<B> {
    body: B,
    /// Of the next message, what has arrived.
    data: BytesMut,
    most: usize,
    is_gzip: bool,
    inflating: Option<Inflating>,
    is_over: bool,
}

impl<B> Messages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Messages of at most `most` bytes; `is_gzip` says how those are compressed that are.
    pub fn new(body: B, most: usize, is_gzip: bool) -> Self {
        Self { body, data: BytesMut::new(), most, is_gzip, inflating: None, is_over: false }
    }

    /// The next message; none: there are no more. `accept` is asked about the bytes that arrive, headers included, and
    /// about those that a message has grown by.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        accept: &mut impl FnMut(usize) -> Result<(), Failure>,
    ) -> Poll<Result<Option<Bytes>, NotReceived>> {
        loop {
            if let Some(inflating) = &mut self.inflating {
                let is_whole = inflating.go_on(self.most)?;
                // Asked as it grows: many that are inflated side by side must not be found too large when all are whole.
                accept(inflating.growth()).map_err(NotReceived::Refused)?;
                if !is_whole {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let message = std::mem::take(&mut inflating.into).into();
                self.inflating = None;
                return Poll::Ready(Ok(Some(message)));
            }
            if let Some((is_compressed, size)) = self.header(&self.data)?
                && self.data.len() >= HEADER_BYTES + size
            {
                let content = self.data.split_to(HEADER_BYTES + size).freeze().slice(HEADER_BYTES..);
                if let Some(message) = self.inflated_later(is_compressed, content) {
                    return Poll::Ready(Ok(Some(message)));
                }
                continue;
            }
            if self.is_over {
                return Poll::Ready(self.rest());
            }
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
                self.is_over = true;
                continue;
            };
            let frame = frame.map_err(|error| NotReceived::Status(Status::from_error(error.into())))?;
            let Ok(part) = frame.into_data() else { continue };
            accept(part.len()).map_err(NotReceived::Refused)?;
            if self.data.is_empty()
                && let Some((is_compressed, size)) = self.header(&part)?
                && part.len() == HEADER_BYTES + size
            {
                // Nearly all come in one piece, which needs no copy.
                if let Some(message) = self.inflated_later(is_compressed, part.slice(HEADER_BYTES..)) {
                    return Poll::Ready(Ok(Some(message)));
                }
                continue;
            }
            self.data.put(part);
        }
    }

    /// See [`Self::poll_next`].
    ///
    /// # Errors
    ///
    /// It does not arrive whole, is too large, is compressed in another way, or refused.
    pub async fn next(
        &mut self,
        accept: &mut impl FnMut(usize) -> Result<(), Failure>,
    ) -> Result<Option<Bytes>, NotReceived> {
        poll_fn(|context| self.poll_next(context, accept)).await
    }

    /// Whether it is known that nothing follows.
    pub fn is_end(&self) -> bool {
        self.data.is_empty() && self.inflating.is_none() && (self.is_over || self.body.is_end_stream())
    }

    /// Whether the next message is compressed and its size, once its header is there.
    fn header(&self, data: &[u8]) -> Result<Option<(bool, usize)>, NotReceived> {
        let Some(([compressed, size @ ..], _)) = data.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let size = u32::from_be_bytes(*size) as usize;
        match compressed {
            0 => (),
            1 if self.is_gzip => (),
            1 => {
                return Err(NotReceived::status(
                    Code::Unimplemented,
                    "compressed messages are not supported",
                ));
            }
            _ => {
                return Err(NotReceived::status(Code::Internal, "the message does not begin as one of gRPC"));
            }
        }
        if size > self.most {
            return Err(NotReceived::too_large(size, self.most));
        }
        Ok(Some((*compressed == 1, size)))
    }

    /// Content that is not compressed; none: it is being inflated.
    fn inflated_later(&mut self, is_compressed: bool, content: Bytes) -> Option<Bytes> {
        if !is_compressed {
            return Some(content);
        }
        self.inflating = Some(Inflating::new(content));
        None
    }

    fn rest(&self) -> Result<Option<Bytes>, NotReceived> {
        if self.data.is_empty() {
            return Ok(None);
        }
        Err(NotReceived::status(Code::Internal, "the message is not as long as it says"))
    }
}

/// A message that is being inflated, in steps.
struct Inflating {
    from: GzDecoder<Reader<Bytes>>,
    into: Vec<u8>,
    /// Bytes that were accepted; at first those that it has compressed.
    accepted: usize,
}

impl Inflating {
    fn new(content: Bytes) -> Self {
        let accepted = content.len();
        Self { from: GzDecoder::new(content.reader()), into: vec![], accepted }
    }

    /// Does a step; whether the message is whole.
    fn go_on(&mut self, most: usize) -> Result<bool, NotReceived> {
        let step = INFLATED_AT_ONCE.min(most + 1 - self.into.len());
        let limited = (&mut self.from).take(step as u64).read_to_end(&mut self.into);
        let size = limited.map_err(|error| {
            NotReceived::status(Code::Internal, format!("the message is no gzip: {error}"))
        })?;
        if self.into.len() > most {
            return Err(NotReceived::too_large(format_args!("more than {most}"), most));
        }
        Ok(size < step)
    }

    /// Bytes that are to be accepted since it was asked for last.
    fn growth(&mut self) -> usize {
        let growth = self.into.len().saturating_sub(self.accepted);
        self.accepted += growth;
        growth
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http_body::Frame;

    use super::*;
    use crate::wire::framed;

    /// A body that is there at once.
    struct Whole(Option<Bytes>);

    impl Body for Whole {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
        }
    }

    fn zeros(size: usize) -> Messages<Whole> {
        let mut encoder = GzEncoder::new(vec![], Compression::fast());
        encoder.write_all(&vec![0; size]).unwrap();
        let message = framed(&encoder.finish().unwrap());
        Messages::new(Whole(Some([&[1], &message[1..]].concat().into())), size, true)
    }

    #[tokio::test]
    async fn a_message_is_accepted_as_it_is_inflated() {
        let size = 5 * INFLATED_AT_ONCE + 1;
        let (mut accepted, mut largest) = (0, 0);
        let mut accept = |bytes: usize| {
            (accepted, largest) = (accepted + bytes, largest.max(bytes));
            Ok(())
        };
        let message = zeros(size).next(&mut accept).await.unwrap().unwrap();
        assert_eq!((message.len(), accepted), (size, size + HEADER_BYTES));
        assert!(largest <= INFLATED_AT_ONCE);
    }

    #[tokio::test]
    async fn a_message_that_grows_too_large_is_inflated_no_further() {
        let mut room = 2 * INFLATED_AT_ONCE;
        let mut accept = |bytes: usize| {
            room = room.checked_sub(bytes).ok_or_else(Failure::shutting_down)?;
            Ok(())
        };
        let mut messages = zeros(100 * INFLATED_AT_ONCE);
        assert!(matches!(messages.next(&mut accept).await, Err(NotReceived::Refused(_))));
        assert!(messages.inflating.unwrap().into.len() <= 3 * INFLATED_AT_ONCE);
    }
}
