//! A line to put between a node and a portal by hand, or the check of one.
//!
//! ```text
//! link check
//! link 127.0.0.1:7000 127.0.0.1:7001 rtt_ms=40 jitter_ms=5 loss=0.01 up_kbit=1000 down_kbit=20000 queue_kb=128 seed=7
//! ```
//! While it runs, lines on its standard input throw the switch: `up`, `silent`, `refusing`, `udp off`,
//! `udp on`, `traffic`.

use std::{error::Error, io::BufRead, process::ExitCode, time::Duration};

use benches::link::{Link, LinkHandle, LinkSpec, Path, Switch, check};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some("check") => run_check(),
        Some(_) if arguments.len() >= 2 => relay(&arguments),
        _ => Err("usage: link check | link LISTEN TARGET [rtt_ms=..] [jitter_ms=..] [loss=..] [up_kbit=..] [down_kbit=..] [queue_kb=..] [seed=..]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("link: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_check() -> Result<(), Box<dyn Error>> {
    let check = check()?;
    println!("{check}");
    if check.is_sound() { Ok(()) } else { Err("the figures are off: is the machine busy?".into()) }
}

fn relay(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let mut spec = LinkSpec {
        listen: arguments[0].parse()?,
        target: arguments[1].parse()?,
        up: Path::CLEAR,
        down: Path::CLEAR,
        seed: 1,
    };
    for argument in &arguments[2..] {
        let (name, value) = argument.split_once('=').ok_or("settings look like rtt_ms=40")?;
        let number: f64 = value.parse()?;
        match name {
            "up_kbit" => spec.up.rate = Some((number * 1e3) as u64),
            "down_kbit" => spec.down.rate = Some((number * 1e3) as u64),
            "seed" => spec.seed = number as u64,
            _ => {
                for path in [&mut spec.up, &mut spec.down] {
                    match name {
                        "rtt_ms" => path.delay = Duration::from_secs_f64(number / 2000.0),
                        "jitter_ms" => path.jitter = Duration::from_secs_f64(number / 1000.0),
                        "loss" => path.loss = number,
                        "queue_kb" => path.queue_bytes = (number * 1024.0) as usize,
                        _ => return Err(format!("there is no setting {name}").into()),
                    }
                }
            }
        }
    }
    let link = Link::start(spec)?;
    println!("listening on {}", link.local());
    for line in std::io::stdin().lock().lines() {
        throw(&link, line?.trim());
    }
    Ok(())
}

fn throw(link: &LinkHandle, word: &str) {
    match word {
        "up" => link.set_switch(Switch::Up),
        "silent" => link.set_switch(Switch::Silent),
        "refusing" => link.set_switch(Switch::Refusing),
        "udp off" => link.block_udp(true),
        "udp on" => link.block_udp(false),
        "traffic" => println!("up {:?}\ndown {:?}", link.up(), link.down()),
        _ => eprintln!("link: up, silent, refusing, udp off, udp on or traffic"),
    }
}
