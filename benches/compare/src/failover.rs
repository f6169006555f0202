//! Failover by cause: ours, by its own scenario, and yardsticks, which are programs of ours in
//! `rivals/yardsticks`: a client that writes all the time over two lines, one of which fails.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use benches::{
    end::now_ns,
    link::{Link, LinkHandle, LinkSpec, Switch},
};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::results::{self, figure, line, quantile};

/// The round trip of both lines.
pub const LINE: (&str, &str) = ("40 ms", "rtt_ms=40");
/// Writing before the failure.
const BEFORE: Duration = Duration::from_secs(2);
/// What fails, as `benches failover --cause` names it.
pub const CAUSES: [&str; 5] =
    ["line-silent", "line-down", "portal-killed", "portal-frozen", "udp-blocked"];

/// What survives a failure in another way than ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Yardstick {
    /// A TCP client with the addresses of two servers.
    Tcp,
    /// QUIC multipath to one server over two lines, with iroh's timers.
    Multipath,
    /// The same with timers as short as 40 ms allow.
    MultipathShort,
}

impl Yardstick {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp-two-addresses",
            Self::Multipath => "quic-multipath",
            Self::MultipathShort => "quic-multipath-short",
        }
    }

    fn settings(self) -> &'static str {
        match self {
            Self::Tcp => {
                "two servers; an answer is waited for 1 s, then the other address is dialled"
            }
            Self::Multipath => {
                "noq 1.4.0, one server, the second path as backup; timers of iroh 1.4: 5 s between \
                 signs of life, a path given up after 15 s"
            }
            Self::MultipathShort => {
                "the same; 0.1 s between signs of life, a path given up after 0.3 s"
            }
        }
    }

    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Tcp => &[],
            Self::Multipath => &["iroh"],
            Self::MultipathShort => &["short"],
        }
    }
}

/// A process that is gone when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures a yardstick by one cause `runs` times and puts the median into the results.
pub fn run(
    program: &Path,
    yardstick: Yardstick,
    cause: &str,
    runs: u64,
    results: &Path,
) -> io::Result<()> {
    let scratch = tempfile::tempdir()?;
    let (mut flows, mut gaps, mut lost) = (Vec::new(), Vec::new(), 0);
    for _ in 0..runs {
        let seen = once(program, yardstick, cause, scratch.path())?;
        flows.push(seen.flows_again_s);
        gaps.push(seen.longest_gap_s);
        lost = lost.max(seen.lost);
    }
    let mut line = line("failover", yardstick.name(), 0, 0, LINE.0);
    line.insert("cause".into(), cause.into());
    line.insert("settings".into(), yardstick.settings().into());
    for (name, mut values) in [("flows_again_s", flows), ("longest_gap_s", gaps)] {
        let median = quantile(&mut values, 0.5);
        // Infinite where nothing flowed again.
        let value = if median.is_finite() { figure(median) } else { Value::Null };
        line.insert(name.into(), value);
    }
    line.insert("lost".into(), lost.into());
    results::put(results, line)
}

struct Seen {
    flows_again_s: f64,
    longest_gap_s: f64,
    lost: u64,
}

fn once(program: &Path, yardstick: Yardstick, cause: &str, dir: &Path) -> io::Result<Seen> {
    let tcp = yardstick == Yardstick::Tcp;
    let (mode, cert) = (if tcp { "tcp" } else { "multipath" }, dir.join("cert"));
    let cert = (!tcp).then(|| cert.display().to_string());
    let server = || -> io::Result<(Process, SocketAddr)> {
        let words = yardstick.words().iter().copied().chain(cert.as_deref());
        let mut child = Command::new(program)
            .args([mode, "server"])
            .args(words)
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
        let server = Process(child);
        let mut said = String::new();
        BufReader::new(out).read_line(&mut said)?;
        let port: u16 = said.trim().parse().map_err(|_| io::Error::other("no port"))?;
        Ok((server, (Ipv4Addr::LOCALHOST, port).into()))
    };
    let (first, at) = server()?;
    let second = if tcp { Some(server()?) } else { None };
    let other = second.as_ref().map_or(at, |(_, other)| *other);
    let links = [link(at)?, link(other)?];
    let addresses = links.iter().map(|link| link.local().to_string());
    let mut client = Process(
        Command::new(program)
            .args([mode, "client"])
            .args(yardstick.words())
            .args(addresses)
            .args(cert.as_deref())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    sleep(BEFORE);
    let failed_ms = now_ns() as f64 / 1e6;
    fail(cause, &links, &first)?;
    let mut text = String::new();
    client.0.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?.read_to_string(&mut text)?;
    let said: Value = serde_json::from_str(&text)
        .map_err(|error| io::Error::other(format!("{yardstick:?} said {text:?}: {error}")))?;
    let times = |name: &str| -> Vec<f64> {
        said[name].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
    };
    Ok(judge(&times("said_ms"), &times("acknowledged_ms"), failed_ms))
}

/// As `benches failover` does: until the first message said after the failure is acknowledged, and
/// the longest time without any acknowledgement.
fn judge(said: &[f64], acknowledged: &[f64], failed_ms: f64) -> Seen {
    let after = said.iter().zip(acknowledged).filter(|(said, _)| **said > failed_ms);
    let known = after.map(|(_, at)| *at).filter(|at| *at > 0.0);
    let flows_ms = known.fold(f64::INFINITY, f64::min);
    let mut times: Vec<f64> = acknowledged.iter().copied().filter(|at| *at > 0.0).collect();
    times.sort_by(f64::total_cmp);
    let lost = (acknowledged.len() - times.len()) as u64;
    let gap_ms = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    let gap_ms = if lost > 0 { f64::INFINITY } else { gap_ms };
    Seen { flows_again_s: (flows_ms - failed_ms) / 1e3, longest_gap_s: gap_ms / 1e3, lost }
}

fn fail(cause: &str, links: &[LinkHandle; 2], first: &Process) -> io::Result<()> {
    let signal = |signal| {
        let pid = i32::try_from(first.0.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("an odd process id"))?;
        kill_process(pid, signal).map_err(io::Error::from)
    };
    match cause {
        "line-silent" => links[0].set_switch(Switch::Silent),
        "line-down" => links[0].set_switch(Switch::Refusing),
        "portal-killed" => signal(Signal::KILL)?,
        "portal-frozen" => signal(Signal::STOP)?,
        "udp-blocked" => links.iter().for_each(|link| link.block_udp(true)),
        other => return Err(io::Error::other(format!("there is no cause {other}"))),
    }
    Ok(())
}

fn link(target: SocketAddr) -> io::Result<LinkHandle> {
    let mut spec = LinkSpec::clear(target);
    spec.set(LINE.1).map_err(io::Error::other)?;
    Link::start(spec)
}

/// Where the yardsticks' program is, or a sentence.
pub fn program() -> Result<PathBuf, String> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("rivals/yardsticks/target/release/rival-yardsticks");
    let program = std::env::var_os("RIVAL_YARDSTICKS").map_or(built, PathBuf::from);
    match program.is_file() {
        true => Ok(program),
        false => {
            Err("the yardsticks are not built: `cargo build --release` in rivals/yardsticks".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_flows_again_with_the_first_message_said_after_the_failure() {
        let said = [0.0, 10.0, 20.0, 30.0];
        let seen = judge(&said, &[5.0, 300.0, 300.0, 301.0], 15.0);
        assert_eq!((seen.flows_again_s, seen.longest_gap_s, seen.lost), (0.285, 0.295, 0));
        let seen = judge(&said, &[5.0, 12.0, 0.0, 0.0], 15.0);
        assert_eq!((seen.flows_again_s, seen.lost), (f64::INFINITY, 2));
    }
}
