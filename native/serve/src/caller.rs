//! What the caller says of a call: its id, how long it waits, whether it asks again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Code;

/// The id that finds one call in the logs of all services.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID: usize = 128;
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Ours, and what gRPC's own retries send.
const RETRY_KEYS: [&str; 2] = ["x-retry-attempt", "grpc-previous-rpc-attempts"];
/// A call that its client ends with less time left came late: the client's clock began to run earlier.
const LATE: Duration = Duration::from_millis(50);
/// How much earlier than the transport, which calls it CANCELLED, a call notices that its time is over.
pub const NOTICED: Duration = Duration::from_millis(1);

/// The caller's request id if it can be logged, or a new one.
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    let printable = |value: &&HeaderValue| value.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte));
    let given = headers.get_all(REQUEST_ID).iter().find(|value| printable(value) && !value.is_empty());
    match given {
        Some(value) if value.len() <= MAX_REQUEST_ID => value.clone(),
        _ => new_id(),
    }
}

/// A new request id.
pub fn new_id() -> HeaderValue {
    HeaderValue::from_str(&format!("{:032x}", random())).expect("hexadecimal digits")
}

/// Bits that nobody can foresee, or has had before.
pub fn random() -> u128 {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Relaxed);
    let [high, low] = [KEYS[0].hash_one(number), KEYS[1].hash_one(number)];
    u128::from(high) << 64 | u128::from(low)
}

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

/// Whether the caller has sent the call before.
pub fn is_retry(headers: &HeaderMap) -> bool {
    RETRY_KEYS.into_iter().any(|key| headers.contains_key(key))
}

/// The code of a call that its caller has ended.
pub fn code_of_cancelled(deadline: Option<Instant>) -> Code {
    let is_late = deadline.is_some_and(|at| at.saturating_duration_since(Instant::now()) < LATE);
    if is_late { Code::DeadlineExceeded } else { Code::Cancelled }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_kept_if_it_can_be_logged() {
        let given = |value: &'static [u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
            request_id(&headers)
        };
        assert_eq!(given(b"abc 1"), "abc 1");
        assert_eq!(given(b"\xffabc").len(), 32);
        assert_eq!(given(&[b'x'; 129]).len(), 32);
        let fresh = request_id(&HeaderMap::new());
        assert!(fresh.len() == 32 && fresh != request_id(&HeaderMap::new()));
    }
}
