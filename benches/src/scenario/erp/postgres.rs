//! A PostgreSQL of our own beside the node: a new cluster in a folder that goes away, with the
//! system's programs and their own defaults, and the rows that the node answers with.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use benches::{end::AnyError, ports::free_address};
use sql::table::{TABLES, Table};

use super::{PASSWORD, TENANT, USER, client::Client};

/// Tables that are compared: all that have stored rows but the tenant's own.
const COMPARED: [&str; 4] = ["invoices", "invoice_lines", "vat_summary", "payments"];

/// A server at work.
pub struct Cluster {
    home: PathBuf,
    server: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// `PostgreSQL 15.14`.
    pub version: String,
}

impl Cluster {
    /// Makes one and starts it.
    pub async fn start() -> Result<Self, AnyError> {
        let programs = programs()?;
        let home = said(own("mktemp".into()).args(["-d", "-t", "postgresql-XXXXXX"]))?;
        let home = PathBuf::from(home.trim());
        let data = home.join("data");
        let mut made = own(programs.join("initdb"));
        made.args(["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-U", USER]);
        said(made.arg("-D").arg(&data))?;
        let address = free_address()?;
        let server = own(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", &format!("port={}", address.port())])
            .stderr(Stdio::null())
            .spawn()?;
        let mut cluster = Self { home, server, address, version: String::new() };
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let maintenance = psql(address, "postgres", "SELECT version()");
            if let Ok(version) = maintenance {
                let words: Vec<_> = version.split_whitespace().take(2).collect();
                cluster.version = words.join(" ");
                break;
            }
            if Instant::now() > end || cluster.server.try_wait()?.is_some() {
                return Err("PostgreSQL does not start".into());
            }
            sleep(Duration::from_millis(100));
        }
        psql(address, "postgres", &format!("CREATE DATABASE \"{TENANT}\""))?;
        Ok(cluster)
    }

    /// Gives it the rows that `node` answers with, and sees that they are the same.
    pub async fn fill(&self, node: SocketAddr) -> Result<(), AnyError> {
        for name in COMPARED {
            let table = Table::named(name).ok_or("no such table")?;
            for sql in definition(table) {
                psql(self.address, TENANT, &sql)?;
            }
            let columns: Vec<_> = table.stored().map(|column| column.name).collect();
            let columns = columns.join(", ");
            let mut from = client(node, TENANT)
                .args(["-v", "FETCH_COUNT=5000", "-F", "\t", "-P", "null=\\N", "-c"])
                .arg(format!("SELECT {columns} FROM {name}"))
                .stdout(Stdio::piped())
                .spawn()?;
            let rows = from.stdout.take().ok_or("psql has no output")?;
            let into = client(self.address, TENANT)
                .args(["-c", &format!("COPY {name} ({columns}) FROM STDIN")])
                .stdin(rows)
                .status()?;
            if !from.wait()?.success() || !into.success() {
                return Err(format!("the rows of {name} did not go over").into());
            }
        }
        psql(self.address, TENANT, "VACUUM ANALYZE")?;
        for name in COMPARED {
            let table = Table::named(name).ok_or("no such table")?;
            let sums = table.stored().filter(|column| column.ty == sql::ty::Ty::Numeric);
            let sums: Vec<_> = sums.map(|column| format!(", sum({})", column.name)).collect();
            let sql = format!("SELECT count(*){} FROM {name}", sums.concat());
            let (ours, theirs) = (psql(node, TENANT, &sql)?, psql(self.address, TENANT, &sql)?);
            if ours != theirs {
                return Err(format!("{sql}: {ours} is not {theirs}").into());
            }
        }
        Client::connect(self.address).await.map(drop)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A fast end; what it says to that is of no use any more.
        let pid = rustix::process::Pid::from_child(&self.server);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// The newest programs there are.
fn programs() -> Result<PathBuf, AnyError> {
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let found = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = found.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = versions.filter(|path| number(path).is_some()).max_by_key(number);
    newest.map(|path| path.join("bin")).ok_or("no PostgreSQL: apt-get install postgresql".into())
}

/// PostgreSQL does not run as root: then it is its own user's.
fn own(program: PathBuf) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command.current_dir("/");
    command
}

fn client(at: SocketAddr, database: &str) -> Command {
    let mut command = Command::new("psql");
    let place = format!("host={} port={} user={USER} dbname={database}", at.ip(), at.port());
    command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", &place]);
    command.env("PGPASSWORD", PASSWORD);
    command
}

fn psql(at: SocketAddr, database: &str, sql: &str) -> Result<String, AnyError> {
    said(client(at, database).args(["-c", sql]))
}

fn said(command: &mut Command) -> Result<String, AnyError> {
    let output = command.output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{:?}: {why}", command.get_program()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The same columns, types, key and indexes as the node has.
fn definition(table: &Table) -> Vec<String> {
    let column = |column: &sql::table::Column| {
        let null = if column.nullable { "" } else { " NOT NULL" };
        format!("{} {}{null}", column.name, column.ty.sql_name())
    };
    let columns: Vec<_> = table.stored().map(column).collect();
    let (name, key) = (table.name, table.key.join(", "));
    let made = format!("CREATE TABLE {name} ({}, PRIMARY KEY ({key}))", columns.join(", "));
    let known = TABLES.iter().filter(|other| other.name == name);
    let indexes = known.flat_map(|table| table.indexes).map(|index| (*index).to_owned());
    std::iter::once(made).chain(indexes).collect()
}
