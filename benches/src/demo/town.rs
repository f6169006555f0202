//! The whole installation, on loopback and in one folder: two portals with two lines each and
//! pages, a node with two uplinks for each of three companies, and the links between them.
//!
//! Every path between two machines runs through a link of ours, so that it can be cut. Ports
//! are chosen once (see [`crate::ports`]): a portal that was killed finds its own free when it comes
//! back.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use certgen::{Authority, Existing, Host, Issued, Moment, Options, Password, PortalName, Strength};
use engine::id::VatNumber;
use node::{control, private, status::TenantStatus};

use super::{
    door::Door,
    process::{self, Service},
};
use crate::{
    link::{Link, LinkHandle, LinkSpec, Switch},
    ports::free_address,
    welcome::INTERMEDIARY,
};

/// The companies, invented; the numbers have valid check digits.
pub const COMPANIES: [(&str, &str); 3] =
    [("Alfa", "03100000235"), ("Beta", "01200000154"), ("Gamma", "09900000580")];
/// The password of every .p12 file here.
pub const P12_PASSWORD: &str = "staffetta";
/// Round trip of every line: a good ADSL.
pub const RTT_MS: f64 = 40.0;
/// How long a service may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

/// One of the two portals.
pub struct Portal {
    /// `A` or `B`.
    pub name: &'static str,
    /// The process.
    pub service: Service,
    /// Its configuration.
    pub config: PathBuf,
    /// Where its control file is.
    pub data: PathBuf,
    /// The folder that stands for the SdI.
    pub sdi: PathBuf,
    /// Where its pages are.
    pub pages: SocketAddr,
    /// Where its letters lie.
    pub pec: PathBuf,
    /// How the nodes reach it: one link a line.
    pub lines: Vec<LinkHandle>,
    /// How the other portal reaches it.
    backbone: Vec<LinkHandle>,
}

/// One company's node.
pub struct Company {
    /// What we call it.
    pub name: &'static str,
    /// Its P.IVA.
    pub vat: VatNumber,
    /// The process.
    pub service: Service,
    /// Its configuration.
    pub config: PathBuf,
    /// Where its control file is.
    pub data: PathBuf,
    /// The folder it shares with the ERP.
    pub spool: PathBuf,
    /// Papers in its space beside the invoices.
    pub papers: usize,
}

/// All of it.
pub struct Town {
    /// A and B.
    pub portals: Vec<Portal>,
    /// The three.
    pub companies: Vec<Company>,
    /// The pages, and who comes to them.
    pub door: Door,
}

impl Town {
    /// Makes folders, certificates, configurations and links below `root`. Starts no process.
    ///
    /// # Errors
    /// A sentence.
    pub fn found(root: &Path) -> io::Result<Self> {
        let certs = root.join("certificates");
        let mut authority = Authority::open_or_create(&root.join("authority"), Moment::now())
            .map_err(io::Error::other)?;
        let mut pins = Vec::new();
        for name in ["a", "b"] {
            let name = PortalName::parse(name).map_err(io::Error::other)?;
            let hosts = vec![Host::parse("127.0.0.1").map_err(io::Error::other)?];
            let issued = authority.issue_portal(name, hosts, Options::default());
            pins.push(write(&issued.map_err(io::Error::other)?, &certs)?);
        }
        let mut portals = Vec::new();
        for name in ["A", "B"] {
            portals.push(Portal::found(root, name)?);
        }
        for this in 0..2 {
            let other = 1 - this;
            portals[this].configure(&certs, &pins[other], &portals[other])?;
        }
        let office = VatNumber::parse(INTERMEDIARY).map_err(io::Error::other)?;
        let issued = authority.issue_node(office, Options::default());
        write_p12(&issued.map_err(io::Error::other)?, &certs)?;
        let mut companies = Vec::new();
        for (n, (name, vat)) in COMPANIES.into_iter().enumerate() {
            let vat = VatNumber::parse(vat).map_err(io::Error::other)?;
            let issued = authority.issue_node(vat, Options::default());
            write_p12(&issued.map_err(io::Error::other)?, &certs)?;
            let company = Company::found(root, name, vat)?;
            company.configure(n, &certs, &pins, &portals)?;
            companies.push(company);
        }
        let door = Door::new(authority.cert_pem(), &root.join("authority"), &certs);
        Ok(Self { portals, companies, door })
    }

    /// Starts the portals, lets the first company in by the pages of A and has A admit the others,
    /// starts their nodes, and waits until all answer.
    ///
    /// # Errors
    /// A sentence.
    pub async fn open(&mut self, certs: &Path) -> io::Result<()> {
        for portal in &mut self.portals {
            portal.service.start()?;
            answers(&portal.data, &mut portal.service).await?;
        }
        for (n, company) in self.companies.iter_mut().enumerate() {
            if n == 0 {
                company.papers = self.door.welcome(&self.portals[0], company).await?;
            } else {
                let config = self.portals[0].config.display().to_string();
                let vat = company.vat.to_string();
                let cert = certs.join(format!("{vat}.cert")).display().to_string();
                process::run("staffetta-portal", &["admit", "--config", &config, &vat, &cert])?;
            }
            company.service.start()?;
            answers(&company.data, &mut company.service).await?;
        }
        Ok(())
    }

    /// Stops every process, nodes first.
    pub fn close(&mut self) {
        self.companies.iter_mut().for_each(|company| company.service.stop());
        self.portals.iter_mut().for_each(|portal| portal.service.stop());
    }

    /// Cuts one line of a portal as a digger would: whatever is under way vanishes, nobody is told.
    pub fn cut_line(&self, portal: usize, line: usize) {
        self.portals[portal].lines[line].set_switch(Switch::Silent);
        self.portals[portal].backbone[line].set_switch(Switch::Silent);
    }

    /// Cuts all lines of a portal: it runs, and nobody reaches it nor is reached by it.
    pub fn cut_portal(&self, portal: usize) {
        let lines = self.portals[portal].lines.iter();
        let backbones = self.portals.iter().flat_map(|portal| &portal.backbone);
        lines.chain(backbones).for_each(|link| link.set_switch(Switch::Silent));
    }

    /// Cuts every line between any two machines.
    pub fn cut_everything(&self) {
        self.links().for_each(|link| link.set_switch(Switch::Silent));
    }

    /// Mends every line.
    pub fn mend_lines(&self) {
        self.links().for_each(|link| link.set_switch(Switch::Up));
    }

    fn links(&self) -> impl Iterator<Item = &LinkHandle> {
        self.portals.iter().flat_map(|portal| portal.lines.iter().chain(&portal.backbone))
    }

    /// A process that ended without being told, as a sentence.
    pub fn casualty(&mut self) -> Option<String> {
        let portals = self.portals.iter_mut().map(|portal| &mut portal.service);
        let nodes = self.companies.iter_mut().map(|company| &mut company.service);
        portals.chain(nodes).find_map(Service::ended)
    }
}

impl Portal {
    fn found(root: &Path, name: &'static str) -> io::Result<Self> {
        let folder = root.join(format!("portal-{name}"));
        let sdi = folder.join("sdi");
        for (_, vat) in COMPANIES {
            fs::create_dir_all(sdi.join(vat))?;
        }
        let config = folder.join("portal.toml");
        let service = Service::new("staffetta-portal", &config, &folder.join("log.txt"))?;
        let listen = [free_address()?, free_address()?];
        let link = |target: &SocketAddr| {
            let mut spec = LinkSpec::clear(*target);
            spec.set(&format!("rtt_ms={RTT_MS}")).map_err(io::Error::other)?;
            Link::start(spec)
        };
        let lines = listen.iter().map(link).collect::<io::Result<Vec<_>>>()?;
        let backbone = listen.iter().map(link).collect::<io::Result<Vec<_>>>()?;
        let (data, pec) = (folder.join("data"), folder.join("pec"));
        let pages = free_address()?;
        fs::write(
            &config,
            format!("data = {data:?}\nsdi = {sdi:?}\nlisten = {}\n", toml_list(listen.iter())),
        )?;
        Ok(Self { name, service, config, data, sdi, pages, pec, lines, backbone })
    }

    fn configure(&self, certs: &Path, other_pin: &str, other: &Self) -> io::Result<()> {
        let stem = self.name.to_lowercase();
        let text = fs::read_to_string(&self.config)?;
        let addresses = toml_list(other.backbone.iter().map(LinkHandle::local));
        fs::write(
            &self.config,
            format!(
                "{text}cert = {:?}\nkey = {:?}\n\n[[portal]]\nname = {:?}\npin = {other_pin:?}\n\
                 addresses = {addresses}\n\n[door]\nlisten = [\"{pages}\"]\nurl = \"https://{pages}\"\n\
                 name = \"Intermediario S.r.l.\"\n\
                 about = \"P.IVA {INTERMEDIARY}, Via Roma 1, 37121 Verona (VR)\"\n\
                 pec = \"intermediario@pec.example.it\"\nrecipient_code = \"ABC1234\"\nspool = {:?}\n",
                certs.join(format!("{stem}.cert")),
                certs.join(format!("{stem}.key")),
                other.name,
                self.pec,
                pages = self.pages,
            ),
        )
    }

    /// Starts it again and waits until it answers.
    ///
    /// # Errors
    /// A sentence.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.service.start()?;
        answers(&self.data, &mut self.service).await
    }
}

impl Company {
    fn found(root: &Path, name: &'static str, vat: VatNumber) -> io::Result<Self> {
        let folder = root.join(format!("node-{name}"));
        let spool = folder.join(vat.to_string());
        fs::create_dir_all(spool.join("out"))?;
        let config = folder.join("node.toml");
        let service = Service::new("staffetta-node", &config, &folder.join("log.txt"))?;
        Ok(Self { name, vat, service, config, data: folder.join("data"), spool, papers: 0 })
    }

    fn configure(
        &self,
        n: usize,
        certs: &Path,
        pins: &[String],
        portals: &[Portal],
    ) -> io::Result<()> {
        let vat = self.vat.to_string();
        let mut text = format!("data = {:?}\nsync = \"live\"\n", self.data);
        for uplink in 1..=2 {
            text += &format!("\n[[line]]\naddress = \"127.0.{uplink}.{}\"\n", n + 1);
        }
        for (portal, pin) in portals.iter().zip(pins) {
            let addresses = toml_list(portal.lines.iter().map(LinkHandle::local));
            let name = portal.name;
            text +=
                &format!("\n[[portal]]\nname = {name:?}\npin = {pin:?}\naddresses = {addresses}\n");
        }
        text += &format!(
            "\n[[tenant]]\nvat = {vat:?}\ncert = {:?}\nkey = {:?}\nspool = {:?}\n",
            certs.join(format!("{vat}.cert")),
            certs.join(format!("{vat}.key")),
            self.spool,
        );
        fs::write(&self.config, text)
    }

    /// Starts it again and waits until it answers.
    ///
    /// # Errors
    /// A sentence.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.service.start()?;
        answers(&self.data, &mut self.service).await
    }

    /// What the node says of itself; `None` while it does not run.
    pub async fn status(&self) -> Option<TenantStatus> {
        status(&self.data).await
    }
}

/// What the node whose data folder is `data` says of its one tenant.
pub async fn status(data: &Path) -> Option<TenantStatus> {
    let answer = control::ask(data, node::service::Ask::Status).await.ok()?;
    serde_json::from_value::<Vec<TenantStatus>>(answer["tenants"].clone()).ok()?.pop()
}

async fn answers(data: &Path, service: &mut Service) -> io::Result<()> {
    let asked = Instant::now();
    loop {
        // Both services answer the same word, and a new control file only when at work.
        if control::ask(data, node::service::Ask::Status).await.is_ok() {
            return Ok(());
        }
        if let Some(why) = service.ended() {
            return Err(io::Error::other(why));
        }
        if asked.elapsed() > START_PATIENCE {
            return Err(io::Error::other(format!("no answer from {}", data.display())));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn write(issued: &Issued, certs: &Path) -> io::Result<String> {
    fs::create_dir_all(certs)?;
    issued.write(certs, Existing::Refuse).map_err(io::Error::other)?;
    Ok(issued.peer().to_string())
}

/// The same with a .p12 beside it, as a person imports it.
fn write_p12(issued: &Issued, certs: &Path) -> io::Result<()> {
    write(issued, certs)?;
    let password = Password::from_file(P12_PASSWORD.as_bytes()).map_err(io::Error::other)?;
    let packed = issued.p12(&password, Strength::default()).map_err(io::Error::other)?;
    let path = certs.join(format!("{}.p12", issued.certified.subject.stem()));
    private::write(&path, packed.expose())
}

fn toml_list(addresses: impl Iterator<Item = impl ToString>) -> String {
    let quoted: Vec<_> = addresses.map(|address| format!("\"{}\"", address.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}
