//! Unary calls of messages as bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint, Error};
use tonic::{Code, Request, Status};

use crate::raw::Raw;
use crate::run::Caller;

const LARGEST_ANSWER: usize = 64 << 20;

/// One method of a server, over one or several connections.
#[derive(Clone)]
pub struct Method {
    channels: Arc<[Channel]>,
    path: PathAndQuery,
    deadline: Duration,
}

impl Method {
    /// Connects.
    ///
    /// # Errors
    ///
    /// The server cannot be reached.
    pub async fn connect(
        target: &str,
        path: PathAndQuery,
        connections: usize,
        deadline: Duration,
    ) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(format!("http://{target}"))?.tcp_nodelay(true);
        let mut channels = Vec::with_capacity(connections);
        for _ in 0..connections {
            channels.push(endpoint.connect().await?);
        }
        Ok(Self { channels: channels.into(), path, deadline })
    }

    async fn send(self, number: usize, message: Bytes) -> Result<Bytes, Status> {
        let mut grpc = Grpc::new(self.channels[number % self.channels.len()].clone())
            .max_decoding_message_size(LARGEST_ANSWER);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        let start = Instant::now();
        let answer = grpc.unary(request, self.path, Raw);
        // The channel's own timeout covers the headers of an answer only, and calls itself CANCELLED.
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) if status.code() != Code::Cancelled || start.elapsed() < self.deadline => {
                Err(status)
            }
            _ => Err(Status::deadline_exceeded("")),
        }
    }
}

impl Caller for Method {
    async fn call(&self, number: usize, message: Bytes) -> Result<Bytes, String> {
        self.clone().send(number, message).await.map_err(|status| name(status.code()))
    }
}

/// The name of a status code as the specification writes it: `DEADLINE_EXCEEDED`.
fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_names() {
        assert_eq!(name(Code::DeadlineExceeded), "DEADLINE_EXCEEDED");
        assert_eq!(name(Code::Unavailable), "UNAVAILABLE");
        assert_eq!(name(Code::Ok), "OK");
    }
}
