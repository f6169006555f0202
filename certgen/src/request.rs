//! Node-made keys: the customer's server makes the key and asks for a certificate; the
//! key itself never leaves it.

use std::path::{Path, PathBuf};

use engine::id::PeerId;

use crate::certificate::{CertificateError, request_pem};
use crate::files::{Batch, Existing, FileError};
use crate::key::{PrivateKey, Secret};
use crate::subject::Subject;

/// A new key and the request for its certificate.
#[derive(Debug)]
pub struct Request {
    /// For whom.
    pub subject: Subject,
    /// The pin that the certificate will have.
    pub peer: PeerId,
    /// The signing request (PKCS#10) in PEM, to be sent to the intermediary.
    pub request_pem: String,
    /// The private key in PEM (PKCS#8), to be kept.
    pub key_pem: Secret,
}

impl Request {
    /// Makes a key for `subject` and a request signed by it.
    ///
    /// # Errors
    /// [`CertificateError`] when no key could be made.
    pub fn new(subject: Subject) -> Result<Self, CertificateError> {
        let key = PrivateKey::generate()?;
        let request_pem = request_pem(&subject, &key)?;
        Ok(Self { subject, peer: key.peer(), request_pem, key_pem: key.to_pem() })
    }

    /// Writes `<stem>.key` (0600) and `<stem>.csr` into `folder`. Returns what was written.
    ///
    /// # Errors
    /// [`FileError`]; nothing was written then.
    pub fn write(&self, folder: &Path, existing: Existing) -> Result<Vec<PathBuf>, FileError> {
        let stem = self.subject.stem();
        let mut batch = Batch::into_folder(folder)?;
        batch.secret(&format!("{stem}.key"), self.key_pem.expose(), existing)?;
        // A request is made anew with each key and holds no secret.
        batch.public(&format!("{stem}.csr"), self.request_pem.as_bytes(), existing)?;
        batch.commit()
    }
}
