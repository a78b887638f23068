//! How connections of the front begin, on a real socket.

#[path = "common/front.rs"]
mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{ECHO, Fixture};

#[test]
fn what_is_no_http_2_ends_its_connection_only() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", fixture.port)).unwrap();
        stream.write_all(garbage).unwrap();
        // It is closed by the other side.
        let _ = stream.read_to_end(&mut vec![]);
    }
    let task = fixture.begin(&client, ECHO, b"");
    fixture.next_call().answer(b"");
    assert_eq!(fixture.wait(task).code(), "0");
}

#[test]
fn a_connection_that_never_begins_is_closed() {
    let fixture = Fixture::new(|options| options.keepalive.1 = Duration::from_millis(300));
    let client = fixture.connect();
    for beginning in [&b""[..], b"PRI * HTTP"] {
        let mut stream = TcpStream::connect(("127.0.0.1", fixture.port)).unwrap();
        stream.write_all(beginning).unwrap();
        assert_eq!(stream.read_to_end(&mut vec![]).unwrap(), 0);
    }
    let task = fixture.begin(&client, ECHO, b"");
    fixture.next_call().answer(b"");
    assert_eq!(fixture.wait(task).code(), "0");
}

#[test]
fn a_connection_may_begin_in_small_parts() {
    let fixture = Fixture::new(|_| ());
    let mut stream = TcpStream::connect(("127.0.0.1", fixture.port)).unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
        stream.write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    // Its settings are answered.
    let mut frames = [0; 9];
    stream.read_exact(&mut frames).unwrap();
    assert_eq!(frames[3], 4);
}
