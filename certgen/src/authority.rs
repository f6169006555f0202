//! The intermediary's authority: a folder with `ca.key`, `ca.cert` and the ledger, and
//! the only code that makes identities.
//!
//! Peers of Staffetta trust pins, not this authority; its signature is for the TLS of
//! browsers and ERPs, and its ledger is how portals learn which pins are whose. It never
//! certifies a revoked pin, nor one pin for two holders, and never keeps a private key
//! other than its own.

use std::path::{Path, PathBuf};

use engine::id::{PeerId, VatNumber};

use crate::certificate::{CertificateError, EndEntity, SigningAuthority};
use crate::files::{self, Batch, Existing, FileError};
use crate::inspect::{Form, INPUT_BYTES_MAX, Inspection, ReadError, inspect};
use crate::issued::{Certified, Issued};
use crate::key::{KeyError, PrivateKey, PublicKey, Secret};
use crate::ledger::{Book, CertificateRecord, Event, LEDGER_FILE, Ledger, LedgerError};
use crate::moment::{Moment, Validity};
use crate::subject::{Host, PortalName, Subject};

/// File of the authority's private key.
pub const AUTHORITY_KEY_FILE: &str = "ca.key";
/// File of the authority's certificate.
pub const AUTHORITY_CERT_FILE: &str = "ca.cert";

/// How long certificates are good for, unless told otherwise: the most that Apple's
/// platforms take from a private authority.
pub const DAYS_DEFAULT: u16 = 825;
/// Two: the first day lies before the issue. See [`Validity::starting`].
pub const DAYS_MIN: u16 = 2;

/// What the caller decides about a certificate.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Days of validity in all, the back-dated one included.
    pub valid_days: u16,
    /// The moment of issue.
    pub now: Moment,
}

impl Options {
    /// [`DAYS_DEFAULT`] from `now`.
    #[must_use]
    pub const fn at(now: Moment) -> Self {
        Self { valid_days: DAYS_DEFAULT, now }
    }
}

impl Default for Options {
    /// [`DAYS_DEFAULT`] from the moment the machine's clock shows.
    fn default() -> Self {
        Self::at(Moment::now())
    }
}

/// An authority opened for issuing.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    signing: SigningAuthority,
    ledger: Ledger,
}

impl Authority {
    /// Opens the authority in `folder`, or makes a new one there if the folder has none.
    ///
    /// # Errors
    /// [`AuthorityError`]; [`AuthorityError::Half`] when only a part of one is there.
    pub fn open_or_create(folder: &Path, now: Moment) -> Result<Self, AuthorityError> {
        let mut batch = Batch::into_folder(folder)?;
        let mut ledger = Ledger::open_or_create(folder)?;
        // Under the ledger's lock, so that two first uses make one authority.
        ledger.transact(|book| {
            let has = |name: &str| folder.join(name).exists();
            match (has(AUTHORITY_KEY_FILE), has(AUTHORITY_CERT_FILE)) {
                (true, true) => return Ok(None),
                (false, false) if book.entries().is_empty() => {}
                _ => return Err(AuthorityError::Half(folder.to_owned())),
            }
            let key = PrivateKey::generate()?;
            let pem = key.to_pem();
            let signing = SigningAuthority::create(key, now)?;
            batch.secret(AUTHORITY_KEY_FILE, pem.expose(), Existing::Refuse)?;
            batch.public(AUTHORITY_CERT_FILE, signing.pem().as_bytes(), Existing::Refuse)?;
            batch.commit()?;
            Ok(None)
        })?;
        Self::load(folder, ledger)
    }

    /// Opens the authority in `folder`.
    ///
    /// # Errors
    /// [`AuthorityError::Missing`] when there is none.
    pub fn open(folder: &Path) -> Result<Self, AuthorityError> {
        if !folder.join(LEDGER_FILE).exists() {
            return Err(AuthorityError::Missing(folder.to_owned()));
        }
        Self::load(folder, Ledger::open_or_create(folder)?)
    }

    /// Makes a key and a certificate for the node of `tenant`.
    ///
    /// # Errors
    /// [`AuthorityError`]; nothing was issued then.
    pub fn issue_node(
        &mut self,
        tenant: VatNumber,
        options: Options,
    ) -> Result<Issued, AuthorityError> {
        self.issue(&Subject::Node(tenant), None, options)
    }

    /// Makes a key and a certificate for the portal `name`, reached by `hosts`.
    ///
    /// # Errors
    /// [`AuthorityError`]; nothing was issued then.
    pub fn issue_portal(
        &mut self,
        name: PortalName,
        hosts: Vec<Host>,
        options: Options,
    ) -> Result<Issued, AuthorityError> {
        self.issue(&Subject::Portal { name, hosts }, None, options)
    }

    /// Makes the certificate that a signing request (PEM or DER) asks for; it follows the
    /// certificate `renews` if there is one.
    ///
    /// # Errors
    /// [`AuthorityError`]; nothing was issued then.
    pub fn sign(
        &mut self,
        request: &[u8],
        renews: Option<&[u8]>,
        options: Options,
    ) -> Result<Certified, AuthorityError> {
        let request = inspect(request)?;
        let Inspection { form: Form::Request, subject: Some(subject), .. } = &request else {
            return Err(AuthorityError::NotARequest);
        };
        let old = renews.map(|old| self.ours(old)).transpose()?;
        if let Some((old, _)) = old.as_ref().filter(|(old, _)| !old.is_same_holder(subject)) {
            let (old, new) = (old.to_string(), subject.to_string());
            return Err(AuthorityError::OtherHolder { old, new });
        }
        let old = old.map(|(_, old)| old);
        self.certify(subject, &request.public_key()?, old.as_ref(), options)
    }

    /// Makes a new key and certificate to follow `certificate`. Both pins are good until
    /// the old certificate expires or its pin is revoked.
    ///
    /// # Errors
    /// [`AuthorityError`]; nothing was issued then.
    pub fn renew(
        &mut self,
        certificate: &[u8],
        options: Options,
    ) -> Result<Issued, AuthorityError> {
        let (subject, old) = self.ours(certificate)?;
        self.issue(&subject, Some(&old), options)
    }

    /// Makes a new certificate for the key of `certificate`: a new date, the same pin. The
    /// private key is not needed.
    ///
    /// # Errors
    /// [`AuthorityError`]; nothing was issued then.
    pub fn renew_same_key(
        &mut self,
        certificate: &[u8],
        options: Options,
    ) -> Result<Certified, AuthorityError> {
        let (subject, old) = self.ours(certificate)?;
        self.certify(&subject, &old.public_key()?, Some(&old), options)
    }

    /// Revokes `pin`. Returns whether it was good until now. An unknown pin is most likely
    /// mistyped and refused, unless `even_if_unknown`.
    ///
    /// # Errors
    /// [`AuthorityError::UnknownPin`], or the ledger could not be written.
    pub fn revoke(
        &mut self,
        pin: PeerId,
        reason: &str,
        even_if_unknown: bool,
        now: Moment,
    ) -> Result<bool, AuthorityError> {
        let mut was_good = true;
        self.ledger.transact(|book| {
            if book.revocation(&pin).is_some() {
                was_good = false;
                return Ok(None);
            }
            if !even_if_unknown && book.of_pin(&pin).next().is_none() {
                return Err(AuthorityError::UnknownPin(pin));
            }
            Ok(Some((now, Event::Revoked { pin, reason: reason.to_owned() })))
        })?;
        Ok(was_good)
    }

    /// The authority's certificate in PEM, for the trust store of browsers and ERPs.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        self.signing.pem()
    }

    /// The authority's own pin.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.signing.inspection().peer
    }

    /// Everything issued, renewed and revoked, as last read.
    #[must_use]
    pub fn book(&self) -> &Book {
        self.ledger.book()
    }

    fn load(folder: &Path, ledger: Ledger) -> Result<Self, AuthorityError> {
        let key = folder.join(AUTHORITY_KEY_FILE);
        let cert = folder.join(AUTHORITY_CERT_FILE);
        match (key.exists(), cert.exists()) {
            (true, true) => {}
            (false, false) if ledger.book().entries().is_empty() => {
                return Err(AuthorityError::Missing(folder.to_owned()));
            }
            _ => return Err(AuthorityError::Half(folder.to_owned())),
        }
        let stored = |error: CertificateError| AuthorityError::Stored(folder.to_owned(), error);
        let key = Secret::new(files::read(&key, INPUT_BYTES_MAX)?);
        let key = PrivateKey::from_pem(key.expose()).map_err(|e| stored(e.into()))?;
        let pem = String::from_utf8(files::read(&cert, INPUT_BYTES_MAX)?)
            .map_err(|_| stored(ReadError::NotACertificate.into()))?;
        let signing = SigningAuthority::from_parts(key, pem).map_err(stored)?;
        Ok(Self { folder: folder.to_owned(), signing, ledger })
    }

    /// Whose certificate this is, after checking that we signed it.
    fn ours(&self, certificate: &[u8]) -> Result<(Subject, Inspection), AuthorityError> {
        let found = inspect(certificate)?;
        let subject = found.subject.clone().filter(|_| found.form == Form::Certificate);
        match subject {
            Some(subject) if found.is_signed_by(self.signing.inspection()) => Ok((subject, found)),
            _ => Err(AuthorityError::NotOurs(self.folder.clone())),
        }
    }

    fn issue(
        &mut self,
        subject: &Subject,
        renews: Option<&Inspection>,
        options: Options,
    ) -> Result<Issued, AuthorityError> {
        let key = PrivateKey::generate()?;
        let certified = self.certify(subject, &key.public(), renews, options)?;
        Ok(Issued::new(certified, key))
    }

    /// Signs, and writes into the ledger before anyone sees the certificate: one that is
    /// not in the ledger could not be found again to be revoked.
    fn certify(
        &mut self,
        subject: &Subject,
        public: &PublicKey,
        renews: Option<&Inspection>,
        options: Options,
    ) -> Result<Certified, AuthorityError> {
        if options.valid_days < DAYS_MIN {
            return Err(AuthorityError::Days(options.valid_days));
        }
        let validity = Validity::starting(options.now, options.valid_days);
        let ends = self.signing.inspection().validity.map(|validity| validity.not_after);
        if let Some(ends) = ends.filter(|ends| *ends < validity.not_after) {
            return Err(AuthorityError::Ends(self.folder.clone(), ends));
        }
        let cert_pem = self.signing.sign(&EndEntity::new(subject, validity)?, public)?;
        let serial = inspect(cert_pem.as_bytes())?.serial.unwrap_or_default();
        let pin = public.peer();
        let record = CertificateRecord { pin, subject: subject.clone(), serial, validity };
        let certified = Certified {
            subject: subject.clone(),
            peer: pin,
            serial: record.serial.clone(),
            validity,
            cert_pem,
            authority_pem: self.signing.pem().to_owned(),
        };
        self.ledger.transact(|book| {
            refuse_revoked(book, pin)?;
            if let Some(other) =
                book.of_pin(&pin).find(|entry| !entry.certificate.subject.is_same_holder(subject))
            {
                let (old, new) = (other.certificate.subject.to_string(), subject.to_string());
                return Err(AuthorityError::OtherHolder { old, new });
            }
            let event = match renews {
                None => Event::Issued(record),
                Some(old) => {
                    refuse_revoked(book, old.peer)?;
                    let overlap_ends = old.validity.map_or(options.now, |old| old.not_after);
                    Event::Renewed { old_pin: old.peer, overlap_ends, new: record }
                }
            };
            Ok(Some((options.now, event)))
        })?;
        Ok(certified)
    }
}

fn refuse_revoked(book: &Book, pin: PeerId) -> Result<(), AuthorityError> {
    match book.revocation(&pin) {
        Some(revocation) => Err(AuthorityError::Revoked(pin, revocation.at)),
        None => Ok(()),
    }
}

/// Why an authority could not be opened or would not sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The certificate or request given is unreadable.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No certificate could be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The folder holds no authority.
    #[error("{} holds no authority, give its folder with --ca or make one with init-ca", .0.display())]
    Missing(PathBuf),
    /// The folder holds a part of one.
    #[error("{} holds only a part of an authority, restore ca.key and ca.cert from a backup", .0.display())]
    Half(PathBuf),
    /// Its files do not fit together.
    #[error("the authority in {folder} cannot be used: {1}", folder = .0.display())]
    Stored(PathBuf, CertificateError),
    /// Too few days.
    #[error("{0} days are too few, give at least {DAYS_MIN}: the first lies before the issue")]
    Days(u16),
    /// It would end before what it is to sign.
    #[error("the authority in {folder} ends on {1}, give fewer --days or make a new authority", folder = .0.display())]
    Ends(PathBuf, Moment),
    /// Not a signing request for a node or portal.
    #[error("it is not a request for a node or portal, make one with `staffetta-certgen request`")]
    NotARequest,
    /// Signed by another authority, or by none.
    #[error("the certificate was not issued by the authority in {}, give the folder of the one that did with --ca", .0.display())]
    NotOurs(PathBuf),
    /// The pin is revoked.
    #[error("the pin {0} was revoked on {1}, make a new key")]
    Revoked(PeerId, Moment),
    /// One pin would name two holders.
    #[error("the key or certificate belongs to {old}, not to {new}, make a new key for it")]
    OtherHolder {
        /// The holder in the ledger.
        old: String,
        /// The holder asked for.
        new: String,
    },
    /// No certificate with this pin was ever issued here.
    #[error(
        "the pin {0} is not in the ledger, check it, or give --force to revoke it all the same"
    )]
    UnknownPin(PeerId),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Standing;

    const NOW: Moment = Moment::from_unix(1_795_508_046);

    fn tenant() -> VatNumber {
        VatNumber::parse("02038490237").unwrap()
    }

    #[test]
    fn a_renewed_certificate_ends_on_its_own_day_whatever_follows_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = Authority::open_or_create(folder.path(), NOW).unwrap();
        let old = authority.issue_node(tenant(), Options { valid_days: 100, now: NOW }).unwrap();
        let later = NOW.plus_days(90);
        let new = authority.renew(old.cert_pem().as_bytes(), Options::at(later)).unwrap();
        let book = authority.book();
        let live = |now| book.live_pins(&old.certified.subject, now);
        assert_eq!(live(later), [old.peer(), new.peer()].into());
        assert_eq!(live(old.certified.validity.not_after.plus_days(1)), [new.peer()].into());
        let standing = book.standing(&book.entries()[0], NOW.plus_days(200));
        assert_eq!(standing, Standing::Expired);
    }

    #[test]
    fn nothing_outlives_the_authority() {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = Authority::open_or_create(folder.path(), NOW).unwrap();
        let late = NOW.plus_days(3_000);
        let refused = authority.issue_node(tenant(), Options::at(late)).unwrap_err();
        assert!(matches!(refused, AuthorityError::Ends(..)), "{refused}");
        assert!(authority.book().entries().is_empty());
        authority.issue_node(tenant(), Options { valid_days: 600, now: late }).unwrap();
    }

    #[test]
    fn an_authority_opened_twice_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Authority::open(folder.path()), Err(AuthorityError::Missing(_))));
        let first = Authority::open_or_create(folder.path(), NOW).unwrap();
        let again = Authority::open_or_create(folder.path(), NOW.plus_days(1)).unwrap();
        assert_eq!(first.cert_pem(), again.cert_pem());
        assert_eq!(Authority::open(folder.path()).unwrap().peer(), first.peer());
        assert!(!format!("{first:?}").contains("PRIVATE"));
    }
}
