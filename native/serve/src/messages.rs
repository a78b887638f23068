//! The messages of a request as they arrive, plain or compressed.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::Body;
use tonic::{Code, Status};

use crate::failure::Failure;
use crate::inflating::Inflating;
use crate::wire::HEADER_BYTES;

/// A message that is being inflated.
type Step = Pin<Box<dyn Future<Output = Result<Inflating, NotReceived>> + Send>>;

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

    pub(crate) fn too_large(size: impl std::fmt::Display, most: usize) -> Self {
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
    inflating: Option<Step>,
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

    /// What the messages come from.
    pub fn into_body(self) -> B {
        self.body
    }

    /// The next message; none: there are no more. `accept` is asked about the bytes that arrive, headers included, and
    /// about those that a message has grown by.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        accept: &mut impl FnMut(usize) -> Result<(), Failure>,
    ) -> Poll<Result<Option<Bytes>, NotReceived>> {
        loop {
            if let Some(step) = &mut self.inflating {
                let inflating = ready!(step.as_mut().poll(context))?;
                self.inflating = None;
                if let Some(message) = self.inflated(inflating, accept)? {
                    return Poll::Ready(Ok(Some(message)));
                }
                continue;
            }
            if let Some((is_compressed, size)) = self.header(&self.data)?
                && self.data.len() >= HEADER_BYTES + size
            {
                let content = self.data.split_to(HEADER_BYTES + size).freeze().slice(HEADER_BYTES..);
                if let Some(message) = self.plain(is_compressed, content, accept)? {
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
                if let Some(message) = self.plain(is_compressed, part.slice(HEADER_BYTES..), accept)? {
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

    /// Content that is not compressed any more; none: it is being inflated.
    fn plain(
        &mut self,
        is_compressed: bool,
        content: Bytes,
        accept: &mut impl FnMut(usize) -> Result<(), Failure>,
    ) -> Result<Option<Bytes>, NotReceived> {
        if !is_compressed {
            return Ok(Some(content));
        }
        self.inflated(Inflating::begun(content, self.most)?, accept)
    }

    /// A message if it is whole; none: it is inflated further.
    fn inflated(
        &mut self,
        mut inflating: Inflating,
        accept: &mut impl FnMut(usize) -> Result<(), Failure>,
    ) -> Result<Option<Bytes>, NotReceived> {
        // Asked as it grows: many that are inflated side by side must not be found too large when all are whole.
        accept(inflating.growth()).map_err(NotReceived::Refused)?;
        if inflating.is_whole() {
            return Ok(Some(inflating.into_message()));
        }
        self.inflating = Some(Box::pin(inflating.elsewhere()));
        Ok(None)
    }

    fn rest(&self) -> Result<Option<Bytes>, NotReceived> {
        if self.data.is_empty() {
            return Ok(None);
        }
        Err(NotReceived::status(Code::Internal, "the message is not as long as it says"))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures_util::FutureExt;
    use http_body::Frame;

    use super::*;
    use crate::inflating::{ELSEWHERE, HERE, TURN};
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
        let size = 5 * ELSEWHERE + 1;
        let (mut accepted, mut largest) = (0, 0);
        let mut accept = |bytes: usize| {
            (accepted, largest) = (accepted + bytes, largest.max(bytes));
            Ok(())
        };
        let message = zeros(size).next(&mut accept).await.unwrap().unwrap();
        assert_eq!((message.len(), accepted), (size, size + HEADER_BYTES));
        assert!(largest <= ELSEWHERE);
    }

    #[tokio::test]
    async fn a_message_that_grows_too_large_is_inflated_no_further() {
        let (room, mut accepted) = (2 * ELSEWHERE, 0);
        let mut accept = |bytes: usize| {
            accepted += bytes;
            if accepted > room { Err(Failure::shutting_down()) } else { Ok(()) }
        };
        let mut messages = zeros(100 * ELSEWHERE);
        assert!(matches!(messages.next(&mut accept).await, Err(NotReceived::Refused(_))));
        assert!(messages.inflating.is_none());
        assert!(accepted <= 3 * ELSEWHERE);
    }

    #[tokio::test]
    async fn what_is_large_takes_its_turn_elsewhere_and_holds_up_nothing_small() {
        let mut accept = |_| Ok(());
        let turn = TURN.acquire().await.unwrap();
        let mut large = zeros(2 * ELSEWHERE);
        assert!(large.next(&mut accept).now_or_never().is_none());
        assert!(zeros(HERE - 1).next(&mut accept).await.is_ok());
        drop(turn);
        assert_eq!(large.next(&mut accept).await.unwrap().unwrap().len(), 2 * ELSEWHERE);
    }
}
