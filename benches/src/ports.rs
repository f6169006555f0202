//! Ports for who must know one before it is bound: a program of its own that is told where to
//! listen, or one of two that must know of each other before either runs.
//!
//! The system is not asked for a free port: it gives the same one to the next who asks or connects
//! as soon as it is let go. Ours are below those, which nobody gets who did not name one.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    ops::Range,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Below what Linux, macOS and Windows give to who names none.
const PORTS: Range<u16> = 10_000..32_000;
/// Processes that follow each other begin this far from one another.
const APART: u32 = 997;

/// An address on loopback whose port nobody has now, for UDP and TCP alike. No process is given the
/// same port twice before it was given all others.
///
/// # Errors
/// All are taken.
pub fn free_address() -> io::Result<SocketAddr> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let begin = process::id().wrapping_mul(APART);
    for _ in PORTS {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        let nth = begin.wrapping_add(given) % PORTS.len() as u32;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORTS.start + nth as u16));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free on loopback"))
}
