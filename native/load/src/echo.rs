//! A gRPC server that answers every call of one method with the same bytes: what a call costs without any work.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};
use tower_service::Service;

use crate::raw::Raw;

/// The method that is answered.
pub const PATH: &str = "/lookalike.load.Echo/Call";

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// The server's behaviour.
#[derive(Clone, Debug)]
pub struct Echo {
    /// What it answers.
    pub answer: Bytes,
    /// After which time.
    pub delay: Duration,
}

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = Answer<tonic::Response<Bytes>, Status>;

    fn call(&mut self, _: tonic::Request<Bytes>) -> Self::Future {
        let Self { answer, delay } = self.clone();
        Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            Ok(tonic::Response::new(answer))
        })
    }
}

impl Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::new(Code::Unimplemented, "").into_http());
            }
            Ok(Grpc::new(Raw).unary(echo, request).await)
        })
    }
}

/// Answers until the process ends.
///
/// # Errors
///
/// The server failed.
pub async fn serve(listener: TcpListener, echo: Echo) -> Result<(), tonic::transport::Error> {
    // The builder's own `tcp_nodelay` is for listeners that it opens itself.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder().serve_with_incoming(echo, incoming).await
}
