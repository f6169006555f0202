//! What each command does, over the library. Takes the clock's time once, here.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use certgen::{
    AUTHORITY_CERT_FILE, AUTHORITY_KEY_FILE, Authority, AuthorityError, Batch, Certified, Existing,
    FileError, Form, Host, INPUT_BYTES_MAX, Inspection, Issued, Ledger, Moment, Options, Password,
    PortalName, PrivateKey, Request, Secret, Standing, Strength, Subject, Words, inspect, pack_p12,
    read_file, refuse_existing, set_aside,
};
use engine::id::{PeerId, VatNumber};

use crate::cli::{Ca, Command, Out, P12Options, Signing};
use crate::failure::Failure;
use crate::report::Report;

/// Runs one command.
pub(crate) fn run(command: Command) -> Result<Report, Failure> {
    match command {
        Command::Issue { partitaiva, signing, out, p12 } => {
            issue(tenant(&partitaiva)?, &signing, &out, &p12)
        }
        Command::IssuePortal { name, hosts, signing, out, p12 } => {
            issue(portal(&name, &hosts)?, &signing, &out, &p12)
        }
        Command::Request { partitaiva, out } => request(tenant(&partitaiva)?, &out),
        Command::RequestPortal { name, hosts, out } => request(portal(&name, &hosts)?, &out),
        Command::Sign { request, renews, words, portal, signing, out } => {
            sign(&request, renews.as_deref(), words.as_deref(), portal, &signing, &out)
        }
        Command::P12 { cert, key, ca_cert, out, p12 } => {
            pack(&cert, &key, ca_cert.as_deref(), &out, &p12)
        }
        Command::Renew { cert, same_key, signing, out, p12 } => {
            renew(&cert, same_key, &signing, &out, &p12)
        }
        Command::Revoke { target, reason, force, ca } => revoke(&target, &reason, force, &ca),
        Command::Inspect { file, words, key, ca } => {
            tell(&file, words.as_deref(), key.as_deref(), ca.as_deref())
        }
        Command::List { ca } => list(&ca),
        Command::InitCa { out } => init(&out),
    }
}

fn issue(
    subject: Subject,
    signing: &Signing,
    out: &Out,
    p12: &P12Options,
) -> Result<Report, Failure> {
    let stem = subject.stem();
    let (password, is_generated) = password(p12)?;
    if !out.force {
        let names = ["key", "cert", "p12", "p12.password"];
        refuse_existing(&out.out, &names.map(|suffix| format!("{stem}.{suffix}")))?;
    }
    let options = options(signing);
    let mut authority = Authority::open_or_create(&signing.ca.ca, options.now)?;
    let issued = match subject {
        Subject::Node(tenant) => authority.issue_node(tenant, options)?,
        Subject::Portal { name, hosts } => authority.issue_portal(name, hosts, options)?,
    };
    let batch = Batch::into_folder(&out.out)?;
    let files = write_set(batch, &issued, &password, is_generated, strength(p12), existing(out))?;
    let mut report = Report::new(format!("issued to {}", issued.certified.subject));
    report.certified(&issued.certified);
    report.files(&files);
    Ok(report)
}

fn request(subject: Subject, out: &Out) -> Result<Report, Failure> {
    let request = Request::new(subject)?;
    let files = request.write(&out.out, existing(out))?;
    let mut report = Report::new(format!("request for {}", request.subject));
    report.value("subject", json!(request.subject));
    report.pin(&request.peer);
    report.files(&files);
    report.row("next", "send the .csr to the intermediary and read out the words; keep the .key");
    Ok(report)
}

fn sign(
    request_path: &Path,
    renews: Option<&Path>,
    words: Option<&str>,
    for_portal: bool,
    signing: &Signing,
    out: &Out,
) -> Result<Report, Failure> {
    let (request, found) = read_inspected(request_path)?;
    found.public_key().map_err(|error| Failure::input(request_path, &error))?;
    let Some(subject) = found.subject.as_ref().filter(|_| found.form == Form::Request) else {
        return Err(Failure::input(request_path, &AuthorityError::NotARequest));
    };
    if words.map(Words::parse).transpose()?.is_some_and(|words| words != found.words()) {
        return Err(Failure::other_words(&found.peer));
    }
    if matches!(subject, Subject::Portal { .. }) && !for_portal {
        return Err(Failure::Refused(format!(
            "{} asks for {subject}, give --portal if that is meant",
            request_path.display()
        )));
    }
    let old = renews.map(read_inspected).transpose()?;
    let options = options(signing);
    let stem = subject.stem();
    let mut batch = Batch::into_folder(&out.out)?;
    let replace = match &old {
        Some((old, _)) => aside(&mut batch, out, &stem, old, false)?,
        None => existing(out),
    };
    if replace == Existing::Refuse {
        refuse_existing(&out.out, &[format!("{stem}.cert")])?;
    }
    let mut authority = Authority::open_or_create(&signing.ca.ca, options.now)?;
    let old_bytes = old.as_ref().map(|(bytes, _)| bytes.as_slice());
    let certified = authority.sign(&request, old_bytes, options)?;
    certified.add_to(&mut batch, replace)?;
    let files = batch.commit()?;
    let mut report = Report::new(format!("signed for {}", certified.subject));
    if let Some((_, old)) = &old {
        report_overlap(&mut report, old, &certified);
    }
    report.certified(&certified);
    report.files(&files);
    Ok(report)
}

fn pack(
    cert_path: &Path,
    key_path: &Path,
    authority: Option<&Path>,
    out: &Out,
    p12: &P12Options,
) -> Result<Report, Failure> {
    let (cert, found) = read_inspected(cert_path)?;
    let key = read_key(key_path)?;
    let authority = authority.map(read_inspected).transpose()?;
    let authority = authority.as_ref().map(|(bytes, _)| bytes.as_slice());
    let (password, is_generated) = password(p12)?;
    let stem = match &found.subject {
        Some(subject) => subject.stem(),
        None => return Err(Failure::input(cert_path, &"it is not of a node or portal")),
    };
    let strength = strength(p12);
    let packed = pack_p12(&stem, &key, &cert, authority, &password, strength)?;
    let mut batch = Batch::into_folder(&out.out)?;
    add_p12(&mut batch, &stem, &packed, &password, is_generated, existing(out))?;
    let files = batch.commit()?;
    let mut report = Report::new(format!("packed {}", cert_path.display()));
    report.pin(&found.peer);
    report.files(&files);
    Ok(report)
}

fn renew(
    cert_path: &Path,
    same_key: bool,
    signing: &Signing,
    out: &Out,
    p12: &P12Options,
) -> Result<Report, Failure> {
    let (bytes, old) = read_inspected(cert_path)?;
    let (password, is_generated) = password(p12)?;
    let options = options(signing);
    let mut authority = Authority::open(&signing.ca.ca)?;
    // A certificate of a stranger has no stem to set aside; the authority says why it is
    // refused.
    let stem = old.subject.as_ref().map(Subject::stem).unwrap_or_default();
    let mut batch = Batch::into_folder(&out.out)?;
    let replace = aside(&mut batch, out, &stem, &bytes, !same_key)?;
    if replace == Existing::Refuse {
        let names: &[&str] =
            if same_key { &["cert"] } else { &["key", "cert", "p12", "p12.password"] };
        let names: Vec<_> = names.iter().map(|suffix| format!("{stem}.{suffix}")).collect();
        refuse_existing(&out.out, &names)?;
    }
    let (certified, files) = if same_key {
        let certified = authority.renew_same_key(&bytes, options)?;
        certified.add_to(&mut batch, replace)?;
        (certified, batch.commit()?)
    } else {
        let issued = authority.renew(&bytes, options)?;
        let strength = strength(p12);
        let files = write_set(batch, &issued, &password, is_generated, strength, replace)?;
        (issued.certified, files)
    };
    let mut report = Report::new(format!("renewed {}", certified.subject));
    report_overlap(&mut report, &old, &certified);
    report.certified(&certified);
    report.files(&files);
    if same_key {
        report.row("next", "the .p12 still holds the old certificate: remake it with p12");
    }
    Ok(report)
}

fn revoke(target: &str, reason: &str, force: bool, ca: &Ca) -> Result<Report, Failure> {
    let pin = match PeerId::parse_hex(target) {
        Ok(pin) => pin,
        // 64 characters and no such file: a mistyped pin, not a missing certificate.
        Err(error) if target.len() == 64 && !Path::new(target).exists() => {
            return Err(Failure::Input(format!("{target}: {error}")));
        }
        Err(_) => read_inspected(Path::new(target))?.1.peer,
    };
    let now = Moment::now();
    let mut authority = Authority::open(&ca.ca)?;
    let was_good = authority.revoke(pin, reason, force, now)?;
    let book = authority.book();
    let holder = book.of_pin(&pin).next_back().map(|entry| &entry.certificate.subject);
    let others = holder.map(|holder| book.live_pins(holder, now)).unwrap_or_default();
    let mut report = Report::new(if was_good { "revoked" } else { "was revoked already" }.into());
    report.value("newly_revoked", was_good);
    if let Some(holder) = holder {
        report.row("subject", holder.to_string());
        report.value("subject", json!(holder));
    }
    report.pin(&pin);
    let others: Vec<_> = others.iter().map(PeerId::to_string).collect();
    for other in &others {
        report.row("still good", format!("{other} (of the same holder)"));
    }
    report.value("still_good", others);
    Ok(report)
}

fn tell(
    path: &Path,
    words: Option<&str>,
    key: Option<&Path>,
    ca: Option<&Path>,
) -> Result<Report, Failure> {
    let (_, found) = read_inspected(path)?;
    let words = words.map(Words::parse).transpose()?;
    let key = key.map(read_key).transpose()?;
    let now = Moment::now();
    let form = match found.form {
        Form::Certificate => "certificate",
        Form::Request => "signing request",
    };
    let mut report = Report::new(format!("{}: {form}", path.display()));
    report.value("form", form);
    report.value("subject", json!(found.subject));
    if let Some(subject) = &found.subject {
        report.row("of", subject.to_string());
        for host in subject.hosts() {
            report.row("host", host.to_string());
        }
    }
    report.add("subject_name", found.subject_name.clone());
    report.value("is_authority", found.is_authority);
    if let Some(issuer) = &found.issuer_name {
        report.add("issuer_name", issuer.clone());
    }
    if let Some(serial) = &found.serial {
        report.add("serial", serial.clone());
    }
    if let Some(validity) = found.validity {
        report.add("not_before", validity.not_before.to_string());
        report.add("not_after", validity.not_after.to_string());
        let is_valid = found.is_valid_at(now);
        report.row("today", if is_valid { "valid" } else { "NOT valid" });
        report.value("is_valid", is_valid);
    }
    report.pin(&found.peer);
    if let Some(ca) = ca {
        report_standing(&mut report, &found, &Ledger::open_to_read(ca)?, now);
    }
    if let Some(words) = words {
        compare(&mut report, "words_match", words == found.words());
    }
    if let Some(key) = key {
        compare(&mut report, "key_matches", found.belongs_to(&key));
    }
    Ok(report)
}

fn list(ca: &Ca) -> Result<Report, Failure> {
    let ledger = Ledger::open_to_read(&ca.ca)?;
    let (book, now) = (ledger.book(), Moment::now());
    let mut report = Report::new(format!("{} certificates", book.entries().len()));
    let mut rows = Vec::new();
    for entry in book.entries() {
        let standing = book.standing(entry, now);
        let certificate = &entry.certificate;
        let ends = certificate.validity.not_after.to_string();
        let (subject, pin) = (&certificate.subject, &certificate.pin);
        report.row(standing_word(standing), format!("{subject}  until {}  {pin}", &ends[..10]));
        let mut row = json!(certificate);
        row["standing"] = json!(standing);
        row["issued"] = json!(entry.issued);
        row["renews"] = json!(entry.renews.map(|pin| pin.to_string()));
        row["renewed_by"] = json!(entry.renewed_by.map(|pin| pin.to_string()));
        rows.push(row);
    }
    let mut revoked = Vec::new();
    for pin in book.revoked_pins() {
        let Some(revocation) = book.revocation(pin) else { continue };
        revoked.push(json!({
            "pin": pin.to_string(), "at": revocation.at, "reason": revocation.reason
        }));
        if book.of_pin(pin).next().is_none() {
            report.row("revoked", format!("(issued elsewhere)  {pin}"));
        }
    }
    report.value("certificates", rows);
    report.value("revoked", revoked);
    Ok(report)
}

fn init(folder: &Path) -> Result<Report, Failure> {
    for name in [AUTHORITY_KEY_FILE, AUTHORITY_CERT_FILE] {
        if folder.join(name).exists() {
            return Err(Failure::Refused(format!(
                "{} holds an authority already, choose another folder",
                folder.display()
            )));
        }
    }
    let authority = Authority::open_or_create(folder, Moment::now())?;
    let mut report = Report::new(format!("made an authority in {}", folder.display()));
    report.pin(&authority.peer());
    report.files(&[folder.join(AUTHORITY_KEY_FILE), folder.join(AUTHORITY_CERT_FILE)]);
    Ok(report)
}

fn tenant(text: &str) -> Result<Subject, Failure> {
    let tenant = VatNumber::parse(text);
    tenant.map(Subject::Node).map_err(|error| Failure::Input(error.to_string()))
}

fn portal(name: &str, hosts: &[String]) -> Result<Subject, Failure> {
    let name = PortalName::parse(name)?;
    let hosts = hosts.iter().map(|host| Host::parse(host)).collect::<Result<_, _>>()?;
    Ok(Subject::Portal { name, hosts })
}

fn options(signing: &Signing) -> Options {
    Options { valid_days: signing.days, now: Moment::now() }
}

const fn existing(out: &Out) -> Existing {
    if out.force { Existing::Replace } else { Existing::Refuse }
}

const fn strength(p12: &P12Options) -> Strength {
    if p12.p12_legacy { Strength::Legacy } else { Strength::Current }
}

/// The password of the .p12, and whether it was generated and must be written down.
fn password(p12: &P12Options) -> Result<(Password, bool), Failure> {
    let Some(path) = &p12.p12_password_file else {
        return Ok((Password::generate()?, true));
    };
    let bytes = Secret::new(read_file(path, INPUT_BYTES_MAX)?);
    let password = Password::from_file(bytes.expose());
    Ok((password.map_err(|error| Failure::input(path, &error))?, false))
}

/// Plans the copies of the old set. With --force what cannot be copied is replaced.
fn aside(
    batch: &mut Batch,
    out: &Out,
    stem: &str,
    old: &[u8],
    with_key: bool,
) -> Result<Existing, Failure> {
    match set_aside(batch, &out.out, stem, old, with_key) {
        Err(FileError::Exists(_)) if out.force => Ok(Existing::Replace),
        Ok(Existing::Refuse) if out.force => Ok(Existing::Replace),
        other => Ok(other?),
    }
}

/// Writes the four files of an identity; the certificate last.
fn write_set(
    mut batch: Batch,
    issued: &Issued,
    password: &Password,
    is_generated: bool,
    strength: Strength,
    existing: Existing,
) -> Result<Vec<PathBuf>, Failure> {
    let packed = issued.p12(password, strength)?;
    let stem = issued.certified.subject.stem();
    add_p12(&mut batch, &stem, &packed, password, is_generated, existing)?;
    issued.add_to(&mut batch, existing)?;
    Ok(batch.commit()?)
}

fn add_p12(
    batch: &mut Batch,
    stem: &str,
    packed: &Secret,
    password: &Password,
    is_generated: bool,
    existing: Existing,
) -> Result<(), Failure> {
    let name = format!("{stem}.p12.password");
    if is_generated {
        batch.secret(&name, password.expose(), existing)?;
    } else if existing == Existing::Replace {
        // The password of the file that is replaced would only mislead.
        batch.remove(&name);
    }
    batch.secret(&format!("{stem}.p12"), packed.expose(), existing)?;
    Ok(())
}

fn read_inspected(path: &Path) -> Result<(Vec<u8>, Inspection), Failure> {
    let bytes = read_file(path, INPUT_BYTES_MAX)?;
    let found = inspect(&bytes).map_err(|error| Failure::input(path, &error))?;
    Ok((bytes, found))
}

fn read_key(path: &Path) -> Result<PrivateKey, Failure> {
    let bytes = Secret::new(read_file(path, INPUT_BYTES_MAX)?);
    PrivateKey::from_pem(bytes.expose()).map_err(|error| Failure::input(path, &error))
}

fn report_overlap(report: &mut Report, old: &Inspection, new: &Certified) {
    let ends = old.validity.map_or(new.validity.not_before, |validity| validity.not_after);
    report.value("old_pin", old.peer.to_string());
    report.value("overlap_ends", json!(ends));
    if old.peer == new.peer {
        report.row("old pin", "the same as the new one");
    } else {
        report.row("old pin", format!("{} good until {ends} or revoked", old.peer));
    }
}

fn report_standing(report: &mut Report, found: &Inspection, ledger: &Ledger, now: Moment) {
    let book = ledger.book();
    let serial = found.serial.as_deref();
    let entry = book.of_pin(&found.peer).find(|entry| serial == Some(&entry.certificate.serial));
    let standing = entry.map(|entry| book.standing(entry, now));
    report.row("ledger", standing.map_or("unknown", standing_word));
    report.value("standing", json!(standing));
    if let Some(renewed_by) = entry.and_then(|entry| entry.renewed_by) {
        report.add("renewed_by", renewed_by.to_string());
    }
    if let Some(revocation) = book.revocation(&found.peer) {
        report.row("revoked", format!("{}: {}", revocation.at, revocation.reason));
        report.value("revoked", json!({ "at": revocation.at, "reason": revocation.reason }));
    }
}

fn compare(report: &mut Report, name: &'static str, matches: bool) {
    report.row(name, if matches { "yes" } else { "NO" });
    report.value(name, Value::from(matches));
    if !matches {
        report.code = 1;
    }
}

const fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Valid => "valid",
        Standing::Overlap => "overlap",
        Standing::Expired => "expired",
        Standing::Revoked => "revoked",
    }
}
