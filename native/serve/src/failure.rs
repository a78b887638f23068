//! Failures of calls, and the `google.rpc.Status` that callers get: what `lookalike.errors` and `lookalike.wire.status`
//! are in Python.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tonic::Code;

const DOMAIN: &str = "lookalike";

// gRPC gives metadata 8 KiB; see `lookalike.wire.status`.
const MAX_MESSAGE_BYTES: usize = 900;
const MAX_FIELD_BYTES: usize = 200;
const MAX_METADATA_BYTES: usize = 900;
const MAX_METADATA_VALUE_BYTES: usize = 200;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The status code.
    pub code: Code,
    /// The stable cause, a name of `lookalike.errors.Reason`.
    pub reason: &'static str,
    /// One sentence for people.
    pub message: String,
    /// Path of the request field at fault; empty if none is.
    pub field: Cow<'static, str>,
    /// Facts for programs.
    pub metadata: Vec<(&'static str, String)>,
    /// When to try again, where that may help.
    pub retry_after: Option<Duration>,
}

impl Failure {
    fn new(code: Code, reason: &'static str, message: String) -> Self {
        Self { code, reason, message, field: "".into(), metadata: vec![], retry_after: None }
    }

    /// The request is wrong: `FIELD_INVALID` unless `reason` says otherwise.
    pub fn invalid(message: String) -> Self {
        Self::new(Code::InvalidArgument, "FIELD_INVALID", message)
    }

    /// Right in itself, but not here.
    pub fn precondition(reason: &'static str, message: String) -> Self {
        Self::new(Code::FailedPrecondition, reason, message)
    }

    /// There is no such thing.
    pub fn not_found(reason: &'static str, message: String) -> Self {
        Self::new(Code::NotFound, reason, message)
    }

    /// Too much work right now.
    pub fn overloaded(message: &str, retry_after: Duration) -> Self {
        let failure = Self::new(Code::ResourceExhausted, "OVERLOADED", message.to_owned());
        Self { retry_after: Some(retry_after), ..failure }
    }

    /// Not now.
    pub fn unavailable(reason: &'static str, message: String, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(Code::Unavailable, reason, message) }
    }

    /// The server ends.
    pub fn shutting_down() -> Self {
        Self::unavailable("SHUTTING_DOWN", "the server is about to stop".to_owned(), Duration::ZERO)
    }

    /// A method that is not served here.
    pub fn unsupported(message: String) -> Self {
        Self::new(Code::Unimplemented, "NOT_SUPPORTED_YET", message)
    }

    /// A defect; the log says more under the request id.
    pub fn internal(request_id: &str) -> Self {
        Self::new(Code::Internal, "INTERNAL", format!("internal error; the request id is {request_id}"))
    }

    /// With another cause.
    pub fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    /// With the field at fault.
    pub fn at(self, field: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), ..self }
    }

    /// With a fact for programs.
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.metadata.push((name, value.to_string()));
        self
    }

    /// The message as it is sent, and the encoded `google.rpc.Status`; what is too long is cut.
    pub fn status(&self) -> (String, Bytes) {
        let message = cut(&self.message, MAX_MESSAGE_BYTES);
        let info = ErrorInfo {
            reason: self.reason.to_owned(),
            domain: DOMAIN.to_owned(),
            metadata: cut_metadata(&self.metadata),
        };
        let mut details = vec![Any::of("google.rpc.ErrorInfo", &info)];
        if !self.field.is_empty() {
            let violation = FieldViolation {
                field: cut(&self.field, MAX_FIELD_BYTES),
                description: message.clone(),
                reason: self.reason.to_owned(),
            };
            details.push(Any::of("google.rpc.BadRequest", &BadRequest { field_violations: vec![violation] }));
        }
        if let Some(delay) = self.retry_after {
            let delay = Delay { seconds: delay.as_secs() as i64, nanos: delay.subsec_nanos() as i32 };
            details.push(Any::of("google.rpc.RetryInfo", &RetryInfo { retry_delay: Some(delay) }));
        }
        let status = Status { code: self.code as i32, message: message.clone(), details };
        (message, status.encode_to_vec().into())
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most - 3).rfind(|at| text.is_char_boundary(*at)).unwrap_or_default();
    format!("{}...", &text[..end])
}

fn cut_metadata(metadata: &[(&'static str, String)]) -> BTreeMap<String, String> {
    let mut room = MAX_METADATA_BYTES;
    let mut kept = BTreeMap::new();
    for (name, value) in metadata {
        let value = cut(value, MAX_METADATA_VALUE_BYTES);
        if let Some(left) = room.checked_sub(name.len() + value.len()) {
            room = left;
            kept.insert((*name).to_owned(), value);
        }
    }
    kept
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl Any {
    fn of(name: &str, message: &impl Message) -> Self {
        Self { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
    }
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(failure: &Failure) -> Vec<Any> {
        Status::decode(failure.status().1).unwrap().details
    }

    #[test]
    fn a_status_says_why_where_and_when_to_try_again() {
        let failure =
            Failure::unavailable("LOG_POSITION_NOT_REACHED", "not yet".into(), Duration::from_millis(1500));
        let [info, request, retry] =
            details(&failure.at("min_positions").with("position", 7)).try_into().unwrap();
        let info = ErrorInfo::decode(&*info.value).unwrap();
        assert_eq!(
            (info.reason.as_str(), info.metadata["position"].as_str()),
            ("LOG_POSITION_NOT_REACHED", "7")
        );
        let violation = BadRequest::decode(&*request.value).unwrap().field_violations.remove(0);
        assert_eq!((violation.field.as_str(), violation.description.as_str()), ("min_positions", "not yet"));
        let delay = RetryInfo::decode(&*retry.value).unwrap().retry_delay;
        assert_eq!(delay, Some(Delay { seconds: 1, nanos: 500_000_000 }));
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let failure = Failure::invalid("é".repeat(1000)).with("what", "x".repeat(300));
        let (message, _) = failure.status();
        assert_eq!(message, format!("{}...", "é".repeat(448)));
        let info = ErrorInfo::decode(&*details(&failure)[0].value).unwrap();
        assert_eq!(info.metadata["what"], format!("{}...", "x".repeat(197)));
    }
}
