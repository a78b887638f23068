//! gRPC over HTTP/2, of the side that calls: headers, framing, and how a call ended.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::wire::{HEADER_BYTES, STATUS};

const TIMEOUT: &str = "grpc-timeout";
const DETAILS: &str = "grpc-status-details-bin";
/// gRPC has no more digits for a timeout.
const MOST_UNITS: u128 = 99_999_999;

/// Adds what every call of gRPC says in its headers to metadata.
pub fn headers_of_call(mut metadata: HeaderMap) -> HeaderMap {
    metadata.insert(header::TE, HeaderValue::from_static("trailers"));
    metadata.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    metadata.insert(TIMEOUT, HeaderValue::from_static("0n"));
    metadata
}

/// These headers, with the time that the call has.
pub fn with_timeout(headers: &HeaderMap, timeout: Duration) -> HeaderMap {
    let text = match (timeout.as_micros(), timeout.as_millis()) {
        (micros, _) if micros <= MOST_UNITS => format!("{micros}u"),
        (_, millis) if millis <= MOST_UNITS => format!("{millis}m"),
        _ => format!("{}S", u128::from(timeout.as_secs()).min(MOST_UNITS)),
    };
    let mut headers = headers.clone();
    headers.insert(TIMEOUT, HeaderValue::try_from(text).expect("digits and a letter"));
    headers
}

/// How long a message is that is [`framed`](crate::wire::framed).
pub fn size_of(framed: &Bytes) -> usize {
    framed.len() - HEADER_BYTES
}

/// The one message of an answer.
pub async fn receive(body: &mut RecvStream, most: usize) -> Result<Option<Bytes>, Status> {
    let (mut whole, mut rest) = (Bytes::new(), BytesMut::new());
    while let Some(part) = body.data().await {
        let part = part.map_err(lost)?;
        // It fails only for what was not received.
        let _ = body.flow_control().release_capacity(part.len());
        if whole.is_empty() && rest.is_empty() {
            // Most answers come in one piece, which needs no copy.
            whole = part;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut whole));
            rest.extend_from_slice(&part);
        }
        let arrived = if rest.is_empty() { &whole[..] } else { &rest[..] };
        if let Some(size) = promised(arrived, most)?
            && arrived.len() > HEADER_BYTES + size
        {
            return Err(Status::internal("there is more than one message"));
        }
    }
    let whole = if rest.is_empty() { whole } else { rest.freeze() };
    match promised(&whole, most)? {
        Some(size) if whole.len() == HEADER_BYTES + size => Ok(Some(whole.slice(HEADER_BYTES..))),
        None if whole.is_empty() => Ok(None),
        _ => Err(Status::internal("the message is not as long as it says")),
    }
}

/// The length of a message, once it is known.
fn promised(arrived: &[u8], most: usize) -> Result<Option<usize>, Status> {
    let Some(([compressed, size @ ..], _)) = arrived.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes(*size) as usize;
    if *compressed != 0 {
        return Err(Status::internal("nobody asked for a compressed message"));
    }
    if size > most {
        return Err(Status::out_of_range(format!("message length too large: {size} vs. {most}")));
    }
    Ok(Some(size))
}

/// How a call ended, if these headers say so.
pub fn end_of(headers: &HeaderMap) -> Option<Result<(), Status>> {
    if headers.get(STATUS)? == "0" {
        return Some(Ok(()));
    }
    let details = MetadataMap::from_headers(headers.clone()).get_bin(DETAILS).map(|of| of.to_bytes());
    if details.is_some_and(|details| details.is_err()) {
        // tonic panics in place of reading such ones.
        return Some(Err(Status::unknown("the details of the status cannot be read")));
    }
    Status::from_header_map(headers).map(Err)
}

/// Of a call that ended well, but for that.
pub fn without_message() -> Status {
    Status::internal("there is no message")
}

/// What does not end as a call of gRPC does.
pub fn of_stranger(status: StatusCode) -> Status {
    let code = match status.as_u16() {
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("no answer of gRPC, but HTTP status {status}"))
}

/// Of a call that its connection or one of its two ends has broken off.
pub fn lost(error: h2::Error) -> Status {
    Status::from_error(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_that_are_not_base64_are_no_panic() {
        let headers = [("grpc-status", "3"), (DETAILS, "!")];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let ended = end_of(&HeaderMap::from_iter(headers)).unwrap();
        assert_eq!(ended.unwrap_err().code(), Code::Unknown);
    }

    #[test]
    fn timeouts_have_eight_digits_at_most() {
        for (timeout, text) in [(0, "0u"), (99_999_999, "99999999u"), (100_000_000, "100000m")] {
            let headers = with_timeout(&HeaderMap::new(), Duration::from_micros(timeout));
            assert_eq!(headers[TIMEOUT], text);
        }
        assert_eq!(with_timeout(&HeaderMap::new(), Duration::MAX)[TIMEOUT], "99999999S");
    }
}
