//! The command line: what can be asked, and the exit codes. Parses, never acts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Shown at the end of `--help`; kept the same in every version.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  inspect: the words or the key asked about do not match
  2  wrong usage of the command line
  3  bad input: a VAT number, name, certificate, request, key or password
  4  a file or folder could not be read or written, or the system has no random bytes
  5  refused: a file exists, a pin is revoked or unknown, another authority or holder

Files of an identity: NAME.cert (PEM), NAME.key and NAME.p12 and NAME.p12.password (readable
by their owner only). NAME is the VAT number or the portal's name. After a renewal in the
same folder the old ones are NAME.<start of the old serial>.cert and so on.";

/// Issues, reads, renews and revokes the identities of Staffetta's nodes and portals.
#[derive(Debug, Parser)]
#[command(name = "staffetta-certgen", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Write one JSON object instead of text (errors too, on standard error)
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make key, certificate and .p12 for the node of a VAT number
    Issue {
        /// The VAT number, 11 digits
        partitaiva: String,
        #[command(flatten)]
        signing: Signing,
        #[command(flatten)]
        out: Out,
        #[command(flatten)]
        p12: P12Options,
    },
    /// Make key, certificate and .p12 for a portal server
    IssuePortal {
        /// The portal's name, such as portal-a
        name: String,
        /// A host name or IP address it is reached by (repeat for more)
        #[arg(long = "host", required = true)]
        hosts: Vec<String>,
        #[command(flatten)]
        signing: Signing,
        #[command(flatten)]
        out: Out,
        #[command(flatten)]
        p12: P12Options,
    },
    /// On the customer's server: make a key that stays there, and a signing request
    Request {
        /// The VAT number, 11 digits
        partitaiva: String,
        #[command(flatten)]
        out: Out,
    },
    /// On a portal server: make a key that stays there, and a signing request
    RequestPortal {
        /// The portal's name, such as portal-a
        name: String,
        /// A host name or IP address it is reached by (repeat for more)
        #[arg(long = "host", required = true)]
        hosts: Vec<String>,
        #[command(flatten)]
        out: Out,
    },
    /// On the intermediary's side: make the certificate a signing request asks for
    Sign {
        /// The .csr file
        request: PathBuf,
        /// The certificate that this one follows (old and new pin stay valid together)
        #[arg(long, value_name = "CERT")]
        renews: Option<PathBuf>,
        /// The words that the customer read out; refuse when they do not match
        #[arg(long)]
        words: Option<String>,
        /// Sign for a portal; without it only nodes are signed for
        #[arg(long)]
        portal: bool,
        #[command(flatten)]
        signing: Signing,
        #[command(flatten)]
        out: Out,
    },
    /// Put a certificate and its key into a .p12 for Windows and Firefox
    P12 {
        /// The .cert file
        cert: PathBuf,
        /// Its .key file
        #[arg(long)]
        key: PathBuf,
        /// The authority's ca.cert, to be included
        #[arg(long, value_name = "FILE")]
        ca_cert: Option<PathBuf>,
        #[command(flatten)]
        out: Out,
        #[command(flatten)]
        p12: P12Options,
    },
    /// Make a new certificate to follow one: old and new pin stay valid together
    Renew {
        /// The .cert file
        cert: PathBuf,
        /// Keep key and pin, change the dates only (the key is not needed)
        #[arg(long)]
        same_key: bool,
        #[command(flatten)]
        signing: Signing,
        #[command(flatten)]
        out: Out,
        #[command(flatten)]
        p12: P12Options,
    },
    /// Revoke a pin: portals that read revoked.txt stop admitting it
    Revoke {
        /// A .cert file, or a pin in hexadecimal
        target: String,
        /// Why, for the ledger
        #[arg(long, default_value = "not stated")]
        reason: String,
        /// Revoke a pin that this authority never issued
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        ca: Ca,
    },
    /// Tell whose a certificate or request is, until when, and its pin
    Inspect {
        /// A .cert or .csr file
        file: PathBuf,
        /// Words to compare with its pin: exit code 1 when they differ
        #[arg(long)]
        words: Option<String>,
        /// A .key file to compare with: exit code 1 when it is another's
        #[arg(long)]
        key: Option<PathBuf>,
        /// Tell how it stands in the ledger of the authority in this folder
        #[arg(long, value_name = "DIR")]
        ca: Option<PathBuf>,
    },
    /// List all certificates of an authority and how they stand
    List {
        #[command(flatten)]
        ca: Ca,
    },
    /// Make a new authority (issue and sign make one by themselves on first use)
    InitCa {
        /// Its folder
        #[arg(long, value_name = "DIR", default_value = "staffetta-ca")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Ca {
    /// The folder of the authority
    #[arg(long, value_name = "DIR", default_value = "staffetta-ca")]
    pub(crate) ca: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Signing {
    #[command(flatten)]
    pub(crate) ca: Ca,
    /// Days of validity, the first of which lies before today
    #[arg(long, default_value_t = certgen::DAYS_DEFAULT)]
    pub(crate) days: u16,
}

#[derive(Debug, Args)]
pub(crate) struct Out {
    /// The folder to write into
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Replace files that are already there, keys too
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct P12Options {
    /// Take the password of the .p12 from this file instead of generating one
    #[arg(long, value_name = "FILE")]
    pub(crate) p12_password_file: Option<PathBuf>,
    /// Protect the .p12 with 3DES and SHA-1, for Windows before 10 (1709) or Server 2019
    #[arg(long)]
    pub(crate) p12_legacy: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_documents_its_exit_codes() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        for code in 0..=5 {
            assert!(help.contains(&format!("\n  {code}  ")), "exit code {code} is not in --help");
        }
    }
}
