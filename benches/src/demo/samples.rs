//! Invoices to feed: the valid files of the `fatturapa` folder, byte for byte, and after them
//! as many copies as are asked for.
//!
//! No two files that [`Samples::next`] gives are equal, whoever they are for, so a hash tells
//! whose a file is. A copy is a sample with another progressive and its tenant's P.IVA in the
//! place of the supplier's (sent) or the buyer's (received). A file is given as it is only to a
//! tenant that it may be about: a node takes no invoice of another company. Signed files are
//! never copied: a rewritten one would carry a broken signature.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
};

use engine::{
    document::invoice::Receiving,
    id::{BlobHash, VatNumber},
};
use node::intake::Intake;

/// Set to where the samples are.
pub const FOLDER_VARIABLE: &str = "STAFFETTA_FATTURAPA";
/// Where they are otherwise, from the root of the checkout.
const FOLDER_DEFAULT: &str = "../shared/fatturapa";

/// Somebody, to try whether a copy can be made anybody's.
const PROBE: &str = "12345678903";

/// Which way an invoice goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The tenant is the supplier: dropped into the node's `out/`.
    Sent,
    /// The tenant is the buyer: dropped into a portal's `sdi/<partitaiva>/`.
    Received,
}

/// One file to feed.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What to call it.
    pub file_name: String,
    /// The file.
    pub bytes: Vec<u8>,
    /// Whether a sample as it is in the folder.
    pub pristine: bool,
}

/// No samples to feed.
#[derive(Debug)]
pub struct SamplesError {
    folder: PathBuf,
    why: String,
}

impl fmt::Display for SamplesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no sample invoices in {}: {}; set {FOLDER_VARIABLE} to the folder with MANIFEST.tsv",
            self.folder.display(),
            self.why
        )
    }
}

/// All of them, and how many were given.
#[derive(Debug)]
pub struct Samples {
    files: usize,
    /// Files of the folder that were not given yet.
    pristine: Vec<Sample>,
    /// Files of which copies can be made for anybody, by way.
    models: [Vec<Vec<u8>>; 2],
    given: usize,
    copies: usize,
}

impl Samples {
    /// Reads the folder that [`FOLDER_VARIABLE`] names, or `../shared/fatturapa` beside the
    /// checkout.
    ///
    /// # Errors
    /// [`SamplesError`] says in a sentence what is missing.
    pub fn load() -> Result<Self, SamplesError> {
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FOLDER_DEFAULT);
        let folder = std::env::var_os(FOLDER_VARIABLE).map_or_else(beside, PathBuf::from);
        Self::read(&folder).map_err(|why| SamplesError { folder, why })
    }

    fn read(folder: &Path) -> Result<Self, String> {
        let probe = VatNumber::parse(PROBE).map_err(|error| error.to_string())?;
        let manifest = folder.join("MANIFEST.tsv");
        let text = fs::read_to_string(&manifest).map_err(|error| error.to_string())?;
        let mut paths: Vec<PathBuf> =
            text.lines().filter_map(valid).map(|p| folder.join(p)).collect();
        paths.extend(rule_cases(&folder.join("rule-cases")));
        let mut seen = BTreeSet::new();
        let mut pristine = Vec::new();
        let mut models = [Vec::new(), Vec::new()];
        for path in paths {
            let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            // The same file under two names is one invoice.
            if !seen.insert(BlobHash::of(&bytes)) {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for way in [Way::Sent, Way::Received] {
                if is_model(&bytes) && fits(&rewrite(&bytes, probe, way, "D00001"), probe, way) {
                    models[way as usize].push(bytes.clone());
                }
            }
            pristine.push(Sample { file_name: name, bytes, pristine: true });
        }
        if models.iter().any(Vec::is_empty) {
            return Err("the manifest lists no valid invoice".to_owned());
        }
        Ok(Self { files: pristine.len(), pristine, models, given: 0, copies: 0 })
    }

    /// The next file for `tenant`, never given before.
    pub fn next(&mut self, tenant: VatNumber, way: Way) -> Sample {
        let given = self.given;
        self.given += 1;
        // One sample of the folder, while there are any that may be this tenant's as they are,
        // then one copy: both kinds are in every phase.
        if given.is_multiple_of(2)
            && let Some(at) = self.pristine.iter().position(|one| fits(&one.bytes, tenant, way))
        {
            return self.pristine.remove(at);
        }
        let models = &self.models[way as usize];
        let model = &models[self.copies % models.len()];
        self.copies += 1;
        let progressive = format!("D{:05}", self.copies);
        Sample {
            file_name: format!("IT{tenant}_{progressive}.xml"),
            bytes: rewrite(model, tenant, way, &progressive),
            pristine: false,
        }
    }

    /// How many different files the folder has.
    #[must_use]
    pub fn folder_files(&self) -> usize {
        self.files
    }
}

/// Whether a node or portal takes the file as an invoice of `tenant`.
fn fits(bytes: &[u8], tenant: VatNumber, way: Way) -> bool {
    let receiving = (way == Way::Received).then(|| Receiving {
        sdi_id: String::new(),
        at_ms: 0,
        metadata: None,
    });
    Intake::read("x.xml", bytes, receiving).is_ok_and(|intake| intake.of(tenant).is_ok())
}

/// The path in a line of the manifest that says a valid invoice. The verdict on a `.p7m` is
/// about its signature: one that wraps a withdrawn format is no valid invoice.
fn valid(line: &str) -> Option<&str> {
    let mut columns = line.split('\t');
    let (path, kind, verdict) = (columns.next()?, columns.next()?, columns.next()?);
    let withdrawn = columns.next().is_some_and(|why| why.contains("obsolete"));
    (matches!(kind, "invoice" | "p7m") && verdict == "valid" && !withdrawn).then_some(path)
}

fn rule_cases(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("ok-"))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// Whether copies can be made: plain ASCII-compatible XML, unsigned, with a progressive.
fn is_model(bytes: &[u8]) -> bool {
    let has = |text: &str| find(bytes, text.as_bytes(), 0).is_some();
    bytes.first().is_some_and(|byte| *byte == b'<' || *byte == 0xef)
        && !has("SignatureValue")
        && element(bytes, "ProgressivoInvio", 0).is_some()
}

fn rewrite(model: &[u8], tenant: VatNumber, way: Way, progressive: &str) -> Vec<u8> {
    let mut bytes = model.to_vec();
    let section = match way {
        Way::Sent => "<CedentePrestatore>",
        Way::Received => "<CessionarioCommittente>",
    };
    // Back to front, so that what was found stays where it was.
    if let Some(start) = find(&bytes, section.as_bytes(), 0) {
        let end_tag = section.replace('<', "</");
        let end = find(&bytes, end_tag.as_bytes(), start).unwrap_or(bytes.len());
        let italian = element(&bytes, "IdPaese", start)
            .is_some_and(|(from, to)| to < end && &bytes[from..to] == b"IT");
        if let Some((from, to)) = element(&bytes, "IdCodice", start).filter(|(_, to)| *to < end)
            && italian
        {
            bytes.splice(from..to, tenant.to_string().into_bytes());
        }
    }
    if let Some((from, to)) = element(&bytes, "ProgressivoInvio", 0) {
        bytes.splice(from..to, progressive.bytes());
    }
    bytes
}

/// Where the text of the first `<name>` from `start` on lies.
fn element(bytes: &[u8], name: &str, start: usize) -> Option<(usize, usize)> {
    let open = format!("<{name}>");
    let from = find(bytes, open.as_bytes(), start)? + open.len();
    let to = find(bytes, format!("</{name}>").as_bytes(), from)?;
    Some((from, to))
}

fn find(bytes: &[u8], what: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?;
    rest.windows(what.len()).position(|window| window == what).map(|at| at + start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &[u8] = b"<F><ProgressivoInvio>1</ProgressivoInvio>\
        <CedentePrestatore><IdPaese>IT</IdPaese><IdCodice>9</IdCodice></CedentePrestatore>\
        <CessionarioCommittente><CodiceFiscale>X</CodiceFiscale></CessionarioCommittente>\
        <TerzoIntermediario><IdPaese>IT</IdPaese><IdCodice>7</IdCodice></TerzoIntermediario></F>";

    fn tenant() -> VatNumber {
        VatNumber::parse("02038490237").unwrap()
    }

    #[test]
    fn a_copy_is_its_tenants_and_only_where_it_should_be() {
        let sent = String::from_utf8(rewrite(MODEL, tenant(), Way::Sent, "D00001")).unwrap();
        assert!(sent.contains("<ProgressivoInvio>D00001<"), "{sent}");
        assert!(sent.contains("<IdCodice>02038490237</IdCodice></Ced"), "{sent}");
        // A buyer without P.IVA keeps being one; whoever comes after is left alone.
        let received = String::from_utf8(rewrite(MODEL, tenant(), Way::Received, "D2")).unwrap();
        assert!(!received.contains("02038490237"), "{received}");
    }

    #[test]
    fn signed_files_are_no_models() {
        assert!(is_model(MODEL));
        assert!(!is_model(&[MODEL, b"<ds:SignatureValue/>"].concat()));
        assert!(!is_model(b"MIAGCSqGSIb3DQEHAqCA"));
    }

    #[test]
    fn only_valid_invoices_are_read_from_the_manifest() {
        assert_eq!(valid("a.xml\tinvoice\tvalid\t"), Some("a.xml"));
        assert_eq!(valid("a.p7m\tp7m\tvalid\twhy"), Some("a.p7m"));
        for line in [
            "a.xml\tinvoice\tinvalid",
            "a.xml\tnotification\tvalid",
            "a.p7m\tp7m\tvalid\tpayload is format 1.0 (obsolete)",
            "",
            "path\tkind\tverdict",
        ] {
            assert_eq!(valid(line), None);
        }
    }
}
