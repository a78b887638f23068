//! Streams through the front, and how connections end.

#[path = "common/front.rs"]
mod common;

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use common::{BOTH, CHECK, Client, DOWN, ECHO, Fixture, UP, WATCH, framed, next_data, reply, send, until};
use lookalike_serve::front::{Cause, Ending, Kind, Note};
use tonic::Code;

fn ok() -> Ending {
    Ending::status(Code::Ok, "", [])
}

#[test]
fn a_stream_of_requests_is_read_as_it_is_asked_for() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let task = fixture.runtime.spawn(async move {
        let (response, mut body) = client.open(UP, &[]).await.unwrap();
        let messages = [framed(0, b"one"), framed(0, b""), framed(0, b"three")].concat();
        send(&mut body, messages.into(), true).await.unwrap();
        reply(response).await.unwrap()
    });
    let call = fixture.next_call();
    assert_eq!((call.about().method, call.about().request.len()), (1, 0));
    for expected in [&b"one"[..], b"", b"three"] {
        assert!(fixture.nothing_has_arrived());
        call.receive();
        assert_eq!(fixture.next_note(&call), Note::Message(Bytes::copy_from_slice(expected)));
    }
    for _ in 0..2 {
        call.receive();
        assert_eq!(fixture.next_note(&call), Note::End);
    }
    call.answer(b"all");
    let reply = fixture.wait(task);
    assert_eq!((reply.code(), &reply.content), ("0", &framed(0, b"all")));
}

#[test]
fn a_stream_of_answers_takes_one_message_at_a_time() {
    let fixture = Fixture::new(|_| ());
    let task = fixture.begin(&fixture.connect(), DOWN, b"question");
    let call = fixture.next_call();
    assert_eq!(call.about().request, "question");
    for message in [&b"one"[..], b"two"] {
        assert!(call.send(message));
        assert_eq!(fixture.next_note(&call), Note::Sent);
    }
    assert!(call.send(b"three"));
    call.end(ok());
    let reply = fixture.wait(task);
    let messages = [framed(0, b"one"), framed(0, b"two"), framed(0, b"three")].concat();
    assert_eq!((reply.code(), &reply.content[..]), ("0", &messages[..]));
    assert_eq!(fixture.front.counts().in_progress(Kind::Stream), 0);
}

#[test]
fn a_client_that_reads_nothing_is_sent_little() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let (response, mut body) =
        fixture.runtime.block_on(client.open(BOTH, &[("grpc-timeout", "1S")])).unwrap();
    let call = fixture.next_call();
    let message = vec![7; 1 << 20];
    let mut sent = 0;
    while sent < 16 && call.send(&message) {
        sent += 1;
        match fixture.next_note(&call) {
            Note::Sent => (),
            Note::Cancelled => break,
            other => panic!("{other:?}"),
        }
    }
    // The window of the client, and what is on its way; then the deadline ends it although nothing moves.
    assert!((1..8).contains(&sent), "{sent} MiB were sent");
    assert_eq!(fixture.front.counts().in_progress(Kind::Stream), 0);
    body.send_reset(h2::Reason::CANCEL);
    drop(response);
}

#[test]
fn what_a_stream_leaves_unread_holds_up_no_other_call() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let (_response, mut body) = fixture.runtime.block_on(client.open(UP, &[])).unwrap();
    let stream = fixture.next_call();
    let mut unread = fixture.runtime.spawn(async move {
        send(&mut body, framed(0, &vec![1; 5 << 20]), true).await.unwrap();
    });
    // More than a window, so that it cannot all be sent.
    let stalled = fixture
        .runtime
        .block_on(async { tokio::time::timeout(Duration::from_millis(100), &mut unread).await });
    assert!(stalled.is_err());
    let task = fixture.begin(&client, ECHO, &vec![2; 1 << 20]);
    let call = fixture.next_call();
    call.answer(b"");
    assert_eq!(fixture.wait(task).code(), "0");
    stream.receive();
    assert!(matches!(fixture.next_note(&stream), Note::Message(message) if message.len() == 5 << 20));
    fixture.wait(unread);
    stream.answer(b"");
}

#[test]
fn both_directions_go_on_by_themselves() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let (response, mut body) = fixture.runtime.block_on(client.open(BOTH, &[])).unwrap();
    let call = fixture.next_call();
    assert!(call.send(b"hello"));
    assert_eq!(fixture.next_note(&call), Note::Sent);
    let mut answers = fixture.runtime.block_on(response).unwrap().into_body();
    assert_eq!(fixture.runtime.block_on(next_data(&mut answers)).unwrap(), framed(0, b"hello"));
    for number in 0..20u8 {
        fixture.runtime.block_on(send(&mut body, framed(0, &[number]), false)).unwrap();
        call.receive();
        assert_eq!(fixture.next_note(&call), Note::Message(vec![number].into()));
        assert!(call.send(&[number, number]));
        assert_eq!(fixture.next_note(&call), Note::Sent);
        assert_eq!(fixture.runtime.block_on(next_data(&mut answers)).unwrap(), framed(0, &[number, number]));
    }
    // The client ends its half; an error ends the other.
    body.send_data(Bytes::new(), true).unwrap();
    call.receive();
    assert_eq!(fixture.next_note(&call), Note::End);
    call.end(Ending::status(Code::DataLoss, "lost", []));
    assert_eq!(fixture.runtime.block_on(next_data(&mut answers)), None);
    let trailers = fixture.runtime.block_on(answers.trailers()).unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "15");
}

#[test]
fn a_stream_is_over_when_its_client_has_gone() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let (_response, mut body) = fixture.runtime.block_on(client.open(BOTH, &[])).unwrap();
    let call = fixture.next_call();
    call.receive();
    body.send_reset(h2::Reason::CANCEL);
    assert_eq!(fixture.next_note(&call), Note::Cancelled);
    assert!(call.send(b"nobody"));
    call.receive();
    drop(call);
    assert!(fixture.nothing_has_arrived());
}

#[test]
fn a_message_of_a_stream_that_is_too_large_or_broken_ends_it() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let large = framed(0, &vec![0; (6 << 20) + 1]).slice(..5);
    for (content, code) in [(large, "8"), (Bytes::from_static(b"\x01\0\0\0\0"), "12")] {
        let (response, mut body) = fixture.runtime.block_on(client.open(UP, &[])).unwrap();
        let call = fixture.next_call();
        fixture.runtime.block_on(send(&mut body, content, false)).unwrap();
        call.receive();
        assert_eq!(fixture.next_note(&call), Note::Cancelled);
        assert_eq!(fixture.runtime.block_on(reply(response)).unwrap().code(), code);
    }
}

#[test]
fn too_many_streams_are_refused() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let (_response, _body) = fixture.runtime.block_on(client.open(BOTH, &[])).unwrap();
    let first = fixture.next_call();
    let refused = fixture.call(&client, DOWN, &[], b"");
    assert_eq!(
        (refused.code(), refused.message()),
        ("8", "the%20server%20has%20too%20many%20streams%20open")
    );
    assert_eq!(fixture.front.counts().refused(Kind::Stream, Cause::TooMany), 1);
    first.end(ok());
}

#[test]
fn who_watches_health_leaves_room_to_ask_for_it() {
    let fixture = Fixture::new(|options| options.limits.most[2] = 20);
    let client = fixture.connect();
    let watched: Vec<_> = (0..18)
        .map(|_| {
            fixture.begin(&client, WATCH, b"");
            fixture.next_call()
        })
        .collect();
    let refused = fixture.call(&client, WATCH, &[], b"");
    assert_eq!(
        (refused.code(), refused.message()),
        ("8", "the%20server%20has%20too%20many%20watchers%20of%20its%20health")
    );
    assert_eq!(fixture.front.counts().refused(Kind::Probe, Cause::TooMany), 1);
    let checks: Vec<_> = (0..2)
        .map(|_| {
            fixture.begin(&client, CHECK, b"");
            fixture.next_call()
        })
        .collect();
    assert_eq!(fixture.call(&client, CHECK, &[], b"").code(), "8");
    drop((watched, checks));
}

#[test]
fn a_stop_lets_calls_end_and_takes_no_more() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let first = fixture.begin(&client, ECHO, b"");
    let running = fixture.next_call();
    fixture.front.begin_stop();
    until(|| fixture.runtime.block_on(Client::connect(fixture.port)).is_err());
    // This one was on its way when its client was asked to go elsewhere, or not begun at all.
    let late = fixture.runtime.block_on(async {
        let (response, mut body) = client.open(ECHO, &[]).await.ok()?;
        let _ = send(&mut body, framed(0, b""), true).await;
        reply(response).await.ok()
    });
    if let Some(late) = late {
        assert!(late.code() == "14" && late.is_because("SHUTTING_DOWN"));
        assert_eq!(fixture.front.counts().refused(Kind::Call, Cause::Stopping), 1);
    }
    let closing = thread::spawn({
        let front = Arc::clone(&fixture.front);
        move || front.close(Duration::from_secs(20))
    });
    running.answer(b"still");
    assert_eq!(fixture.wait(first).content, framed(0, b"still"));
    closing.join().unwrap();
    until(|| client.is_closed());
}

#[test]
fn a_call_that_is_still_on_its_way_learns_at_the_end_of_a_stop() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let (response, mut body) = fixture.runtime.block_on(client.open(ECHO, &[])).unwrap();
    fixture.runtime.block_on(send(&mut body, framed(0, b"question").slice(..6), false)).unwrap();
    let counts = fixture.front.counts();
    until(|| counts.request_bytes() == 1);
    fixture.front.close(Duration::from_secs(20));
    let refused = fixture.runtime.block_on(reply(response)).unwrap();
    assert!(refused.code() == "14" && refused.is_because("SHUTTING_DOWN"));
    assert_eq!((counts.refused(Kind::Call, Cause::Stopping), counts.request_bytes()), (1, 0));
}

#[test]
fn calls_that_do_not_end_are_cut_at_last() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let (response, mut body) = fixture.runtime.block_on(client.open(ECHO, &[])).unwrap();
    fixture.runtime.block_on(send(&mut body, framed(0, b""), true)).unwrap();
    let call = fixture.next_call();
    fixture.front.close(Duration::from_millis(10));
    assert_eq!(fixture.next_note(&call), Note::Cancelled);
    assert!(fixture.runtime.block_on(reply(response)).is_err());
}

#[test]
fn a_connection_that_has_not_begun_does_not_hold_up_a_stop() {
    let fixture = Fixture::new(|_| ());
    let mut silent = TcpStream::connect(("127.0.0.1", fixture.port)).unwrap();
    // A call that is answered on a later connection shows that this one was taken.
    fixture.call(&fixture.connect(), "/none", &[], b"");
    fixture.front.begin_stop();
    assert_eq!(silent.read_to_end(&mut vec![]).unwrap(), 0);
}

#[test]
fn an_old_connection_is_ended_and_at_last_cut() {
    let age = Duration::from_millis(50);
    let fixture = Fixture::new(|options| options.age = (Some(age), Some(age)));
    let idle = fixture.connect();
    until(|| idle.is_closed());
    let busy = fixture.connect();
    let (response, mut body) = fixture.runtime.block_on(busy.open(ECHO, &[])).unwrap();
    fixture.runtime.block_on(send(&mut body, framed(0, b""), true)).unwrap();
    let call = fixture.next_call();
    assert_eq!(fixture.next_note(&call), Note::Cancelled);
    assert!(fixture.runtime.block_on(reply(response)).is_err());
}

#[test]
fn health_is_answered_until_the_end() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    // Keeps the connection open.
    let first = fixture.begin(&client, ECHO, b"");
    let running = fixture.next_call();
    let (response, mut body) =
        fixture.runtime.block_on(client.open(CHECK, &[("x-retry-attempt", "1")])).unwrap();
    // Its headers have arrived before the client is asked to go elsewhere.
    let check = fixture.front.counts().method(CHECK).unwrap();
    until(|| check.retried.load(Relaxed) == 1);
    fixture.front.begin_stop();
    fixture.runtime.block_on(send(&mut body, framed(0, b""), true)).unwrap();
    fixture.next_call().answer(b"");
    assert_eq!(fixture.runtime.block_on(reply(response)).unwrap().code(), "0");
    running.answer(b"");
    assert_eq!(fixture.wait(first).code(), "0");
}

#[test]
fn a_port_that_is_taken_is_not_bound() {
    let fixture = Fixture::new(|_| ());
    let error = fixture.front.bind(([127, 0, 0, 1], fixture.port).into()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}
