//! What goes in comes out: whole, in order per class, the urgent first, and not without bound.

use std::time::Duration;

use bytes::Bytes;
use engine::limits::FRAME_BYTES_MAX;
use node::transport::{Class, ConnectionError, FrameSender, Transport, code};
use tokio::time::timeout;

use crate::support::{Ends, TRANSPORTS, connected, soon};

fn frame(byte: u8, length: usize) -> Bytes {
    vec![byte; length].into()
}

#[tokio::test]
async fn frames_of_every_class_and_size_arrive_whole_and_in_order() {
    let sizes = [0, 1, 3, 1200, 16_381, 16_384, 65_536, 70_001, FRAME_BYTES_MAX];
    for transport in TRANSPORTS {
        let (_portal, _customer, mut ends) = connected(transport).await;
        for (mut from, mut to) in [(ends.ours.0, ends.theirs.1), (ends.theirs.0, ends.ours.1)] {
            let sending = send_all(&mut from, &sizes);
            let receiving = async {
                let mut next = [0; 3];
                for _ in 0..sizes.len() * 3 {
                    let (class, frame) = to.recv().await.unwrap().unwrap();
                    let at = &mut next[class as usize];
                    assert_eq!(frame.len(), sizes[*at], "{transport:?} {class:?}");
                    assert!(frame.iter().all(|byte| *byte == class as u8 + 10));
                    *at += 1;
                }
            };
            soon(async { tokio::join!(sending, receiving) }).await;
            (ends.ours.1, ends.theirs.0) = (to, from.clone());
        }
    }
}

async fn send_all(sender: &mut FrameSender, sizes: &[usize]) {
    for size in sizes {
        for class in Class::ALL {
            sender.send(class, frame(class as u8 + 10, *size)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_frame_too_long_is_not_sent_and_harms_nothing() {
    for transport in TRANSPORTS {
        let (_portal, _customer, mut ends) = connected(transport).await;
        let long = frame(1, FRAME_BYTES_MAX + 1);
        let length = long.len();
        let error = ends.ours.0.send(Class::Bundles, long).await.unwrap_err();
        assert_eq!(error, ConnectionError::TooLargeToSend { length });
        ends.ours.0.send(Class::Bundles, "fine".into()).await.unwrap();
        assert_eq!(&soon(ends.theirs.1.recv()).await.unwrap().unwrap().1[..], b"fine");
    }
}

/// Sends bundles nobody reads until `send` waits; says how many bytes were taken.
async fn fill(ends: &Ends) -> usize {
    let (big, mut taken) = (frame(1, 256 * 1024), 0);
    loop {
        let sending = ends.ours.0.send(Class::Bundles, big.clone());
        match timeout(Duration::from_millis(300), sending).await {
            Ok(sent) => sent.unwrap(),
            Err(_) => return taken,
        }
        taken += big.len();
        assert!(taken < 64 * 1024 * 1024, "no backpressure");
    }
}

#[tokio::test]
async fn a_slow_reader_stops_the_sender_and_then_gets_everything() {
    for transport in TRANSPORTS {
        let (_portal, _customer, mut ends) = connected(transport).await;
        let taken = fill(&ends).await;
        assert!(taken <= 24 * 1024 * 1024, "{transport:?} took {taken} bytes unread");

        // What was taken is whole or absent, never cut: the close says so, and not a broken frame.
        let closing = ends.ours.0.clone();
        let closing = tokio::spawn(async move { closing.close(code::DONE, "enough").await });
        let mut received = 0;
        loop {
            match soon(ends.theirs.1.recv()).await.unwrap() {
                Ok((_, frame)) => received += frame.len(),
                Err(ConnectionError::ClosedByPeer { code: code::DONE, .. }) => break,
                Err(other) => panic!("{transport:?}: {other}"),
            }
        }
        assert!(received <= taken + 256 * 1024);
        assert_eq!(received % (256 * 1024), 0);
        closing.await.unwrap();
    }
}

#[tokio::test]
async fn unread_bundles_and_blobs_never_block_control() {
    let (_portal, _customer, mut ends) = connected(Transport::Quic).await;
    ends.theirs.1.hold(Class::Bundles, true);
    ends.theirs.1.hold(Class::Blobs, true);
    fill(&ends).await;
    // Bundles are full and one send of them hangs; the others go on.
    let blocked = ends.ours.0.clone();
    let blocked =
        tokio::spawn(async move { blocked.send(Class::Bundles, frame(1, 1_000_000)).await });
    for n in 0..1000_u32 {
        let ping = Bytes::copy_from_slice(&n.to_be_bytes());
        soon(ends.ours.0.send(Class::Control, ping.clone())).await.unwrap();
        let (class, frame) = soon(ends.theirs.1.recv()).await.unwrap().unwrap();
        assert_eq!((class, frame), (Class::Control, ping));
    }
    assert!(!blocked.is_finished());
    soon(ends.ours.0.send(Class::Blobs, "a chunk".into())).await.unwrap();
    ends.theirs.1.hold(Class::Blobs, false);
    assert_eq!(soon(ends.theirs.1.recv()).await.unwrap().unwrap().0, Class::Blobs);
    ends.theirs.1.hold(Class::Bundles, false);
    while !blocked.is_finished() {
        soon(ends.theirs.1.recv()).await.unwrap().unwrap();
    }
    blocked.await.unwrap().unwrap();
}

#[tokio::test]
async fn control_overtakes_what_is_queued() {
    for transport in TRANSPORTS {
        let (_portal, _customer, mut ends) = connected(transport).await;
        // What has arrived cannot be overtaken; what still waits at the sender can.
        let taken = fill(&ends).await;
        let sender = ends.ours.0.clone();
        let more = tokio::spawn(async move {
            for _ in 0..40 {
                sender.send(Class::Bundles, frame(1, 256 * 1024)).await.unwrap();
            }
        });
        soon(ends.ours.0.send(Class::Control, "now".into())).await.unwrap();
        let mut before = 0;
        loop {
            let (class, frame) = soon(ends.theirs.1.recv()).await.unwrap().unwrap();
            if class == Class::Control {
                break;
            }
            before += frame.len();
        }
        let most = taken + 2 * 1024 * 1024;
        assert!(
            before < most,
            "{transport:?}: control waited for {before} of {taken} bytes and more"
        );
        more.abort();
    }
}

#[tokio::test]
async fn over_tcp_held_bundles_wait_while_control_passes() {
    let (_portal, _customer, mut ends) = connected(Transport::Tcp).await;
    ends.theirs.1.hold(Class::Bundles, true);
    for _ in 0..8 {
        ends.ours.0.send(Class::Bundles, frame(1, 256 * 1024)).await.unwrap();
    }
    soon(ends.ours.0.send(Class::Control, "again".into())).await.unwrap();
    assert_eq!(soon(ends.theirs.1.recv()).await.unwrap().unwrap().0, Class::Control);
}

#[tokio::test]
async fn a_close_carries_its_code_and_what_control_said_before() {
    for transport in TRANSPORTS {
        let (_portal, _customer, mut ends) = connected(transport).await;
        for n in 0..100 {
            ends.ours.0.send(Class::Control, frame(n, 100)).await.unwrap();
        }
        let theirs = tokio::spawn(async move {
            let mut frames = 0;
            loop {
                match ends.theirs.1.recv().await {
                    Some(Ok(_)) => frames += 1,
                    Some(Err(error)) => return (frames, error, ends.theirs),
                    None => panic!("an end without a reason"),
                }
            }
        });
        soon(ends.ours.0.close(17, "one sentence")).await;
        let (frames, error, theirs) = soon(theirs).await.unwrap();
        let reason = "one sentence".to_owned();
        assert_eq!(frames, 100, "{transport:?}");
        assert_eq!(error, ConnectionError::ClosedByPeer { code: 17, reason: reason.clone() });
        let ours = soon(ends.ours.1.recv()).await.unwrap().unwrap_err();
        assert_eq!(ours, ConnectionError::ClosedHere { code: 17, reason: reason.clone() });
        assert!(ends.ours.1.recv().await.is_none());
        // Both halves agree, for as long as they are asked.
        assert_eq!(theirs.0.closed().await, error);
        assert_eq!(theirs.0.send(Class::Control, "late".into()).await.unwrap_err(), error);
        let late = ends.ours.0.send(Class::Control, "late".into()).await.unwrap_err();
        assert_eq!(late, ConnectionError::ClosedHere { code: 17, reason });
    }
}

#[tokio::test]
async fn dropping_every_handle_closes() {
    for transport in TRANSPORTS {
        let (_portal, _customer, mut ends) = connected(transport).await;
        drop(ends.ours);
        let error = soon(ends.theirs.1.recv()).await.unwrap().unwrap_err();
        assert_eq!(
            error,
            ConnectionError::ClosedByPeer { code: code::DONE, reason: String::new() }
        );
    }
}

#[tokio::test]
async fn a_long_reason_is_cut_on_a_character() {
    for transport in TRANSPORTS {
        let (_portal, _customer, mut ends) = connected(transport).await;
        ends.ours.0.abort(1, &"è".repeat(4000));
        match soon(ends.theirs.1.recv()).await.unwrap() {
            Err(ConnectionError::ClosedByPeer { code: 1, reason }) => {
                assert!(reason.chars().all(|c| c == 'è') && reason.len() >= 400, "{reason}");
            }
            other => panic!("{transport:?}: {other:?}"),
        }
    }
}
