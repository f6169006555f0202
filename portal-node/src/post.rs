//! Letters to a customer's PEC: the one-time code, an invitation.
//!
//! Without a mail server each letter is a file in the spool folder, for whoever sends it on;
//! only this service may read it, since it holds a secret.

use std::{path::PathBuf, sync::Arc};

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::authentication::Credentials,
};
use node::private;

use crate::{
    config::{DoorConfig, SmtpConfig},
    door::sessions::secret,
    office::now_ms,
};

/// Sends letters.
pub struct Post {
    from: String,
    way: Way,
}

enum Way {
    Spool(PathBuf),
    Smtp(Arc<AsyncSmtpTransport<Tokio1Executor>>),
}

/// A letter cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// An address.
    #[error("{0:?} is no address to send a letter to")]
    Address(String),
    /// The spool folder, or the file with the password.
    #[error("cannot use {path}: {error}")]
    File {
        /// The file or folder.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The mail server.
    #[error("the mail server does not take the letter: {0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// It cannot be written down.
    #[error("the letter cannot be written: {0}")]
    Letter(#[from] lettre::error::Error),
}

impl Post {
    /// Sends as `door` says.
    ///
    /// # Errors
    /// [`PostError`]
    pub fn new(door: &DoorConfig) -> Result<Self, PostError> {
        let from = door.pec.clone();
        mailbox(&from)?;
        let way = match &door.smtp {
            Some(smtp) => Way::Smtp(Arc::new(transport(smtp)?)),
            None => {
                private::folder(&door.spool).map_err(|error| PostError::File {
                    path: door.spool.display().to_string(),
                    error,
                })?;
                Way::Spool(door.spool.clone())
            }
        };
        Ok(Self { from, way })
    }

    /// Sends a letter; it is on its way, or in the spool, once this returns.
    ///
    /// # Errors
    /// [`PostError`]
    pub async fn send(&self, to: &str, subject: &str, text: &str) -> Result<(), PostError> {
        let letter = Message::builder()
            .from(mailbox(&self.from)?)
            .to(mailbox(to)?)
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text.to_owned())?;
        match &self.way {
            Way::Smtp(transport) => {
                transport.send(letter).await?;
            }
            Way::Spool(folder) => {
                let chance = secret().unwrap_or_default();
                let path = folder.join(format!("{}-{:.8}.eml", now_ms(), chance));
                let named = path.display().to_string();
                private::write(&path, &letter.formatted())
                    .map_err(|error| PostError::File { path: named, error })?;
            }
        }
        Ok(())
    }
}

fn mailbox(address: &str) -> Result<Mailbox, PostError> {
    address.parse().map_err(|_| PostError::Address(address.to_owned()))
}

fn transport(smtp: &SmtpConfig) -> Result<AsyncSmtpTransport<Tokio1Executor>, PostError> {
    let path = smtp.password_file.display().to_string();
    let password = std::fs::read_to_string(&smtp.password_file)
        .map_err(|error| PostError::File { path, error })?;
    let credentials = Credentials::new(smtp.user.clone(), password.trim_end().to_owned());
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::relay(&smtp.host)?;
    if let Some(port) = smtp.port {
        builder = builder.port(port);
    }
    Ok(builder.credentials(credentials).build())
}
