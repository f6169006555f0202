//! The ERP's questions, to a node that holds a ledger of years: the program itself with SQL and
//! HTTP open, and, for SQL, PostgreSQL beside it with the same rows in the same run.
//!
//! Each question is asked by one client and by many at once; then while the node takes in what a
//! portal wrote meanwhile, and while no portal is there. Needs `postgresql` of the system.

mod ask;
mod client;
mod http;
mod postgres;
mod sql;

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Child,
    thread::sleep,
    time::{Duration, Instant},
};

use benches::{
    end::{AnyError, End, Order, Papers, What},
    figures::Figures,
    ports::free_address,
};
use clap::Args;
use engine::id::VatNumber;
use node::user::Users;

use super::{Options, World, program};

pub use {http::run as run_http, sql::run as run_sql};

/// Who asks, and how it proves who it is.
const USER: &str = "gestionale";
const PASSWORD: &str = "only-for-the-bench";
const TENANT: &str = "02038490237";

/// What can be said about these scenarios.
#[derive(Args, Clone, Debug)]
pub struct ErpOptions {
    /// Invoices held before.
    #[arg(long, default_value_t = 100_000)]
    pub documents: u64,
    /// Invoices that come while questions are asked.
    #[arg(long, default_value_t = 20_000)]
    pub coming: u64,
    /// Clients at once.
    #[arg(long, default_value_t = 20)]
    pub clients: usize,
    /// How often it is measured.
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
    /// Where stores lie while it runs; the system's folder for temporary files if absent.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// A portal that holds the ledger, and the node's program with everything open.
struct Ledger {
    world: World,
    config: PathBuf,
    program: Option<Child>,
    sql: SocketAddr,
    http: SocketAddr,
}

impl Ledger {
    /// Has the portal write the ledger, and starts the node on an empty disk.
    fn open(options: &ErpOptions) -> Result<Self, AnyError> {
        let ends = Options {
            documents: options.documents,
            changed: 0,
            together: false,
            restart: false,
            runs: 1,
            link: None,
            mirror: false,
            dir: options.dir.clone(),
        };
        let mut world = World::start(&ends, 1)?;
        eprintln!("the portal writes {} invoices", options.documents);
        world.portals[0].write(What::Received, 0, options.documents)?;
        let (sql, http) = (free_address()?, free_address()?);
        let config = configure(&mut world, sql, http)?;
        let mut ledger = Self { world, config, program: None, sql, http };
        ledger.start()?;
        Ok(ledger)
    }

    fn start(&mut self) -> Result<(), AnyError> {
        self.program = Some(program("node", &self.config)?);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), AnyError> {
        if let Some(mut program) = self.program.take() {
            let pid = rustix::process::Pid::from_child(&program);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
            program.wait()?;
        }
        Ok(())
    }

    fn portal(&mut self) -> &mut End {
        &mut self.world.portals[0]
    }

    /// A figure of the node's process, of those `/proc/PID/status` has, in bytes.
    fn memory(&self, name: &str) -> Result<u64, AnyError> {
        let program = self.program.as_ref().ok_or("the node does not run")?;
        let status = fs::read_to_string(format!("/proc/{}/status", program.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0");
        Ok(number.parse::<u64>()? * 1024)
    }

    /// Forgets the most memory there was: what is read later is of what came after.
    fn forget_peak(&self) -> Result<(), AnyError> {
        let program = self.program.as_ref().ok_or("the node does not run")?;
        Ok(fs::write(format!("/proc/{}/clear_refs", program.id()), "5")?)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Some(program) = &mut self.program {
            // It may be gone already.
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

/// Admits the node and writes its configuration.
fn configure(world: &mut World, sql: SocketAddr, http: SocketAddr) -> Result<PathBuf, AnyError> {
    let own = Papers::issue()?;
    let home = world.portals[0].place.dir.with_file_name("program");
    fs::create_dir_all(&home)?;
    let path = |name: &str| home.join(name).display().to_string();
    fs::write(path("n.cert"), &own.cert)?;
    fs::write(path("n.key"), &own.key)?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(path("n.key"), private)?;
    world.portals[0].done(&Order::Admit { cert: own.cert, key: own.key })?;
    let portal = &world.portals[0];
    let address = portal.place.listen.ok_or("the portal does not listen")?;
    let text = format!(
        "data = {:?}\n[api]\nlisten = [\"{http}\"]\n[sql]\nlisten = [\"{sql}\"]\n\
         [[portal]]\nname = \"A\"\npin = \"{}\"\naddresses = [\"{address}\"]\n\
         [[tenant]]\nvat = \"{TENANT}\"\ncert = {:?}\nkey = {:?}\nspool = {:?}\n",
        path("data"),
        portal.pin,
        path("n.cert"),
        path("n.key"),
        path("spool"),
    );
    let data = home.join("data");
    node::private::folder(&data)?;
    Users::open(&data)?.add(USER, VatNumber::parse(TENANT)?, PASSWORD)?;
    let config = home.join("node.toml");
    fs::write(&config, text)?;
    Ok(config)
}

/// Runs the node's program: what `Ledger` starts.
pub fn node(config: &std::path::Path) -> Result<(), AnyError> {
    let config: node::config::NodeConfig = node::config::load(config)?;
    node::logs(config.logs);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    Ok(runtime.block_on(node::service::run(&config))?)
}

/// Looks until `condition` holds.
async fn until(mut condition: impl AsyncFnMut() -> Result<bool, AnyError>) -> Result<(), AnyError> {
    let end = Instant::now() + Duration::from_secs(900);
    while !condition().await.unwrap_or(false) {
        if Instant::now() > end {
            return Err("it did not come about".into());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Prints the median of each kind of measurement: those whose labels are the same.
fn print_medians(runs: &[Figures]) {
    let mut kinds: Vec<Vec<Figures>> = Vec::new();
    for run in runs {
        match kinds.iter_mut().find(|kind| kind[0].is_like(run)) {
            Some(kind) => kind.push(run.clone()),
            None => kinds.push(vec![run.clone()]),
        }
    }
    for kind in &kinds {
        println!("{}", Figures::median(kind).to_json("median"));
    }
}
