//! A line to put between a node and a portal by hand, or the check of one.
//!
//! ```text
//! link check
//! link 127.0.0.1:7000 127.0.0.1:7001 rtt_ms=40 jitter_ms=5 loss=0.01 up_kbit=1000 down_kbit=20000 queue_kb=128 seed=7
//! ```
//! While it runs, lines on its standard input throw the switch: `up`, `silent`, `refusing`, `udp off`,
//! `udp on`, `traffic`.

use std::{error::Error, io::BufRead, process::ExitCode};

use benches::link::{Link, LinkHandle, LinkSpec, Switch, check};

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
    let mut spec = LinkSpec::clear(arguments[1].parse()?);
    spec.listen = arguments[0].parse()?;
    for setting in &arguments[2..] {
        spec.set(setting)?;
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
