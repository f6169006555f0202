//! Something that was done at a portal's door: when, by whom, with which certificate. Add only.
//!
//! One key per step, made from what it says, so that no step takes another's place.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{DocumentError, Edit, Fields, Scalar};
use crate::id::PeerId;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Act {
    /// The customer was invited.
    Invited,
    /// The data of the profile were confirmed.
    DataConfirmed,
    /// The terms were accepted.
    TermsAccepted,
    /// The contract was drawn up.
    Drawn,
    /// A code was sent to the PEC.
    CodeSent,
    /// A wrong code was given.
    CodeRefused,
    /// A signed file was refused.
    FileRefused,
    /// Signed by a file.
    SignedByFile,
    /// Signed by the code.
    SignedByCode,
    /// The administrator admitted the customer.
    Admitted,
    /// The administrator suspended the customer.
    Suspended,
    /// The suspension ended.
    Resumed,
    /// A certificate may enter and, once enabled, replicate.
    CertificateBound,
    /// A certificate ended.
    CertificateRevoked,
    /// The customer's node may replicate.
    Enabled,
    /// It no longer may.
    Disabled,
    /// The customer became one of the pilot group, or was no longer.
    PilotChanged,
    /// A user was invited, changed, or ended.
    UserChanged,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Step {
    /// When, milliseconds since 1970, by the clock of the portal where it was done.
    pub at_ms: u64,
    /// What.
    pub act: Act,
    /// Which user.
    pub user: String,
    /// With which certificate; the portal's own for what it did by itself.
    pub peer: PeerId,
    /// Anything more, in words.
    pub note: String,
}

/// How a step stands in a document. A later version adds a variant.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1(Step),
}

/// Keys of steps begin so.
pub(crate) const STEP: &str = "step/";

impl Step {
    /// The field it becomes.
    pub(crate) fn edit(&self) -> Result<Edit<'static>, DocumentError> {
        let value = postcard::to_stdvec(&Stored::V1(self.clone()))
            .map_err(|_| DocumentError::Field("step"))?;
        let digest = Sha256::digest(&value);
        let digest: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Edit { key: format!("{STEP}{digest}").into(), value: Scalar::Bytes(value.into()) })
    }
}

/// Every step that can be read, by time.
pub(crate) fn steps(fields: &Fields<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (_, versions) in fields.iter().filter(|(key, _)| key.starts_with(STEP)) {
        for version in versions {
            let Scalar::Bytes(bytes) = &version.value else { continue };
            if let Ok((Stored::V1(step), [])) = postcard::take_from_bytes(bytes) {
                steps.push(step);
            }
        }
    }
    steps.sort_unstable();
    steps.dedup();
    steps
}
