//! This machine's clock beside that of a time server, by SNTP (RFC 4330): certificates, the hours to
//! connect and the moments in every file rest on it.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{UdpSocket, lookup_host},
    time::timeout,
};

use super::Finding;
use crate::moment::{now_ms, rfc3339};

/// 2026-01-01: no clock that is right shows less.
const BUILT_MS: u64 = 1_767_225_600_000;
/// Where time servers listen.
const PORT: u16 = 123;
/// How long an answer may take; a second question is sent after it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How far a clock may be off before it is said, and before it does harm.
const OFF_MS_MAX: u64 = 5_000;
const WRONG_MS_MIN: u64 = 300_000;
/// From 1900, where its seconds begin, to 1970.
const FROM_1900_S: i64 = 2_208_988_800;
const SET: &str = "set the clock: timedatectl set-ntp true";

/// Looks at the clock, and asks `server` (a name or address, with or without a port) unless it is
/// empty.
pub(super) async fn check(server: &str) -> Finding {
    let now = now_ms();
    let shown = rfc3339(now);
    if now < BUILT_MS {
        return Finding::error("clock", format!("it shows {shown}"), SET);
    }
    if server.is_empty() {
        return Finding::ok("clock", format!("{shown}, compared with nobody"));
    }
    match ask(server).await {
        Err(why) => Finding::warning(
            "clock",
            format!("{shown}, not compared: {server}: {why}"),
            "let UDP to port 123 pass, or name another `time_server`",
        ),
        Ok(off) => judged(&shown, server, off),
    }
}

/// What a clock is that is `off` milliseconds ahead of the server's.
fn judged(shown: &str, server: &str, off: i64) -> Finding {
    let (seconds, rest) = (off.unsigned_abs() / 1000, off.unsigned_abs() % 1000);
    let way = if off < 0 { "behind" } else { "ahead of" };
    let found = format!("{shown}, {seconds}.{rest:03} s {way} {server}");
    let off = off.unsigned_abs();
    if off >= WRONG_MS_MIN {
        Finding::error("clock", found, SET)
    } else if off > OFF_MS_MAX {
        Finding::warning("clock", found, SET)
    } else {
        Finding::ok("clock", found)
    }
}

/// How many milliseconds this clock is ahead of the server's.
async fn ask(server: &str) -> io::Result<i64> {
    let found = match server.parse::<SocketAddr>() {
        Ok(address) => Some(address),
        Err(_) if server.contains(':') => lookup_host(server).await?.next(),
        Err(_) => lookup_host((server, PORT)).await?.next(),
    };
    let address = found.ok_or_else(|| io::Error::other("it has no address"))?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    for _ in 0..2 {
        let sent = now_ms();
        let mut question = [0; 48];
        // Version 4, a client; what it sends as its time comes back with the answer.
        question[0] = 0x23;
        question[40..].copy_from_slice(&sent.to_be_bytes());
        socket.send(&question).await?;
        let mut answer = [0; 48];
        let Ok(length) = timeout(PATIENCE, socket.recv(&mut answer)).await else { continue };
        if length? < answer.len() {
            continue;
        }
        if let Some((received, replied)) = read(&answer, sent) {
            let [sent, back] = [sent, now_ms()].map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
            return Ok(((sent - received) + (back - replied)) / 2);
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"))
}

/// When a server got what was sent at `sent`, and when it replied, in milliseconds since 1970.
/// None for what is no answer to that, or from a server that does not know the time itself.
fn read(answer: &[u8; 48], sent: u64) -> Option<(i64, i64)> {
    let (mode, stratum) = (answer[0] & 7, answer[1]);
    let is_ours = answer[24..32] == sent.to_be_bytes();
    (mode == 4 && (1..16).contains(&stratum) && is_ours)
        .then(|| Some((moment(answer, 32)?, moment(answer, 40)?)))?
}

fn moment(answer: &[u8; 48], at: usize) -> Option<i64> {
    let [seconds, fraction] =
        [at, at + 4].map(|at| answer.get(at..)?.first_chunk().copied().map(u32::from_be_bytes));
    let (seconds, fraction) = (i64::from(seconds?), i64::from(fraction?));
    // The count begins anew in 2036.
    let era = if seconds < FROM_1900_S { 1_i64 << 32 } else { 0 };
    Some((seconds + era - FROM_1900_S) * 1000 + ((fraction * 1000) >> 32))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::doctor::Verdict;

    /// A server whose clock is `off` milliseconds ahead of ours. `spoil` changes its answers.
    pub async fn server(off: i64, spoil: fn(&mut [u8; 48])) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let mut asked = [0; 48];
            while let Ok((_, from)) = socket.recv_from(&mut asked).await {
                let mut answer = [0; 48];
                (answer[0], answer[1]) = (0x24, 2);
                answer[24..32].copy_from_slice(&asked[40..]);
                let now = i64::try_from(now_ms()).unwrap() + off;
                let seconds =
                    u32::try_from((now.div_euclid(1000) + FROM_1900_S) % (1 << 32)).unwrap();
                let fraction = u32::try_from((now.rem_euclid(1000) << 32) / 1000).unwrap();
                for at in [32, 40] {
                    answer[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
                    answer[at + 4..at + 8].copy_from_slice(&fraction.to_be_bytes());
                }
                spoil(&mut answer);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_clock_that_is_off_is_said_and_by_how_much() {
        for (off, verdict, words) in [
            (0, Verdict::Ok, "0."),
            (-60_400, Verdict::Warning, "60."),
            (3_600_400, Verdict::Error, "3600."),
        ] {
            let found = check(&server(off, |_| {}).await).await;
            assert_eq!(found.verdict, verdict, "{found:?}");
            assert!(found.found.contains(words), "{found:?}");
            assert_eq!(found.found.contains("behind"), off > 0, "{found:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_not_believed() {
        let spoils: [fn(&mut [u8; 48]); 3] = [|a| a[0] = 0x23, |a| a[1] = 0, |a| a[24] ^= 1];
        let asked = spoils.map(|spoil| async move {
            let found = check(&server(3_600_000, spoil).await).await;
            assert_eq!(found.verdict, Verdict::Warning, "{found:?}");
            assert!(found.found.contains("not compared") && !found.cure.is_empty(), "{found:?}");
        });
        for one in asked.map(tokio::spawn) {
            one.await.unwrap();
        }
        let none = check("time.invalid").await;
        assert_eq!(none.verdict, Verdict::Warning, "{none:?}");
        assert_eq!(check("").await.verdict, Verdict::Ok);
    }
}
