//! The portal's pages, asked by browsers over HTTPS with their certificates: a portal as a process
//! of its own, one customer whose papers are complete, and its ledger.

mod list;
mod login;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use benches::{
    end::{AnyError, End, Order, Papers, Place, What},
    guest::Guest,
    ports::free_address,
    welcome::{self, INTERMEDIARY, Person},
};
use certgen::{Authority, Host, Issued, Moment, PortalName};
use clap::Args;
use engine::{grant::Role, id::VatNumber};
use node::{control, transport::identity::certificate};
use portal_node::service::Ask;
use tempfile::TempDir;
use tokio::time::sleep;

use super::program;

pub use {list::run as run_list, login::run as run_login};

const TENANT: &str = "02038490237";
const COMPANY: &str = "Officine Adige S.r.l.";
const OFFICE: Person<'_> = Person { user: "ada", name: "Ada", password: PASSWORD };
const OWNER: Person<'_> = Person { user: "maria", name: "Maria Rossi", password: PASSWORD };
const PASSWORD: &str = "only for the bench, and long";
/// How long a portal may take until it answers, and until its lists are whole.
const PATIENCE: Duration = Duration::from_secs(300);

/// What can be said about these scenarios.
#[derive(Args, Clone, Debug)]
pub struct PortalOptions {
    /// Invoices the customer has.
    #[arg(long, default_value_t = 100_000)]
    pub documents: u64,
    /// Clients at once: who look at lists, or who guess passwords.
    #[arg(long, default_value_t = 10)]
    pub clients: usize,
    /// How often it is measured.
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
    /// Where stores lie while it runs; the system's folder for temporary files if absent.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// A portal with pages. Its process ends when this is dropped.
struct House {
    authority: Authority,
    config: PathBuf,
    data: PathBuf,
    spool: PathBuf,
    pages: SocketAddr,
    program: Option<Child>,
    /// The owner's certificate.
    owner: Papers,
    /// Kept until the end: the stores lie in it.
    _dir: TempDir,
}

impl House {
    /// Writes the ledger into the truth of a portal, and starts it.
    async fn open(documents: u64, dir: Option<&Path>) -> Result<Self, AnyError> {
        let dir = match dir {
            Some(dir) => TempDir::new_in(dir)?,
            None => TempDir::new()?,
        };
        let path = |name: &str| dir.path().join(name);
        let mut authority = Authority::open_or_create(&path("authority"), Moment::now())?;
        let hosts = vec![Host::parse("127.0.0.1")?];
        let name = PortalName::parse("a")?;
        let own = authority.issue_portal(name, hosts, certgen::Options::default())?;
        own.write(dir.path(), certgen::Existing::Refuse)?;
        let owner = issue(&mut authority, TENANT)?;
        let (data, spool, listen) = (path("data"), path("pec"), free_address()?);
        node::private::folder(&data)?;
        let place = Place {
            dir: data.join("truth"),
            papers: papers(&own),
            role: Role::Portal,
            tenant: VatNumber::parse(TENANT)?,
            portals: vec![own.peer().to_string()],
            listen: Some(listen),
        };
        fill(place, &owner, documents)?;
        let pages = free_address()?;
        let config = path("portal.toml");
        let text = format!(
            "data = {data:?}\ncert = {:?}\nkey = {:?}\nlisten = [\"{listen}\"]\nsdi = {:?}\n\
             [door]\nlisten = [\"{pages}\"]\nurl = \"https://{pages}\"\nname = \"Intermediario\"\n\
             about = \"Verona\"\npec = \"noi@pec.example.it\"\nrecipient_code = \"ABC1234\"\n\
             spool = {spool:?}\n",
            path("a.cert"),
            path("a.key"),
            path("sdi"),
        );
        fs::write(&config, text)?;
        let mut house =
            Self { authority, config, data, spool, pages, program: None, owner, _dir: dir };
        house.start().await?;
        Ok(house)
    }

    async fn start(&mut self) -> Result<(), AnyError> {
        self.program = Some(program("portal", &self.config)?);
        let begun = Instant::now();
        while control::ask(&self.data, Ask::Status).await.is_err() {
            if begun.elapsed() > PATIENCE {
                return Err("the portal does not answer".into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The administrator, logged in.
    async fn office(&mut self) -> Result<Guest, AnyError> {
        let issued =
            self.authority.issue_node(VatNumber::parse(INTERMEDIARY)?, Default::default())?;
        let read = certificate(issued.cert_pem().as_bytes(), "the administrator's certificate")?;
        let (spki, not_after) = (read.spki, read.not_after);
        let ask = Ask::AdminLink { user: OFFICE.user.into(), spki, not_after };
        let told = control::ask(&self.data, ask).await?;
        let link = told["link"].as_str().ok_or_else(|| told.to_string())?;
        let mut office = self.guest(&papers(&issued))?;
        welcome::accept(&mut office, link, OFFICE).await?;
        Ok(office)
    }

    /// The customer's owner, logged in, once the administrator let the company in.
    async fn owner(&mut self, office: &mut Guest) -> Result<Guest, AnyError> {
        let cert = &self.owner.cert;
        let link = welcome::invite(office, TENANT, COMPANY, cert, OWNER).await?;
        let mut owner = self.guest(&self.owner)?;
        welcome::accept(&mut owner, &link, OWNER).await?;
        welcome::sign(&mut owner, TENANT, COMPANY, &self.spool).await?;
        welcome::admit(office, TENANT).await?;
        Ok(owner)
    }

    fn guest(&self, papers: &Papers) -> Result<Guest, AnyError> {
        Guest::new(self.pages, self.authority.cert_pem(), Some(papers))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(program) = &mut self.program {
            // It may be gone already.
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

/// Writes received invoices as the portal at `place`, which `owner` may hold.
fn fill(place: Place, owner: &Papers, documents: u64) -> Result<(), AnyError> {
    let mut writer = End::spawn(place)?;
    writer.done(&Order::Start { dial: vec![], lines: 1, mirror: false })?;
    writer.done(&Order::Admit { cert: owner.cert.clone(), key: owner.key.clone() })?;
    eprintln!("a portal writes {documents} invoices");
    writer.write(What::Received, 0, documents)?;
    writer.done(&Order::Stop)?;
    writer.kill()
}

fn issue(authority: &mut Authority, vat: &str) -> Result<Papers, AnyError> {
    Ok(papers(&authority.issue_node(VatNumber::parse(vat)?, Default::default())?))
}

fn papers(issued: &Issued) -> Papers {
    let key = String::from_utf8_lossy(issued.key_pem.expose()).into_owned();
    Papers { cert: issued.cert_pem().to_owned(), key }
}

/// Runs the portal's program: what `House` starts.
pub fn portal(config: &Path) -> Result<(), AnyError> {
    let config: portal_node::config::PortalConfig = node::config::load(config)?;
    node::logs(node::Logs::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(portal_node::service::run(&config))?)
}
