//! A front whose calls the test answers, and a client that sees the frames of HTTP/2.

#![allow(dead_code)]

use std::error::Error;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use lookalike_serve::front::{Arrival, Call, Front, Kind, Limits, Note, Options, Served};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub const ECHO: &str = "/test.Service/Echo";
pub const UP: &str = "/test.Service/Up";
pub const DOWN: &str = "/test.Service/Down";
pub const BOTH: &str = "/test.Service/Both";
pub const CHECK: &str = "/grpc.health.v1.Health/Check";
pub const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// Nothing takes so long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn options() -> Options {
    let method = |path: &str, kind, streams_requests, streams_responses| Served {
        path: path.to_owned(),
        kind,
        streams_requests,
        streams_responses,
    };
    Options {
        methods: vec![
            method(ECHO, Kind::Call, false, false),
            method(UP, Kind::Stream, true, false),
            method(DOWN, Kind::Stream, false, true),
            method(BOTH, Kind::Stream, true, true),
            method(CHECK, Kind::Probe, false, false),
            method(WATCH, Kind::Probe, false, true),
        ],
        limits: Limits { most: [2, 1, 1], request_bytes: 8 << 20 },
        most_message_bytes: 6 << 20,
        keepalive: (Duration::from_secs(30), Duration::from_secs(10)),
        age: (None, None),
        idle: PATIENCE,
    }
}

pub struct Fixture {
    pub front: Arc<Front>,
    pub port: u16,
    pub runtime: Runtime,
    arrivals: Receiver<Arrival>,
}

impl Fixture {
    pub fn new(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = options();
        change(&mut options);
        let (send, arrivals) = channel();
        let on_arrival = Arc::new(move |arrival| {
            let _ = send.send(arrival);
        });
        let front = Arc::new(Front::new(options, on_arrival).unwrap());
        let port = front.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        front.start();
        Self { front, port, runtime: Runtime::new().unwrap(), arrivals }
    }

    pub fn connect(&self) -> Client {
        self.runtime.block_on(Client::connect(self.port)).unwrap()
    }

    /// A client that lets so many bytes of each answer come before it reads.
    pub fn connect_with_window(&self, bytes: u32) -> Client {
        self.runtime.block_on(Client::connect_with_window(self.port, bytes)).unwrap()
    }

    /// Makes a call in the background.
    pub fn begin(&self, client: &Client, path: &'static str, message: &[u8]) -> JoinHandle<Reply> {
        let (client, message) = (client.clone(), message.to_vec());
        self.runtime.spawn(async move { client.call(path, &[], &message).await })
    }

    pub fn call(
        &self,
        client: &Client,
        path: &str,
        headers: &[(&'static str, &str)],
        message: &[u8],
    ) -> Reply {
        let reply = async { timeout(PATIENCE, client.call(path, headers, message)).await };
        self.runtime.block_on(reply).expect("the call is answered")
    }

    pub fn wait<T>(&self, task: JoinHandle<T>) -> T {
        self.runtime.block_on(task).unwrap()
    }

    pub fn next_call(&self) -> Call {
        match self.arrivals.recv_timeout(PATIENCE).expect("a call arrives") {
            Arrival::Call(call) => call,
            Arrival::Note(number, note) => panic!("{note:?} on {number} and no call"),
        }
    }

    /// The next note, which must be on this call.
    pub fn next_note(&self, call: &Call) -> Note {
        match self.arrivals.recv_timeout(PATIENCE).expect("a note arrives") {
            Arrival::Note(number, note) => {
                assert_eq!(number, call.about().number);
                note
            }
            Arrival::Call(_) => panic!("a call and no note"),
        }
    }

    pub fn nothing_has_arrived(&self) -> bool {
        self.arrivals.try_recv().is_err()
    }
}

/// Waits until something holds.
pub fn until(holds: impl Fn() -> bool) {
    while !holds() {
        thread::sleep(Duration::from_millis(1));
    }
}

#[derive(Debug)]
pub struct Reply {
    pub headers: HeaderMap,
    pub content: Bytes,
    trailers: Option<HeaderMap>,
}

impl Reply {
    /// The trailers; of an answer without content its headers.
    pub fn trailers(&self) -> &HeaderMap {
        self.trailers.as_ref().unwrap_or(&self.headers)
    }

    pub fn code(&self) -> &str {
        self.trailers()["grpc-status"].to_str().unwrap()
    }

    pub fn message(&self) -> &str {
        self.trailers()["grpc-message"].to_str().unwrap()
    }

    /// Whether the status's details name a reason.
    pub fn is_because(&self, reason: &str) -> bool {
        let details = &self.trailers()["grpc-status-details-bin"];
        let details = lookalike_serve::front::binary::decoded(details.as_bytes()).unwrap();
        details.windows(reason.len()).any(|part| part == reason.as_bytes())
    }
}

#[derive(Clone)]
pub struct Client {
    requests: SendRequest<Bytes>,
    connection: Arc<JoinHandle<()>>,
}

impl Client {
    pub async fn connect(port: u16) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Self::connect_with_window(port, 1 << 20).await
    }

    async fn connect_with_window(port: u16, bytes: u32) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut builder = Builder::new();
        let (requests, connection) = builder.initial_window_size(bytes).handshake(stream).await?;
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { requests, connection: Arc::new(connection) })
    }

    /// Whether the server has said, or shown, that it is not to be called on this connection any more.
    pub fn is_closed(&self) -> bool {
        self.connection.is_finished()
    }

    pub async fn open(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let own = [("content-type", "application/grpc"), ("te", "trailers")];
        let mut request = Request::post(format!("http://test{path}")).body(()).unwrap();
        for (name, value) in own.iter().chain(headers) {
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let mut requests = self.requests.clone().ready().await?;
        requests.send_request(request, false)
    }

    pub async fn call(&self, path: &str, headers: &[(&'static str, &str)], message: &[u8]) -> Reply {
        let (response, mut body) = self.open(path, headers).await.unwrap();
        // A refusal may come before all is sent.
        let _ = send(&mut body, framed(0, message), true).await;
        reply(response).await.unwrap()
    }
}

/// A message with its header.
pub fn framed(flag: u8, content: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(flag);
    out.put_u32(content.len() as u32);
    out.put_slice(content);
    out.freeze()
}

/// Sends as the windows allow.
pub async fn send(body: &mut SendStream<Bytes>, mut data: Bytes, is_end: bool) -> Result<(), h2::Error> {
    while !data.is_empty() {
        body.reserve_capacity(data.len());
        let capacity = poll_fn(|context| body.poll_capacity(context)).await;
        let room = capacity.ok_or(h2::Error::from(h2::Reason::STREAM_CLOSED))??;
        let part = data.split_to(room.min(data.len()));
        body.send_data(part, is_end && data.is_empty())?;
    }
    Ok(())
}

pub async fn next_data(body: &mut RecvStream) -> Option<Bytes> {
    let data = body.data().await?.unwrap();
    body.flow_control().release_capacity(data.len()).unwrap();
    Some(data)
}

pub async fn reply(response: ResponseFuture) -> Result<Reply, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let mut content = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        content.put(data);
    }
    Ok(Reply { headers: head.headers, content: content.freeze(), trailers: body.trailers().await? })
}
