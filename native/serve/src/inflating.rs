//! A message that is compressed with gzip, inflated in steps.

use std::io::Read;

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use flate2::bufread::GzDecoder;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tonic::Code;

use crate::messages::NotReceived;

/// What is inflated where it is received: all other calls of the thread wait that long.
pub(crate) const HERE: usize = 64 << 10;
/// What is inflated at once elsewhere, and then accepted.
pub(crate) const ELSEWHERE: usize = 256 << 10;
/// One step at a time, however many messages there are: the cores are there for other work, too.
pub(crate) static TURN: Semaphore = Semaphore::const_new(1);

/// One that may not be whole yet.
pub(crate) struct Inflating {
    from: GzDecoder<Reader<Bytes>>,
    into: Vec<u8>,
    most: usize,
    /// Bytes that were accepted; at first those that it has compressed.
    accepted: usize,
    is_whole: bool,
}

impl Inflating {
    /// The beginning of one of at most so many bytes.
    pub(crate) fn begun(content: Bytes, most: usize) -> Result<Self, NotReceived> {
        let accepted = content.len();
        let from = GzDecoder::new(content.reader());
        Self { from, into: vec![], most, accepted, is_whole: false }.step(HERE)
    }

    /// Does a step on a thread that may take its time.
    pub(crate) async fn elsewhere(self) -> Result<Self, NotReceived> {
        let turn = TURN.acquire().await.expect("it is never closed");
        let step = spawn_blocking(move || {
            let _turn = turn;
            self.step(ELSEWHERE)
        });
        step.await.unwrap_or_else(|_| Err(NotReceived::status(Code::Internal, "inflating was cut short")))
    }

    fn step(mut self, size: usize) -> Result<Self, NotReceived> {
        let step = size.min(self.most + 1 - self.into.len());
        let limited = (&mut self.from).take(step as u64).read_to_end(&mut self.into);
        let size = limited.map_err(|error| {
            NotReceived::status(Code::Internal, format!("the message is no gzip: {error}"))
        })?;
        if self.into.len() > self.most {
            return Err(NotReceived::too_large(format_args!("more than {}", self.most), self.most));
        }
        self.is_whole = size < step;
        Ok(self)
    }

    /// Bytes that are to be accepted since it was asked for last.
    pub(crate) fn growth(&mut self) -> usize {
        let growth = self.into.len().saturating_sub(self.accepted);
        self.accepted += growth;
        growth
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub(crate) fn into_message(self) -> Bytes {
        self.into.into()
    }
}
