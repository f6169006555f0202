//! A rival that is a program of ours around its library: orders go in as lines of JSON, answers
//! come out. The programs are in `rivals/`; their orders are those of [`super::Rival`].

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Failure, Held, Rival};

/// Between two live changes.
pub const EVERY_MS: u64 = 30;

/// One end.
struct End {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl End {
    fn spawn(command: &[String], role: &str) -> Result<Self, Failure> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| Failure::Broken("no program".into()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .arg(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(orders), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::Broken("no pipes".into()));
        };
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            // Libraries chat on standard output; answers begin with a brace.
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if line.starts_with('{') && sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, orders, answers })
    }

    fn order(&mut self, order: &Value) -> Result<(), Failure> {
        Ok(writeln!(self.orders, "{order}").and_then(|()| self.orders.flush())?)
    }

    fn answer(&mut self, until: Instant) -> Result<Value, Failure> {
        let left = until.saturating_duration_since(Instant::now());
        let line = self.answers.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => Failure::Capped,
            RecvTimeoutError::Disconnected => Failure::Broken("the process ended".into()),
        })?;
        let answer: Value = serde_json::from_str(&line)?;
        match answer["failed"].as_str() {
            Some(why) => Err(Failure::Broken(why.into())),
            None => Ok(answer),
        }
    }

    fn ask(&mut self, order: &Value, until: Instant) -> Result<Value, Failure> {
        self.order(order)?;
        self.answer(until)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A rival as a pair of such processes.
pub struct Program {
    name: &'static str,
    settings: &'static str,
    command: Vec<String>,
    /// Where the server notes the names of its documents, which the client is given for free.
    names: PathBuf,
    server: Option<End>,
    client: Option<End>,
}

impl Program {
    /// A rival that `command` starts, with `server` or `client` after it.
    pub fn new(
        name: &'static str,
        settings: &'static str,
        command: Vec<String>,
        scratch: &Path,
    ) -> Self {
        let names = scratch.join("names.json");
        Self { name, settings, command, names, server: None, client: None }
    }

    fn server(&mut self) -> Result<&mut End, Failure> {
        self.server.as_mut().ok_or_else(|| Failure::Broken("no server".into()))
    }

    fn client(&mut self) -> Result<&mut End, Failure> {
        self.client.as_mut().ok_or_else(|| Failure::Broken("no client".into()))
    }
}

impl Rival for Program {
    fn name(&self) -> &'static str {
        self.name
    }

    fn settings(&self) -> String {
        self.settings.into()
    }

    fn start_server(&mut self, dir: &Path, until: Instant) -> Result<SocketAddr, Failure> {
        let mut server = End::spawn(&self.command, "server")?;
        let answer = server.ask(&json!({"do": "open", "dir": dir, "names": self.names}), until)?;
        self.server = Some(server);
        let port = answer["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let port = port.ok_or_else(|| Failure::Broken(format!("no port: {answer}")))?;
        let address = answer["address"].as_str().unwrap_or("127.0.0.1");
        Ok((address.parse::<std::net::IpAddr>()?, port).into())
    }

    fn write(&mut self, lines: &Path, held: Held, until: Instant) -> Result<(), Failure> {
        let order = json!({"do": "write", "file": lines, "count": held.documents});
        self.server()?.ask(&order, until).map(drop)
    }

    fn change(&mut self, first: u64, count: u64, until: Instant) -> Result<(), Failure> {
        let order = json!({"do": "change", "first": first, "count": count});
        self.server()?.ask(&order, until).map(drop)
    }

    fn start_client(
        &mut self,
        dir: &Path,
        server: SocketAddr,
        until: Instant,
    ) -> Result<Duration, Failure> {
        let started = Instant::now();
        let mut client = End::spawn(&self.command, "client")?;
        let order = json!({
            "do": "open", "dir": dir, "names": self.names, "connect": server.to_string(),
        });
        client.ask(&order, until)?;
        self.client = Some(client);
        Ok(started.elapsed())
    }

    fn sync(&mut self, wanted: Held, until: Instant) -> Result<Duration, Failure> {
        let started = Instant::now();
        let order = json!({"do": "sync", "documents": wanted.documents, "changes": wanted.changes});
        self.client()?.ask(&order, until)?;
        Ok(started.elapsed())
    }

    fn held(&mut self, until: Instant) -> Result<Held, Failure> {
        let answer = self.client()?.ask(&json!({"do": "held"}), until)?;
        let number = |name: &str| answer[name].as_u64().unwrap_or(0);
        Ok(Held { documents: number("documents"), changes: number("changes") })
    }

    fn live(
        &mut self,
        held: Held,
        count: u64,
        until: Instant,
    ) -> Result<Option<Vec<f64>>, Failure> {
        let (first, documents) = (held.changes, held.documents);
        let watch = json!({"do": "watch", "first": first, "count": count, "documents": documents});
        let ready = self.client()?.ask(&watch, until)?;
        if ready["live"] == json!(false) {
            return Ok(None);
        }
        let write = json!({"do": "live", "first": first, "count": count, "every_ms": EVERY_MS});
        let said = self.server()?.ask(&write, until)?;
        let seen = self.client()?.answer(until)?;
        let times = |answer: &Value| -> Vec<f64> {
            let list = answer["at_ms"].as_array().map_or(&[][..], Vec::as_slice);
            list.iter().filter_map(Value::as_f64).collect()
        };
        let (said, seen) = (times(&said), times(&seen));
        Ok(Some(said.iter().zip(&seen).map(|(said, seen)| seen - said).collect()))
    }

    fn stop_client(&mut self, kill: bool) {
        if let Some(mut client) = self.client.take()
            && !kill
        {
            let until = Instant::now() + Duration::from_secs(10);
            // One that does not stop is killed as it is dropped.
            let _ = client.ask(&json!({"do": "stop"}), until);
        }
    }

    fn processes(&self) -> [Vec<u32>; 2] {
        [&self.client, &self.server].map(|end| end.iter().map(|end| end.child.id()).collect())
    }
}
