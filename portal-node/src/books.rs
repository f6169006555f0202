//! The only writer of papers: profiles, contracts, accounts, customers.
//!
//! An edit reads what stands in the truth, decides upon it and says it, and no other edit of
//! this portal comes in between; what the other portal says meanwhile merges. Nothing is read
//! from the mirror here.

use std::sync::Arc;

use engine::{
    archive::{self, ReadError},
    bundle::Item,
    document::{
        DocumentError,
        account::{self, AccountEdit},
        contract::{self, ContractEdit},
        customer::{self, CustomerEdit},
        profile::{self, ProfileField},
    },
    effect::AppendError,
    id::{BlobHash, DocumentId, Kind, LogId, OFFICE, VatNumber},
    record::{AccountRecord, ContractRecord, CustomerRecord, ProfileRecord, Record},
    store::Store,
};
use node::host::HostHandle;
use tokio::sync::Mutex;

/// The books. See the module's header.
pub struct Books {
    store: Arc<dyn Store>,
    host: HostHandle,
    writing: Mutex<()>,
}

/// Why an edit was not made, or a paper not read.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The truth cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A document cannot be read or written.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It cannot be stored.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// What was decided upon is not so any more.
    #[error("somebody else changed it first: look again")]
    Moved,
}

impl Books {
    /// The books of `host`, which keeps its truth in `store`.
    #[must_use]
    pub fn new(host: HostHandle, store: Arc<dyn Store>) -> Self {
        Self { store, host, writing: Mutex::default() }
    }

    /// A tenant's profile, empty when none is written.
    ///
    /// # Errors
    /// [`BookError`]
    pub fn profile(&self, tenant: VatNumber) -> Result<ProfileRecord, BookError> {
        match self.record(tenant, DocumentId::single(Kind::Profile))? {
            Some(Record::Profile(record)) => Ok(record),
            found => unreadable(found),
        }
    }

    /// A tenant's contract, empty when none is written.
    ///
    /// # Errors
    /// [`BookError`]
    pub fn contract(&self, tenant: VatNumber) -> Result<ContractRecord, BookError> {
        match self.record(tenant, DocumentId::single(Kind::Contract))? {
            Some(Record::Contract(record)) => Ok(record),
            found => unreadable(found),
        }
    }

    /// A file that came with a tenant's contract.
    ///
    /// # Errors
    /// [`BookError`]
    pub fn contract_file(
        &self,
        tenant: VatNumber,
        hash: &BlobHash,
    ) -> Result<Option<Vec<u8>>, BookError> {
        let document = DocumentId::single(Kind::Contract);
        Ok(archive::blob(&*self.store, tenant, &document, hash)?)
    }

    /// Edits a profile.
    ///
    /// # Errors
    /// [`BookError`]
    pub async fn edit_profile(
        &self,
        tenant: VatNumber,
        edits: &[(ProfileField, &str)],
    ) -> Result<(), BookError> {
        let document = DocumentId::single(Kind::Profile);
        self.write(tenant, document, vec![], |log, existing, _| {
            Ok(profile::edit(log, existing, edits)?)
        })
        .await
    }

    /// Edits a contract once `decide` has seen how it stands and says with what.
    ///
    /// # Errors
    /// [`BookError`], or what `decide` says.
    pub async fn edit_contract(
        &self,
        tenant: VatNumber,
        files: Vec<Vec<u8>>,
        decide: impl FnOnce(ContractRecord) -> Result<Vec<ContractEdit>, BookError>,
    ) -> Result<(), BookError> {
        let document = DocumentId::single(Kind::Contract);
        self.write(tenant, document, files, |log, existing, record| {
            let record = match record {
                Some(Record::Contract(record)) => record,
                found => unreadable(found)?,
            };
            Ok(contract::edit(log, existing, &decide(record)?)?)
        })
        .await
    }

    /// Edits a customer once `decide` has seen how it stands and says with what.
    ///
    /// # Errors
    /// [`BookError`], or what `decide` says.
    pub async fn edit_customer(
        &self,
        tenant: VatNumber,
        decide: impl FnOnce(CustomerRecord) -> Result<Vec<CustomerEdit>, BookError>,
    ) -> Result<(), BookError> {
        let document = DocumentId::named(Kind::Customer, &tenant.to_string());
        self.write(OFFICE, document, vec![], |log, existing, record| {
            let record = match record {
                Some(Record::Customer(record)) => record,
                found => unreadable(found)?,
            };
            let mut edits = decide(record)?;
            edits.push(CustomerEdit::Vat(tenant));
            Ok(customer::edit(log, existing, &edits)?)
        })
        .await
    }

    /// Edits an account once `decide` has seen how it stands and says with what.
    ///
    /// # Errors
    /// [`BookError`], or what `decide` says.
    pub async fn edit_account(
        &self,
        user: &str,
        decide: impl FnOnce(AccountRecord) -> Result<Vec<AccountEdit>, BookError>,
    ) -> Result<(), BookError> {
        let document = DocumentId::named(Kind::Account, user);
        self.write(OFFICE, document, vec![], |log, existing, record| {
            let record = match record {
                Some(Record::Account(record)) => record,
                found => unreadable(found)?,
            };
            let mut edits = decide(record)?;
            edits.push(AccountEdit::User(user.to_owned()));
            Ok(account::edit(log, existing, &edits)?)
        })
        .await
    }

    fn record(&self, tenant: VatNumber, document: DocumentId) -> Result<Option<Record>, BookError> {
        let changes = archive::changes(&*self.store, tenant, &document)?;
        Ok((!changes.is_empty()).then(|| Record::derive(document, &changes)))
    }

    async fn write(
        &self,
        tenant: VatNumber,
        document: DocumentId,
        files: Vec<Vec<u8>>,
        author: impl FnOnce(LogId, &[&[u8]], Option<Record>) -> Result<Option<Vec<u8>>, BookError>,
    ) -> Result<(), BookError> {
        let _one_at_a_time = self.writing.lock().await;
        let changes = archive::changes(&*self.store, tenant, &document)?;
        let existing: Vec<&[u8]> = changes.iter().map(Vec::as_slice).collect();
        let record = (!changes.is_empty()).then(|| Record::derive(document, &changes));
        let Some(change) = author(self.host.log(), &existing, record)? else { return Ok(()) };
        self.host.append(tenant, vec![Item::Change { document, change }], files).await?;
        Ok(())
    }
}

/// The empty record where there is no document, an error where there is one that is no use.
fn unreadable<T: Default>(found: Option<Record>) -> Result<T, BookError> {
    match found {
        None => Ok(T::default()),
        Some(Record::Unreadable(why)) => {
            Err(DocumentError::Unreadable { reason: why.reason }.into())
        }
        Some(_) => Err(DocumentError::Field("kind").into()),
    }
}
