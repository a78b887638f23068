//! Calls of one request and one answer through the front, on a real socket.

#[path = "common/front.rs"]
mod common;

use std::future::poll_fn;
use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use common::{BOTH, CHECK, ECHO, Fixture, framed, reply, send, until};
use flate2::Compression;
use flate2::write::GzEncoder;
use h2::Reason;
use lookalike_serve::caller::REQUEST_ID;
use lookalike_serve::failure::Failure;
use lookalike_serve::front::{Cause, Ending, Kind, Note};
use tonic::Code;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_call_is_answered_with_its_request_id() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let task = fixture.runtime.spawn(async move {
        client
            .call(ECHO, &[("x-request-id", "mine"), ("own-bin", "AAE"), ("grpc-timeout", "1H")], b"question")
            .await
    });
    let call = fixture.next_call();
    let about = call.about();
    assert_eq!(
        (about.method, &about.request[..], &about.headers["own-bin"]),
        (0, &b"question"[..], &"AAE".parse().unwrap())
    );
    assert!(about.deadline.unwrap() > Instant::now() + Duration::from_secs(3000));
    assert!(about.peer.ip().is_loopback());
    let counts = fixture.front.counts();
    assert_eq!((counts.in_progress(Kind::Call), counts.request_bytes()), (1, 8));
    call.answer(b"answer");
    assert_eq!((counts.in_progress(Kind::Call), counts.request_bytes()), (0, 0));
    let reply = fixture.wait(task);
    assert_eq!((reply.code(), &reply.content), ("0", &framed(0, b"answer")));
    assert_eq!(reply.trailers()[REQUEST_ID], "mine");
    assert_eq!(reply.headers["grpc-accept-encoding"], "identity,gzip");
    assert!(fixture.nothing_has_arrived());
}

#[test]
fn a_call_is_ended_with_a_status_and_trailers() {
    let fixture = Fixture::new(|_| ());
    let task = fixture.begin(&fixture.connect(), ECHO, b"");
    let own = ("own".parse().unwrap(), "x".parse().unwrap());
    fixture.next_call().end(Ending::status(Code::NotFound, "no é", [own]));
    let reply = fixture.wait(task);
    assert_eq!((reply.code(), reply.message(), reply.content.len()), ("5", "no%20%C3%A9", 0));
    assert_eq!((reply.headers[REQUEST_ID].len(), &reply.headers["own"]), (32, &"x".parse().unwrap()));
}

#[test]
fn a_call_that_is_dropped_ends_as_a_defect() {
    let fixture = Fixture::new(|_| ());
    let task = fixture.begin(&fixture.connect(), ECHO, b"");
    drop(fixture.next_call());
    let reply = fixture.wait(task);
    assert!(reply.code() == "13" && reply.message().contains(reply.headers[REQUEST_ID].to_str().unwrap()));
    assert_eq!(fixture.front.counts().in_progress(Kind::Call), 0);
}

#[test]
fn too_many_calls_are_refused_before_they_are_read() {
    let fixture = Fixture::new(|options| options.limits.most[0] = 1);
    let client = fixture.connect();
    let first = fixture.begin(&client, ECHO, b"");
    let running = fixture.next_call();
    // Only its headers come.
    let refused = fixture.runtime.block_on(async {
        let (response, _body) = client.open(ECHO, &[]).await.unwrap();
        reply(response).await.unwrap()
    });
    assert_eq!(
        (refused.code(), refused.message()),
        ("8", "the server has too many calls in progress".replace(' ', "%20").as_str())
    );
    assert!(refused.is_because("OVERLOADED") && refused.is_because("RetryInfo"));
    let counts = fixture.front.counts();
    assert_eq!(counts.refused(Kind::Call, Cause::TooMany), 1);
    assert_eq!(counts.methods[0].ended().collect::<Vec<_>>(), [(8, 1)]);
    // What keeps others from calling keeps nobody from asking whether the server is there.
    let check = fixture.begin(&client, CHECK, b"");
    fixture.next_call().answer(b"");
    assert_eq!(fixture.wait(check).code(), "0");
    running.answer(b"");
    assert_eq!(fixture.wait(first).code(), "0");
}

#[test]
fn requests_may_go_on_arriving_after_they_were_refused() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    fixture.front.counts().method(ECHO).unwrap().set_limit(Some(0), "", Duration::ZERO);
    let refused = async || {
        let (response, body) = client.open(ECHO, &[]).await.unwrap();
        assert_eq!(reply(response).await.unwrap().code(), "8");
        body
    };
    fixture.runtime.block_on(async {
        // More than the resets after which h2 gives a connection up.
        for _ in 0..1_500 {
            send(&mut refused().await, framed(0, b"late"), true).await.unwrap();
        }
        let mut never_whole = refused().await;
        let reset = poll_fn(|context| never_whole.poll_reset(context)).await.unwrap();
        assert_eq!(reset, Reason::NO_ERROR);
    });
    assert!(!client.is_closed());
}

#[test]
fn a_call_that_comes_whole_takes_the_place_of_one_that_does_not() {
    let fixture = Fixture::new(|options| options.limits.most[0] = 1);
    let client = fixture.connect();
    let (slow, mut body) = fixture.runtime.block_on(client.open(ECHO, &[])).unwrap();
    let first = fixture.begin(&client, ECHO, b"whole");
    let running = fixture.next_call();
    assert_eq!(running.about().request, "whole");
    fixture.runtime.block_on(send(&mut body, framed(0, b"late"), true)).unwrap();
    assert_eq!(fixture.runtime.block_on(reply(slow)).unwrap().code(), "8");
    running.answer(b"");
    assert_eq!(fixture.wait(first).code(), "0");
}

#[test]
fn the_calls_of_a_method_are_limited() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let method = fixture.front.counts().method(ECHO).unwrap();
    method.set_limit(Some(0), "not today", Duration::from_secs(7));
    let refused = fixture.call(&client, ECHO, &[("x-retry-attempt", "1")], b"");
    assert_eq!((refused.code(), refused.message()), ("8", "not%20today"));
    assert_eq!(fixture.front.counts().refused(Kind::Call, Cause::Limited), 1);
    assert_eq!((method.retried.load(Relaxed), method.limited.load(Relaxed)), (1, 1));
    method.set_limit(None, "", Duration::ZERO);
    let task = fixture.begin(&client, ECHO, b"");
    fixture.next_call().answer(b"");
    assert_eq!(fixture.wait(task).code(), "0");
}

#[test]
fn requests_that_are_too_large_together_are_refused_as_they_arrive() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let first = fixture.begin(&client, ECHO, &vec![1; 5 << 20]);
    let running = fixture.next_call();
    let counts = fixture.front.counts();
    assert_eq!(counts.request_bytes(), 5 << 20);
    let refused = fixture.call(&client, ECHO, &[], &vec![1; 5 << 20]);
    assert_eq!(
        (refused.code(), refused.message()),
        ("8", "the%20requests%20in%20progress%20are%20too%20large%20together")
    );
    assert_eq!((counts.refused(Kind::Call, Cause::TooLarge), counts.request_bytes()), (1, 5 << 20));
    running.answer(b"");
    assert_eq!((fixture.wait(first).code(), counts.request_bytes()), ("0", 0));
}

#[test]
fn a_message_that_is_too_large_takes_nothing() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let header = framed(0, &vec![0; (6 << 20) + 1]).slice(..5);
    let refused = fixture.runtime.block_on(async {
        let (response, mut body) = client.open(ECHO, &[]).await.unwrap();
        send(&mut body, header, false).await.unwrap();
        reply(response).await.unwrap()
    });
    assert_eq!(refused.code(), "8");
    assert!(refused.message().ends_with("larger%20than%20max%20(6291457%20vs.%206291456)"));
    assert_eq!(fixture.front.counts().request_bytes(), 0);
}

#[test]
fn a_request_that_stops_arriving_is_ended() {
    let fixture = Fixture::new(|options| options.idle = Duration::from_millis(30));
    let client = fixture.connect();
    let late = fixture.runtime.block_on(async {
        let (response, mut body) = client.open(ECHO, &[]).await.unwrap();
        send(&mut body, framed(0, b"question").slice(..9), false).await.unwrap();
        reply(response).await.unwrap()
    });
    assert_eq!((late.code(), late.message()), ("4", "the%20message%20did%20not%20arrive%20in%20time"));
    assert_eq!(fixture.front.counts().request_bytes(), 0);
}

#[test]
fn a_request_may_come_in_small_parts() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let task = fixture.runtime.spawn(async move {
        let (response, mut body) = client.open(ECHO, &[]).await.unwrap();
        for part in framed(0, b"question").chunks(1) {
            send(&mut body, part.to_vec().into(), false).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        body.send_data(bytes::Bytes::new(), true).unwrap();
        reply(response).await.unwrap()
    });
    let call = fixture.next_call();
    assert_eq!(call.about().request, "question");
    call.answer(b"");
    assert_eq!(fixture.wait(task).code(), "0");
}

#[test]
fn gzip_is_inflated_up_to_the_limit_of_a_message() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let compressed = |content: &[u8], encoding: &'static str| {
        let (client, content) = (client.clone(), framed(1, content));
        fixture.runtime.spawn(async move {
            let (response, mut body) = client.open(ECHO, &[("grpc-encoding", encoding)]).await.unwrap();
            let _ = send(&mut body, content, true).await;
            reply(response).await.unwrap()
        })
    };
    // More than is inflated at once.
    let content: Vec<u8> =
        (0..1 << 20).map(|number: u32| number.to_le_bytes()[number as usize % 2]).collect();
    let task = compressed(&gzip(&content), "gzip");
    let call = fixture.next_call();
    assert!(call.about().request == content);
    assert_eq!(fixture.front.counts().request_bytes(), 1 << 20);
    call.answer(b"");
    assert_eq!(fixture.wait(task).code(), "0");
    for (content, encoding, code) in [
        (gzip(&vec![0; (6 << 20) + 1]), "gzip", "8"),
        (b"no gzip".to_vec(), "gzip", "13"),
        (gzip(b"x"), "deflate", "12"),
        (gzip(b"x"), "identity", "12"),
    ] {
        assert_eq!(fixture.wait(compressed(&content, encoding)).code(), code, "{encoding}");
    }
    assert_eq!(fixture.front.counts().request_bytes(), 0);
}

#[test]
fn a_request_that_is_not_one_message_is_refused() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let message = framed(0, b"x");
    let two = [&message[..], &message].concat();
    for (content, code) in [(&two[..], "13"), (&message[..5], "13"), (b"", "13"), (b"\x02\0\0\0\0", "13")] {
        let content = content.to_vec();
        let refused = fixture.runtime.block_on(async {
            let (response, mut body) = client.open(ECHO, &[]).await.unwrap();
            send(&mut body, content.into(), false).await.unwrap();
            body.send_data(bytes::Bytes::new(), true).unwrap();
            reply(response).await.unwrap()
        });
        assert_eq!(refused.code(), code);
    }
    assert!(fixture.nothing_has_arrived());
}

#[test]
fn a_call_ends_at_its_deadline_wherever_it_is() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let timeout = [("grpc-timeout", "30m")];
    let unsent = fixture.runtime.block_on(async {
        let (response, _body) = client.open(ECHO, &timeout).await.unwrap();
        reply(response).await.unwrap()
    });
    assert_eq!((unsent.code(), unsent.message()), ("4", "Deadline%20Exceeded"));
    let counts = fixture.front.counts();
    assert_eq!(counts.methods[0].ended().collect::<Vec<_>>(), [(4, 1)]);
    let unanswered = fixture.call(&client, ECHO, &[("grpc-timeout", "1S")], b"question");
    assert_eq!(unanswered.code(), "4");
    let call = fixture.next_call();
    assert_eq!(fixture.next_note(&call), Note::Cancelled);
    assert_eq!((counts.in_progress(Kind::Call), counts.request_bytes()), (0, 0));
    call.answer(b"too late");
    // Who has seen it counts it.
    assert_eq!(counts.methods[0].ended().collect::<Vec<_>>(), [(4, 1)]);
}

#[test]
fn a_call_that_its_client_ends_is_over() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let (response, mut body) = fixture.runtime.block_on(client.open(ECHO, &[])).unwrap();
    fixture.runtime.block_on(send(&mut body, framed(0, b"question"), true)).unwrap();
    let call = fixture.next_call();
    body.send_reset(h2::Reason::CANCEL);
    assert_eq!(fixture.next_note(&call), Note::Cancelled);
    call.end(Ending::from(&Failure::shutting_down()));
    drop((call, response));
    assert!(fixture.nothing_has_arrived());
    // Before it is handed over it is counted here.
    let (_response, mut body) = fixture.runtime.block_on(client.open(ECHO, &[])).unwrap();
    fixture.runtime.block_on(send(&mut body, framed(0, b"question").slice(..6), false)).unwrap();
    let counts = fixture.front.counts();
    until(|| counts.request_bytes() == 1);
    body.send_reset(h2::Reason::CANCEL);
    until(|| counts.methods[0].ended().any(|end| end == (1, 1)));
    assert_eq!(counts.request_bytes(), 0);
}

#[test]
fn a_client_that_does_not_read_its_answers_may_not_call_on() {
    let fixture = Fixture::new(|_| ());
    let answer = vec![7; 5 << 20];
    // Of the first's answers nothing may be sent, and hyper keeps them; of the other's one byte, and h2 keeps the rest.
    for window in [0, 1] {
        let client = fixture.connect_with_window(window);
        let unread: Vec<_> = (0..5)
            .map(|_| {
                let task = fixture.begin(&client, ECHO, b"");
                fixture.next_call().answer(&answer);
                task
            })
            .collect();
        let refused = fixture.call(&client, ECHO, &[], b"");
        assert!(refused.code() == "8" && refused.message().ends_with("answers%20that%20it%20has%20got"));
        assert!(fixture.nothing_has_arrived());
        assert_eq!(fixture.front.counts().refused(Kind::Call, Cause::Unread), 1 + u64::from(window));
        assert!(unread.iter().all(|task| !task.is_finished()));
    }
    let client = fixture.connect();
    for _ in 0..10 {
        let task = fixture.begin(&client, ECHO, b"");
        fixture.next_call().answer(&answer);
        assert_eq!(fixture.wait(task).content.len(), 5 + answer.len());
    }
}

#[test]
fn a_call_on_its_way_is_refused_when_its_client_does_not_read_any_more() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect_with_window(0);
    let (late, mut body) = fixture.runtime.block_on(client.open(ECHO, &[])).unwrap();
    for _ in 0..5 {
        fixture.begin(&client, ECHO, b"");
        fixture.next_call().answer(&vec![7; 5 << 20]);
    }
    fixture.runtime.block_on(send(&mut body, framed(0, b"late"), true)).unwrap();
    assert_eq!(fixture.runtime.block_on(reply(late)).unwrap().code(), "8");
    assert!(fixture.nothing_has_arrived());
}

#[test]
fn what_is_not_served_is_refused() {
    let fixture = Fixture::new(|_| ());
    let client = fixture.connect();
    let unknown = fixture.call(&client, "/test.Service/No", &[], b"");
    assert_eq!((unknown.code(), unknown.message()), ("12", "Method%20not%20found!"));
    assert_eq!(unknown.headers[REQUEST_ID].len(), 32);
    let response = fixture.runtime.block_on(async {
        let (response, _body) = client.open(BOTH, &[("content-type", "text/plain")]).await.unwrap();
        response.await.unwrap()
    });
    assert_eq!(response.status(), 415);
}
