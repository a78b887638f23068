//! Connections to the search ports, and messages as bytes on them.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint, Error};

// As the channels of the Python services have it (lookalike/wire/channel.py).
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A pod that is gone may not even refuse: then a new one is looked for soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An answer of 1,000 hits comes in one go.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Returns a channel to `host:port` that connects with its first call, and again after a loss.
///
/// # Errors
///
/// The address is none.
pub fn connect(address: &str) -> Result<Channel, Error> {
    Ok(endpoint(address)?.connect_lazy())
}

/// What every connection has; TLS would be set here.
fn endpoint(address: &str) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW))
}

/// An encoded request: what all shards get, and what only one of them gets. Fields of a message may be concatenated.
pub type Parts = [Bytes; 3];

/// A codec that leaves messages as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Parts;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Parts;
    type Error = Status;

    fn encode(&mut self, message: Parts, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.into_iter().for_each(|part| into.put(part));
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
