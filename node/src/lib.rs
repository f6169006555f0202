//! The customer's node: carries an engine's effects out.
//!
//! [`host`] is the loop; [`transport`] the connections; [`truth`] and [`committer`] the
//! durable store. Nothing here decides who may do what or what is sent: that is the engine's.
#![forbid(unsafe_code)]

pub mod api;
pub mod client;
pub mod committer;
pub mod config;
pub mod control;
pub mod desk;
pub mod doctor;
pub mod door;
pub mod export;
pub mod feed;
pub mod freshness;
pub mod host;
pub mod http;
pub mod intake;
pub mod judgement;
pub mod metrics;
pub mod mirror;
pub mod moment;
pub mod originals;
pub mod private;
pub mod projector;
pub mod reason;
pub mod register;
pub mod rescue;
pub mod schedule;
pub mod service;
pub mod spool;
pub mod status;
pub mod tables;
pub mod taken;
pub mod token;
pub mod transport;
pub mod truth;
pub mod user;
pub mod webhook;

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Logs {
    /// Lines for people.
    #[default]
    Human,
    /// One JSON object a line, for programs.
    Json,
}

/// Starts logging to standard error: what `RUST_LOG` says, or what a person should see.
pub fn logs(how: Logs) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,quinn=warn,rustls=warn"));
    // Colours are for people at a terminal; a log file or the journal keeps plain lines.
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match how {
        Logs::Human => logs.with_ansi(colours).init(),
        Logs::Json => logs.json().flatten_event(true).init(),
    }
}
