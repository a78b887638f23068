//! The command line of the load generator: prints the figures of one run as JSON.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, Parser, Subcommand};
use http::uri::PathAndQuery;
use lookalike_load::echo::{self, Echo};
use lookalike_load::grpc::Method;
#[cfg(feature = "postgres")]
use lookalike_load::postgres::Pool;
use lookalike_load::record::Record;
use lookalike_load::run::{self, Caller, Load};
use lookalike_load::{arrivals, requests};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// Sends encoded requests to one gRPC method, or answers them.
#[derive(Parser)]
struct Arguments {
    /// Threads that send and receive.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends at random times of a given rate, however long answers take.
    Open {
        #[command(flatten)]
        what: What,
        /// Requests a second, on average.
        #[arg(long)]
        rate: f64,
        /// Of the times.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// While so many are under way, what is due is not sent.
        #[arg(long, default_value_t = 4096)]
        most_under_way: u32,
    },
    /// Sends as fast as answers come, from a number of callers.
    Closed {
        #[command(flatten)]
        what: What,
        /// Requests under way at any time.
        #[arg(long)]
        callers: usize,
    },
    /// Answers every call with the same number of bytes.
    Echo {
        #[arg(long)]
        port: u16,
        #[arg(long)]
        answer_bytes: usize,
        #[arg(long, default_value_t = 0)]
        delay_ms: u64,
    },
}

#[derive(Args)]
struct What {
    /// Host and port, or PostgreSQL's connection string.
    #[arg(long)]
    target: String,
    #[command(flatten)]
    call: Call,
    /// A file of encoded requests, each after its length as four bytes, little-endian.
    #[arg(long)]
    requests: PathBuf,
    #[arg(long)]
    seconds: f64,
    /// Calls take turns over them.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    #[arg(long, default_value_t = 10_000)]
    deadline_ms: u64,
    /// Gets the first answer to each request, in the form of the requests; the length of a missing one is 2^32-1.
    #[arg(long)]
    answers: Option<PathBuf>,
}

#[derive(Args)]
#[group(required = true)]
struct Call {
    /// Of gRPC, such as /lookalike.v1.SearchService/Search.
    #[arg(long)]
    method: Option<PathAndQuery>,
    /// Of PostgreSQL: its parameter $1 is a request, the first column of its rows, a text, the answer.
    #[cfg(feature = "postgres")]
    #[arg(long)]
    statement: Option<String>,
}

/// How requests are sent.
enum How {
    Open { rate: f64, seed: u64, most_under_way: u32 },
    Closed { callers: usize },
}

impl What {
    fn load(&self) -> Result<Load, Box<dyn Error>> {
        Ok(Load {
            requests: requests::read(&self.requests)?.into(),
            duration: Duration::try_from_secs_f64(self.seconds)?,
            keep_answers: self.answers.is_some(),
        })
    }

    /// Sends all requests and reports what became of them.
    fn send(&self, runtime: &Runtime, how: &How) -> Result<(), Box<dyn Error>> {
        let deadline = Duration::from_millis(self.deadline_ms);
        let named = |error: Box<dyn Error>| format!("{}: {error}", self.target);
        #[cfg(feature = "postgres")]
        if let Some(statement) = &self.call.statement {
            let pool = Pool::connect(&self.target, statement, self.connections, deadline);
            let pool = runtime.block_on(pool).map_err(|error| named(error.into()))?;
            return self.send_to(pool, runtime, how);
        }
        let path = self.call.method.clone().ok_or("there is no method")?;
        let method = Method::connect(&self.target, path, self.connections, deadline);
        let method = runtime.block_on(method).map_err(|error| named(error.into()))?;
        self.send_to(method, runtime, how)
    }

    fn send_to<C: Caller>(&self, to: C, runtime: &Runtime, how: &How) -> Result<(), Box<dyn Error>> {
        let load = self.load()?;
        let record = match *how {
            How::Closed { callers } => runtime.block_on(run::closed(to, &load, callers)),
            How::Open { rate, seed, most_under_way } => {
                let due = arrivals::poisson(rate, seed);
                run::open(runtime.handle(), &to, &load, due, Instant::now(), most_under_way)
            }
        };
        self.report(&record)
    }

    fn report(&self, record: &Record) -> Result<(), Box<dyn Error>> {
        if let Some(path) = &self.answers {
            requests::write_answers(path, record.answers())?;
        }
        println!("{:#}", record.figures());
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let runtime = Builder::new_multi_thread().worker_threads(arguments.threads).enable_all().build()?;
    match arguments.command {
        Command::Open { what, rate, seed, most_under_way } => {
            what.send(&runtime, &How::Open { rate, seed, most_under_way })
        }
        Command::Closed { what, callers } => what.send(&runtime, &How::Closed { callers }),
        Command::Echo { port, answer_bytes, delay_ms } => runtime.block_on(async {
            let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
            println!("{}", listener.local_addr()?);
            let answer = Bytes::from(vec![0; answer_bytes]);
            let served = Echo { answer, delay: Duration::from_millis(delay_ms) };
            Ok(echo::serve(listener, served).await?)
        }),
    }
}
