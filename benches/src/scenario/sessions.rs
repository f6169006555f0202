//! Many customers hold a session to one portal and say nothing: what each costs it in memory.
//!
//! The portal is the real one, in a process of its own. The customers are connections of this
//! process: each has its own certificate and grant, greets, acknowledges what it is sent, answers
//! pings, and keeps nothing.

use std::{net::Ipv4Addr, sync::Arc, thread::sleep, time::Duration};

use benches::{
    end::{AnyError, Order, Papers},
    figures::{Figures, print},
    workload::customer,
};
use bytes::Bytes;
use engine::{
    id::PeerId,
    vector::Digest,
    wire::{Frame, Hello, VERSIONS},
};
use node::transport::{Class, Connection, DialError, Dialer, Endpoint, PinSet, Transport};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Options, World};

/// How long all are at rest before the memory is read: longer than any ping of an idle session.
const REST: Duration = Duration::from_secs(20);
/// Handshakes at a time, which the portal bounds from one address.
const DIALS: usize = 64;
/// How often a customer dials again.
const TRIES: usize = 10;

/// Measures `options.runs` times `customers` sessions, each with another portal.
pub fn run(options: &Options, customers: u64) -> Result<(), AnyError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut runs = Vec::new();
    for run in 0..options.runs {
        let mut world = World::start(options, 1)?;
        let portal = &mut world.portals[0];
        let mut papers = Vec::new();
        for n in 0..customers {
            let own = Papers::issue()?;
            portal.done(&Order::About { tenant: customer(n) })?;
            portal.done(&Order::Admit { cert: own.cert.clone(), key: own.key.clone() })?;
            papers.push(own);
        }
        sleep(Duration::from_secs(2));
        let before = portal.read()?;
        let at = portal.place.listen.ok_or("the portal does not listen")?;
        let expected = portal.place.papers.pin()?;
        let open = runtime.block_on(connect(papers, at, expected))?;
        portal.done(&Order::Greeted { sessions: customers as usize })?;
        let opened = portal.read()?;
        sleep(REST);
        let after = portal.read()?;
        if open.len() as u64 != customers {
            return Err("a session was lost".into());
        }
        portal.done(&Order::Greeted { sessions: customers as usize })?;
        let each = |bytes: u64| bytes.saturating_sub(before.rss_bytes) as f64 / customers as f64;
        let seconds = |from: u64, to: u64| (to - from) as f64 / 1e9;
        let figures = Figures::of("sessions")
            .label("link", "loopback")
            .with("sessions", customers)
            .with("rss_before_bytes", before.rss_bytes)
            .with("rss_bytes", after.rss_bytes)
            .with("bytes_a_session", each(after.rss_bytes))
            .with("peak_bytes_a_session", each(after.peak_bytes))
            .with(
                "cpu_us_a_handshake",
                (opened.cpu_ns - before.cpu_ns) as f64 / 1e3 / customers as f64,
            )
            .with("opened_in_s", seconds(before.at_ns, opened.at_ns))
            .with(
                "idle_cpu_share",
                seconds(opened.cpu_ns, after.cpu_ns) / seconds(opened.at_ns, after.at_ns),
            );
        println!("{}", figures.to_json(&run.to_string()));
        runs.push(figures);
        drop(open);
    }
    print(&runs);
    Ok(())
}

/// Dials, and again where both ends together are too busy to answer in time.
async fn patiently(
    dialer: &Dialer,
    at: std::net::SocketAddr,
    expected: PeerId,
) -> Result<Connection, DialError> {
    let mut tries = 0;
    loop {
        match dialer.dial(0, at, expected, Transport::Quic).await {
            Err(DialError::Timeout { .. } | DialError::Busy { .. }) if tries < TRIES => tries += 1,
            ended => return ended,
        }
    }
}

/// Opens a session for each, and keeps them going.
async fn connect(
    papers: Vec<Papers>,
    at: std::net::SocketAddr,
    expected: PeerId,
) -> Result<JoinSet<()>, AnyError> {
    let endpoint = Endpoint::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let pins = PinSet::new([(expected, None)].into());
    let turns = Arc::new(Semaphore::new(DIALS));
    let mut dials = JoinSet::new();
    for papers in papers {
        let turn = Arc::clone(&turns).acquire_owned().await?;
        let dialer = Dialer::new(papers.identity()?, pins.clone(), vec![endpoint.clone()]);
        dials.spawn(async move {
            let connection = patiently(&dialer, at, expected).await?;
            let (sender, receiver) = connection.split();
            let hello = Frame::Hello(Hello {
                versions: VERSIONS,
                agent: "bench".into(),
                primary: true,
                spaces: vec![],
                root: Digest::of_root([].into_iter()),
            });
            sender.send(Class::Control, Bytes::from(hello.encode())).await?;
            drop(turn);
            Ok::<_, AnyError>((sender, receiver))
        });
    }
    let mut open = JoinSet::new();
    while let Some(dialled) = dials.join_next().await {
        let (sender, mut receiver) = dialled??;
        open.spawn(async move {
            while let Some(Ok((_, bytes))) = receiver.recv().await {
                let answer = match Frame::decode(&bytes) {
                    Ok(Frame::Run(run)) => {
                        let Ok(last) = run.last() else { continue };
                        Frame::Ack { tenant: run.tenant, logs: vec![(run.log, last)] }
                    }
                    Ok(Frame::Ping(n)) => Frame::Pong(n),
                    _ => continue,
                };
                if sender.send(Class::Control, Bytes::from(answer.encode())).await.is_err() {
                    break;
                }
            }
        });
    }
    Ok(open)
}
