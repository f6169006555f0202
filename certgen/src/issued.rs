//! What issuing yields, and the files it is written to.
//!
//! A set of files has one stem: `<stem>.key`, `.p12`, `.p12.password` (0600) and `.cert`,
//! which is moved into place last, so that a set with a certificate is complete.

use std::path::{Path, PathBuf};

use engine::id::PeerId;

use crate::files::{self, Batch, Existing, FileError};
use crate::inspect::{INPUT_BYTES_MAX, inspect};
use crate::key::{PrivateKey, Secret};
use crate::moment::Validity;
use crate::p12::{self, P12Error, Password, Strength};
use crate::subject::Subject;

/// A certificate that an authority signed.
#[derive(Clone, Debug)]
pub struct Certified {
    /// Whose it is.
    pub subject: Subject,
    /// Its pin.
    pub peer: PeerId,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// From when until when.
    pub validity: Validity,
    /// The certificate alone, in PEM. Its issuer is a root, which no TLS peer sends.
    pub cert_pem: String,
    /// The authority's certificate in PEM.
    pub authority_pem: String,
}

/// A certificate together with the private key that was made for it.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certified: Certified,
    /// The private key in PEM (PKCS#8).
    pub key_pem: Secret,
    key: PrivateKey,
}

impl Certified {
    /// Writes `<stem>.cert` into `folder`. Returns what was written.
    ///
    /// # Errors
    /// [`FileError`]; nothing was written then.
    pub fn write(&self, folder: &Path, existing: Existing) -> Result<Vec<PathBuf>, FileError> {
        let mut batch = Batch::into_folder(folder)?;
        self.add_to(&mut batch, existing)?;
        batch.commit()
    }

    /// Plans `<stem>.cert`.
    ///
    /// # Errors
    /// As for [`Batch::public`].
    pub fn add_to(&self, batch: &mut Batch, existing: Existing) -> Result<(), FileError> {
        let name = format!("{}.cert", self.subject.stem());
        batch.public(&name, self.cert_pem.as_bytes(), existing)
    }
}

impl Issued {
    pub(crate) fn new(certified: Certified, key: PrivateKey) -> Self {
        let key_pem = key.to_pem();
        Self { certified, key_pem, key }
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.certified.cert_pem
    }

    /// The pin.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.certified.peer
    }

    /// Key, certificate and authority as a PKCS#12 file.
    ///
    /// # Errors
    /// [`P12Error::Encode`], a fault of ours.
    pub fn p12(&self, password: &Password, strength: Strength) -> Result<Secret, P12Error> {
        let Certified { subject, cert_pem, authority_pem, .. } = &self.certified;
        let (cert, authority) = (cert_pem.as_bytes(), authority_pem.as_bytes());
        p12::pack(&subject.stem(), &self.key, cert, Some(authority), password, strength)
    }

    /// Writes `<stem>.key` and `<stem>.cert` into `folder`. Returns what was written.
    ///
    /// # Errors
    /// [`FileError`]; nothing was written then.
    pub fn write(&self, folder: &Path, existing: Existing) -> Result<Vec<PathBuf>, FileError> {
        let mut batch = Batch::into_folder(folder)?;
        self.add_to(&mut batch, existing)?;
        batch.commit()
    }

    /// Plans `<stem>.key` and `<stem>.cert`.
    ///
    /// # Errors
    /// As for [`Batch::secret`].
    pub fn add_to(&self, batch: &mut Batch, existing: Existing) -> Result<(), FileError> {
        let name = format!("{}.key", self.certified.subject.stem());
        batch.secret(&name, self.key_pem.expose(), existing)?;
        self.certified.add_to(batch, existing)
    }
}

/// Plans a copy of each file of the set `stem` in `folder` under
/// `<stem>.<start of the old serial>.*`, so that a renewal loses nothing. A copy already
/// made by a run that was cut short is kept. Returns what the new set may then do: take
/// the old one's place, or, in a folder without the set, stand where nothing stood.
///
/// # Errors
/// [`FileError::Exists`] when `<stem>.cert` is there and is not `old`.
pub fn set_aside(
    batch: &mut Batch,
    folder: &Path,
    stem: &str,
    old: &[u8],
    with_key: bool,
) -> Result<Existing, FileError> {
    let cert_path = folder.join(format!("{stem}.cert"));
    if cert_path.symlink_metadata().is_err() {
        return Ok(Existing::Refuse);
    }
    let found = inspect(&files::read(&cert_path, INPUT_BYTES_MAX)?).ok();
    let Some((found, old)) = found.zip(inspect(old).ok()) else {
        return Err(FileError::Exists(cert_path));
    };
    if found.der() != old.der() {
        return Err(FileError::Exists(cert_path));
    }
    let serial: String = old.serial.unwrap_or_default().chars().take(8).collect();
    let suffixes: &[&str] =
        if with_key { &["p12.password", "p12", "key", "cert"] } else { &["cert"] };
    for suffix in suffixes {
        let from = folder.join(format!("{stem}.{suffix}"));
        if from.symlink_metadata().is_err() {
            continue;
        }
        let bytes = Secret::new(files::read(&from, INPUT_BYTES_MAX)?);
        let name = format!("{stem}.{serial}.{suffix}");
        let kept = files::read(&folder.join(&name), INPUT_BYTES_MAX).ok().map(Secret::new);
        if kept.as_ref() == Some(&bytes) {
            continue;
        }
        match *suffix {
            "cert" => batch.public(&name, bytes.expose(), Existing::Refuse)?,
            _ => batch.secret(&name, bytes.expose(), Existing::Refuse)?,
        }
    }
    Ok(Existing::Replace)
}
