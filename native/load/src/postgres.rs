//! One prepared statement of PostgreSQL over its own protocol; a request is the binary form of the parameter `$1`.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, Statement};

use crate::run::Caller;

/// Connections, each of which runs one query at a time: a call waits for a free one, as in an application's pool.
#[derive(Clone)]
pub struct Pool {
    connections: Arc<[(Client, Statement)]>,
    free: Arc<Mutex<Vec<usize>>>,
    places: Arc<Semaphore>,
    deadline: Duration,
}

impl Pool {
    /// Connects, and prepares a statement on each connection.
    ///
    /// # Arguments
    ///
    /// * `target` - a connection string, such as `host=127.0.0.1 port=5432 user=postgres`.
    /// * `deadline` - how long a call waits for a connection; how long a query takes is the server's to limit.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or refuses the statement.
    pub async fn connect(
        target: &str,
        statement: &str,
        connections: usize,
        deadline: Duration,
    ) -> Result<Self, tokio_postgres::Error> {
        let mut made = Vec::with_capacity(connections);
        for _ in 0..connections {
            let (client, connection) = tokio_postgres::connect(target, NoTls).await?;
            tokio::spawn(connection);
            let statement = client.prepare(statement).await?;
            made.push((client, statement));
        }
        Ok(Self {
            connections: made.into(),
            free: Arc::new(Mutex::new((0..connections).collect())),
            places: Arc::new(Semaphore::new(connections)),
            deadline,
        })
    }
}

impl Caller for Pool {
    /// The answer is the first column of the rows, which is text, one a line.
    async fn call(&self, _: usize, message: Bytes) -> Result<Bytes, String> {
        let Ok(place) = tokio::time::timeout(self.deadline, self.places.acquire()).await else {
            return Err("DEADLINE_EXCEEDED".into());
        };
        let _place = place.expect("it is never closed");
        let taken = self.free.lock().expect("no thread panics with it").pop();
        let number = taken.expect("there are as many as places");
        let (client, statement) = &self.connections[number];
        let rows = client.query(statement, &[&Raw(message)]).await;
        self.free.lock().expect("no thread panics with it").push(number);
        let rows = rows.map_err(|error| error.code().map_or("FAILED", |state| state.code()).to_owned())?;
        let ids: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        Ok(ids.join("\n").into())
    }
}

/// A parameter in its binary form.
#[derive(Debug)]
struct Raw(Bytes);

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
