//! What a link really does, measured: a wrong emulator makes every later figure wrong.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use super::{Link, LinkHandle, LinkSpec, Path};

const DELAY: Duration = Duration::from_millis(20);
const RATE: u64 = 20_000_000;
const LOSS: f64 = 0.05;
const PROBES: usize = 200;
const BULK_DATAGRAMS: usize = 2000;
const DATAGRAM_BYTES: usize = 1200;

/// The figures of one self-check. `Display` is one line of JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// Round trip through a clear link, median and 99th percentile: the relay's own cost.
    pub clear_rtt_us: [u64; 2],
    /// One way of 20 ms asked for: median and 99th percentile of what was added to it.
    pub delay_error_us: [i64; 2],
    /// Bits per second of payload, 20,000,000 asked for.
    pub rate: u64,
    /// Of 2,000 datagrams at 5 % asked for.
    pub loss: f64,
    /// Datagrams that overtook another under 10 ms of jitter: none, if all is well.
    pub overtaken: usize,
}

impl Check {
    /// Whether later figures may be believed: delay within 0.5 ms, rate within 2 %, order kept.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.delay_error_us[0].unsigned_abs() < 500
            && self.rate.abs_diff(RATE) < RATE / 50
            && (self.loss - LOSS).abs() < 0.02
            && self.overtaken == 0
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{\"clear_rtt_p50_us\":{},\"clear_rtt_p99_us\":{},\"delay_asked_us\":{},\"delay_error_p50_us\":{},\"delay_error_p99_us\":{},\"rate_asked\":{RATE},\"rate\":{},\"loss_asked\":{LOSS},\"loss\":{:.4},\"overtaken\":{},\"sound\":{}}}",
            self.clear_rtt_us[0],
            self.clear_rtt_us[1],
            DELAY.as_micros(),
            self.delay_error_us[0],
            self.delay_error_us[1],
            self.rate,
            self.loss,
            self.overtaken,
            self.is_sound(),
        )
    }
}

/// Measures links with datagrams of its own. Takes some two seconds.
///
/// # Errors
/// When loopback sockets are not to be had.
pub fn check() -> io::Result<Check> {
    let slow = Path { delay: DELAY, ..Path::CLEAR };
    let paced = Path { queue_bytes: usize::MAX / 2, ..Path::CLEAR.with_rate(RATE) };
    let (sent, arrived) = bulk(paced)?;
    let rate = {
        let first = arrived.first().ok_or(io::ErrorKind::TimedOut)?.1;
        let last = arrived.last().ok_or(io::ErrorKind::TimedOut)?.1;
        let bits = (arrived.len() - 1) * DATAGRAM_BYTES * 8;
        (bits as f64 / (last - first).as_secs_f64()) as u64
    };
    debug_assert_eq!(sent, BULK_DATAGRAMS);
    let (_, jittered) = bulk(Path { jitter: Duration::from_millis(10), ..slow })?;
    let (_, lossy) = bulk(Path { loss: LOSS, ..Path::CLEAR })?;

    let clear = one_way(Path::CLEAR)?;
    let delayed = one_way(slow)?;
    let error = |at: usize| delayed[at].as_micros() as i64 - DELAY.as_micros() as i64;
    Ok(Check {
        clear_rtt_us: [clear[0].as_micros() as u64, clear[1].as_micros() as u64],
        delay_error_us: [error(0), error(1)],
        rate,
        loss: 1.0 - lossy.len() as f64 / BULK_DATAGRAMS as f64,
        overtaken: jittered.windows(2).filter(|pair| pair[0].0 > pair[1].0).count(),
    })
}

/// Datagrams as fast as they go, one way, and when each came, by number.
fn bulk(up: Path) -> io::Result<(usize, Vec<(u32, Instant)>)> {
    let (link, target) = link(up)?;
    target.set_read_timeout(Some(Duration::from_millis(500)))?;
    let local = link.local();
    let sender = thread::spawn(move || -> io::Result<usize> {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut datagram = [0; DATAGRAM_BYTES];
        for number in 0..BULK_DATAGRAMS as u32 {
            datagram[..4].copy_from_slice(&number.to_be_bytes());
            client.send_to(&datagram, local)?;
            if number % 32 == 31 {
                // The sockets' buffers are not what is measured here.
                thread::sleep(Duration::from_micros(500));
            }
        }
        Ok(BULK_DATAGRAMS)
    });
    let mut arrived = Vec::with_capacity(BULK_DATAGRAMS);
    let mut buffer = [0; 2048];
    while arrived.len() < BULK_DATAGRAMS
        && let Ok(length) = target.recv(&mut buffer)
    {
        let number = buffer[..length].first_chunk().copied().map_or(0, u32::from_be_bytes);
        arrived.push((number, Instant::now()));
    }
    let sent = sender.join().map_err(|_| io::Error::other("the sender panicked"))??;
    Ok((sent, arrived))
}

/// Round trips whose way back is clear: median and 99th percentile.
fn one_way(up: Path) -> io::Result<[Duration; 2]> {
    let (link, target) = link(up)?;
    let echo = thread::spawn(move || -> io::Result<()> {
        let mut buffer = [0; 2048];
        for _ in 0..PROBES {
            let (length, from) = target.recv_from(&mut buffer)?;
            target.send_to(&buffer[..length], from)?;
        }
        Ok(())
    });
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    client.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut samples = Vec::with_capacity(PROBES);
    let mut buffer = [0; 2048];
    for _ in 0..PROBES {
        let sent = Instant::now();
        client.send_to(&[7; 100], link.local())?;
        client.recv(&mut buffer)?;
        samples.push(sent.elapsed());
    }
    echo.join().map_err(|_| io::Error::other("the echo panicked"))??;
    samples.sort_unstable();
    Ok([samples[PROBES / 2], samples[PROBES * 99 / 100]])
}

fn link(up: Path) -> io::Result<(LinkHandle, UdpSocket)> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // The target's own buffer must not lose what a busy machine reads late.
    let target = super::bind_udp(loopback)?;
    target.set_read_timeout(Some(Duration::from_secs(2)))?;
    let spec = LinkSpec {
        listen: loopback,
        target: target.local_addr()?,
        up,
        down: Path::CLEAR,
        seed: 42,
    };
    Ok((Link::start(spec)?, target))
}
