//! The pages in the demo: the first company comes in by them as any customer does, its owner looks
//! at both portals when the story is over, and whoever plays the demo is told how to do the same.

use std::{
    fmt::Write as _,
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    feed::Ledger,
    process,
    samples::Way,
    town::{Company, P12_PASSWORD, Portal, Town},
};
use crate::{
    end::{AnyError, Papers},
    guest::Guest,
    welcome::{self, INTERMEDIARY, Person},
};

const PASSWORD: &str = "cavallo-batteria-graffetta";
/// The intermediary's administrator.
const OFFICE: Person<'_> = Person { user: "ada", name: "Ada Bianchi", password: PASSWORD };
/// Who owns the first company.
const OWNER: Person<'_> = Person { user: "maria", name: "Maria Rossi", password: PASSWORD };
/// Rows of one page of a list.
const PAGE_ROWS: usize = 50;

/// The pages. See the module's header.
pub struct Door {
    authority: String,
    authority_file: PathBuf,
    certs: PathBuf,
}

impl Door {
    /// Pages whose certificates `authority` (PEM) signed, which lies in `folder`; guests' own are
    /// in `certs`.
    #[must_use]
    pub fn new(authority: &str, folder: &Path, certs: &Path) -> Self {
        let authority_file = folder.join(certgen::AUTHORITY_CERT_FILE);
        Self { authority: authority.to_owned(), authority_file, certs: certs.to_owned() }
    }

    /// Lets a company in by the pages of `portal`, from the administrator's one-time link to the
    /// admission. Returns how many papers its space has then.
    ///
    /// # Errors
    /// What a page answered instead.
    pub async fn welcome(&self, portal: &Portal, company: &Company) -> io::Result<usize> {
        let done = async {
            let config = portal.config.display().to_string();
            let cert = self.certs.join(format!("{INTERMEDIARY}.cert")).display().to_string();
            let asked = ["admin-link", "--config", &config, "--user", OFFICE.user, &cert];
            let link = process::run("staffetta-portal", &asked)?;
            let mut office = self.guest(portal, INTERMEDIARY)?;
            welcome::accept(&mut office, link.trim(), OFFICE).await?;
            let (vat, name) = (company.vat.to_string(), format!("{} S.r.l.", company.name));
            let cert = self.papers(&vat)?.cert;
            let link = welcome::invite(&mut office, &vat, &name, &cert, OWNER).await?;
            let mut owner = self.guest(portal, &vat)?;
            welcome::accept(&mut owner, &link, OWNER).await?;
            welcome::sign(&mut owner, &vat, &name, &portal.pec).await?;
            welcome::admit(&mut office, &vat).await?;
            // Profile and contract.
            Ok::<_, AnyError>(2)
        };
        done.await.map_err(io::Error::other)
    }

    /// The first company's owner looks at both portals: what is wrong with what is seen there.
    pub async fn faults(&self, town: &Town, ledger: &Ledger) -> Vec<String> {
        let mut faults = Vec::new();
        let Some(company) = town.companies.first() else { return faults };
        let mine = ledger.values().filter(|fed| fed.vat == company.vat);
        let due = mine.filter(|fed| fed.way == Way::Received).count();
        for portal in &town.portals {
            match self.listed(portal, company).await {
                Ok(rows) if rows == due.min(PAGE_ROWS) => {}
                Ok(rows) => faults.push(format!(
                    "the pages of portal {} list {rows} of {due} invoices that {} received",
                    portal.name, company.name
                )),
                Err(error) => {
                    faults.push(format!("the pages of portal {}: {error}", portal.name));
                }
            }
            if let Err(error) = self.try_curl(portal, company) {
                faults.push(format!("curl to portal {}: {error}", portal.name));
            }
        }
        faults
    }

    /// How a person comes in.
    #[must_use]
    pub fn guide(&self, town: &Town) -> String {
        let mut text = String::new();
        let Some(company) = town.companies.first() else { return text };
        let [Some(a), Some(b)] = [0, 1].map(|n| town.portals.get(n)) else { return text };
        let file = |vat: &str| self.certs.join(format!("{vat}.p12")).display().to_string();
        let vat = company.vat.to_string();
        let _ = write!(
            text,
            "\nThe portals' pages, for the owner of {name} (both show the same; kill one, use the other):\n  \
             https://{}/   and   https://{}/\n  \
             user {}, password {PASSWORD}, certificate {own}\n\
             and for the intermediary's office: user {}, the same password, certificate\n  {office}\n\
             They open to who has the certificate, so import it first; its password is {P12_PASSWORD}.\n  \
             Firefox: Settings, Privacy & Security, View Certificates: in Your Certificates import\n    {own}\n  \
             and in Authorities import, as one to identify websites,\n    {authority}\n  \
             Chromium: chrome://certificate-manager has the same two (Your certificates; Custom, Trusted\n  \
             certificates); or, with libnss3-tools, before it starts:\n    \
             mkdir -p $HOME/.pki/nssdb\n    \
             pk12util -d sql:$HOME/.pki/nssdb -K '' -W {P12_PASSWORD} -i '{own}'\n    \
             certutil -d sql:$HOME/.pki/nssdb -A -n staffetta-demo -t C,, -i '{authority}'\n  \
             Without a browser:\n    {curl}\n",
            a.pages,
            b.pages,
            OWNER.user,
            OFFICE.user,
            name = company.name,
            own = file(&vat),
            office = file(INTERMEDIARY),
            authority = self.authority_file.display(),
            curl = self.curl(a, company),
        );
        text
    }

    async fn listed(&self, portal: &Portal, company: &Company) -> Result<usize, AnyError> {
        let mut owner = self.guest(portal, &company.vat.to_string())?;
        welcome::log_in(&mut owner, OWNER.user, OWNER.password).await?;
        let page = owner.get("/fatture/ricevute").await?;
        Ok(page.text.matches("<tr id=\"f").count())
    }

    /// The line that asks the API of `portal` for the company's newest invoices.
    fn curl(&self, portal: &Portal, company: &Company) -> String {
        format!(
            "curl --cacert '{}' --cert-type P12 --cert '{}:{P12_PASSWORD}' --user {}:{PASSWORD} \
             'https://{}/api/v1/invoices?limit=3'",
            self.authority_file.display(),
            self.certs.join(format!("{}.p12", company.vat)).display(),
            OWNER.user,
            portal.pages,
        )
    }

    /// Runs that line as a person would.
    fn try_curl(&self, portal: &Portal, company: &Company) -> io::Result<()> {
        let line = self.curl(portal, company);
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", &line]).stdin(Stdio::null()).process_group(0).output()?;
        // What a shell says of a program it does not find.
        if output.status.code() == Some(127) {
            println!("There is no curl here: its line was not tried.");
            return Ok(());
        }
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))?;
        match answer["invoices"].as_array() {
            Some(invoices) if !invoices.is_empty() => Ok(()),
            _ => Err(io::Error::other(answer.to_string())),
        }
    }

    fn guest(&self, portal: &Portal, vat: &str) -> Result<Guest, AnyError> {
        Guest::new(portal.pages, &self.authority, Some(&self.papers(vat)?))
    }

    fn papers(&self, vat: &str) -> io::Result<Papers> {
        let read = |end: &str| fs::read_to_string(self.certs.join(format!("{vat}.{end}")));
        Ok(Papers { cert: read("cert")?, key: read("key")? })
    }
}
