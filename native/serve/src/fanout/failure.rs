//! Why a shard did not answer, and whether the request itself is to blame.

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

/// The domain of the errors that services of Lookalike describe.
const DOMAIN: &str = "lookalike";
const INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
/// The request is right, and came to a shard that it is not for.
const NOT_FOR_THIS_SHARD: [&str; 2] = ["SHARD_LAYOUT_MISMATCH", "INSTALLATION_MISMATCH"];

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No answer in time.
    Late,
    /// It has stopped answering, and is not called.
    Silent,
    /// The call did not reach it, or its answer did not come back.
    Unreachable,
    /// The request does not fit into one message.
    RequestTooLarge,
    /// The answer does not fit into one message.
    AnswerTooLarge,
    /// Something on the way refused the call.
    Overloaded,
    /// The shard said itself what is wrong, see [`Failure::details`].
    Described,
    /// Any other end: a defect.
    Failed,
}

/// Why one shard did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub kind: Kind,
    /// Of what was described: the status's code.
    pub code: Code,
    /// Of what was described: the encoded `google.rpc.Status`.
    pub details: Bytes,
    is_mistake: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

impl Failure {
    /// One that nobody described.
    pub fn new(kind: Kind) -> Self {
        let is_mistake = matches!(kind, Kind::RequestTooLarge | Kind::AnswerTooLarge);
        Self { kind, code: Code::Unknown, details: Bytes::new(), is_mistake }
    }

    /// The failure of a call that ended with a status; `is_over` says whether its time was.
    pub fn of(status: &Status, is_over: bool) -> Self {
        if let Some(info) = described(status.details()) {
            let is_mistake = matches!(
                status.code(),
                Code::InvalidArgument
                    | Code::FailedPrecondition
                    | Code::Unimplemented
                    | Code::AlreadyExists
                    | Code::Aborted
            ) && !NOT_FOR_THIS_SHARD.contains(&info.reason.as_str());
            let details = Bytes::copy_from_slice(status.details());
            return Self { kind: Kind::Described, code: status.code(), details, is_mistake };
        }
        Self::new(undescribed(status, is_over))
    }

    /// Whether the request itself is wrong, so that no shard could answer it.
    pub fn is_callers_mistake(&self) -> bool {
        self.is_mistake
    }

    /// Whether the replica said nothing in the time that it had.
    pub fn is_late(&self) -> bool {
        self.kind == Kind::Late || self.code == Code::DeadlineExceeded
    }

    /// Whether it shows that the replica is alive.
    pub fn is_answer(&self) -> bool {
        !self.is_late() && !matches!(self.kind, Kind::Unreachable | Kind::Silent)
    }

    /// Whether another replica may answer where this one did not.
    pub fn is_of_the_replica(&self) -> bool {
        let is_busy = self.kind == Kind::Overloaded || self.code == Code::ResourceExhausted;
        !self.is_mistake && !self.is_late() && !is_busy
    }
}

/// What a service of Lookalike says of its error, if it was one.
fn described(details: &[u8]) -> Option<Info> {
    let details = Details::decode(details).ok()?.details;
    let infos = details.into_iter().filter(|detail| detail.type_url == INFO);
    infos.filter_map(|detail| Info::decode(detail.value).ok()).find(|info| info.domain == DOMAIN)
}

/// What happened to a call whose peer said nothing of it.
fn undescribed(status: &Status, is_over: bool) -> Kind {
    let message = status.message().to_ascii_lowercase();
    if matches!(status.code(), Code::ResourceExhausted | Code::OutOfRange) {
        if message.contains("server: received message larger than max") {
            return Kind::RequestTooLarge;
        }
        if message.contains("larger than max") || message.contains("message length too large") {
            return Kind::AnswerTooLarge;
        }
    }
    match status.code() {
        Code::DeadlineExceeded => Kind::Late,
        // The channel's own timeout calls itself so.
        Code::Cancelled if is_over => Kind::Late,
        Code::Unavailable => Kind::Unreachable,
        // Of the transport: what comes from the other side has no source.
        _ if std::error::Error::source(status).is_some() => Kind::Unreachable,
        Code::ResourceExhausted => Kind::Overloaded,
        _ => Kind::Failed,
    }
}

#[cfg(test)]
pub(super) fn described_status(code: Code, reason: &str) -> Status {
    let info = Info { reason: reason.into(), domain: DOMAIN.into() };
    let detail = Any { type_url: INFO.into(), value: info.encode_to_vec().into() };
    let details = Details { details: vec![detail] }.encode_to_vec();
    Status::with_details(code, reason, details.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_mistakes_are_told_from_those_of_a_shard() {
        for (code, reason, is_mistake) in [
            (Code::InvalidArgument, "FIELD_INVALID", true),
            (Code::FailedPrecondition, "MODEL_VERSION_MISMATCH", true),
            (Code::FailedPrecondition, "SHARD_LAYOUT_MISMATCH", false),
            (Code::NotFound, "COLLECTION_NOT_FOUND", false),
            (Code::Unavailable, "DISK_FULL", false),
        ] {
            let failure = Failure::of(&described_status(code, reason), false);
            assert_eq!((failure.kind, failure.code), (Kind::Described, code));
            assert_eq!(failure.is_callers_mistake(), is_mistake, "{reason}");
            assert!(failure.is_answer());
        }
    }

    #[test]
    fn what_nobody_described_is_known_by_its_code() {
        let sent = "SERVER: Received message larger than max (5 vs. 4)";
        for (status, is_over, kind) in [
            (Status::deadline_exceeded(""), false, Kind::Late),
            (Status::cancelled("Timeout expired"), true, Kind::Late),
            (Status::cancelled(""), false, Kind::Failed),
            (Status::unavailable(""), false, Kind::Unreachable),
            (Status::resource_exhausted(""), false, Kind::Overloaded),
            (Status::resource_exhausted(sent), false, Kind::RequestTooLarge),
            (
                Status::resource_exhausted("CLIENT: Received message larger than max"),
                false,
                Kind::AnswerTooLarge,
            ),
            (Status::resource_exhausted("SERVER: Sent message larger than max"), false, Kind::AnswerTooLarge),
            (Status::out_of_range("Error, decoded message length too large"), false, Kind::AnswerTooLarge),
            (Status::invalid_argument("of a stranger"), false, Kind::Failed),
            (Status::unknown("").with_source_for_test(), false, Kind::Unreachable),
        ] {
            assert_eq!(Failure::of(&status, is_over).kind, kind, "{status:?}");
        }
    }

    trait WithSource {
        fn with_source_for_test(self) -> Self;
    }

    impl WithSource for Status {
        fn with_source_for_test(mut self) -> Self {
            self.set_source(std::sync::Arc::new(std::io::Error::other("reset")));
            self
        }
    }
}
