//! What a client can read: every table, column and type, once. The shelf's schema, the catalogue,
//! the translator and the reference in `docs/erp/sql.md` (a test compares it) all follow from it.
//!
//! Names and types here are a promise: columns are added at the end, never renamed or retyped.

use crate::ty::Ty;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub ty: Ty,
    /// Whether it may be null.
    pub nullable: bool,
    /// What it is.
    pub about: &'static str,
    /// How it is worked out when asked for, where it is not stored: SQL over the stored ones.
    pub worked_out: Option<&'static str>,
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its primary key.
    pub key: &'static [&'static str],
    /// What a row is.
    pub about: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    /// Indexes besides the key's.
    pub indexes: &'static [&'static str],
    /// True when its one row is worked out when asked for and nothing is stored.
    pub live: bool,
}

impl Table {
    /// The table of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLES.iter().find(|table| table.name == name)
    }

    /// The columns that are stored, in order.
    pub fn stored(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.worked_out.is_none())
    }
}

const fn must(name: &'static str, ty: Ty, about: &'static str) -> Column {
    Column { name, ty, nullable: false, about, worked_out: None }
}

const fn may(name: &'static str, ty: Ty, about: &'static str) -> Column {
    Column { name, ty, nullable: true, about, worked_out: None }
}

const fn made(name: &'static str, ty: Ty, about: &'static str, sql: &'static str) -> Column {
    Column { name, ty, nullable: true, about, worked_out: Some(sql) }
}

const ID: Column = must("invoice_id", Ty::Text, "`invoices.id`");
const POSITION: Column = must("position", Ty::Int4, "1, 2, 3.. in the order of the file");

/// The table that others point at.
pub const INVOICES: Table = Table {
    name: "invoices",
    key: &["id"],
    about: "One invoice: one body of one file. A file with several (lotto) gives several rows.",
    columns: &[
        must(
            "id",
            Ty::Text,
            "the document's id; `-2`, `-3`.. after it for further bodies of one file",
        ),
        must("document", Ty::Text, "the document's id, 32 hexadecimal digits, as over HTTP"),
        must("body", Ty::Int4, "which body of the file, from 1"),
        must("direction", Ty::Text, "`sent` or `received`"),
        must("number", Ty::Text, "Numero"),
        may("date", Ty::Date, "Data"),
        must("document_type", Ty::Text, "TipoDocumento, `TD01`"),
        must("format", Ty::Text, "`FPR12`, `FPA12`, `FSM10`"),
        may("supplier_vat", Ty::Text, "cedente: country and VAT number, `IT02038490237`"),
        may("supplier_tax_code", Ty::Text, "cedente: codice fiscale"),
        must("supplier_name", Ty::Text, "cedente: name"),
        may("buyer_vat", Ty::Text, "cessionario: country and VAT number"),
        may("buyer_tax_code", Ty::Text, "cessionario: codice fiscale"),
        must("buyer_name", Ty::Text, "cessionario: name"),
        may("recipient_code", Ty::Text, "CodiceDestinatario"),
        may("currency", Ty::Text, "Divisa, `EUR`"),
        may("total", Ty::Numeric, "ImportoTotaleDocumento, or what the rows add up to"),
        may("taxable", Ty::Numeric, "sum of the taxable amounts"),
        may("tax", Ty::Numeric, "sum of the taxes"),
        must(
            "state",
            Ty::Text,
            "where it stands with the SdI: `queued`, `received`, `sent`, `not_delivered`, `delivered`, `attested`, `expired`, `accepted`, `refused`, `rejected`",
        ),
        may("sdi_id", Ty::Text, "IdentificativoSdI"),
        must("alarm", Ty::Bool, "the SdI's messages contradict each other: look"),
        may("received_at", Ty::Timestamptz, "when the channel received it (received ones)"),
        may("registered_at", Ty::Timestamptz, "when the ERP entered it into the books"),
        may("paid_at", Ty::Timestamptz, "when the ERP marked it as paid"),
        may("notes", Ty::Text, "the ERP's notes"),
        must("file_name", Ty::Text, "name of the original file"),
        must("sha256", Ty::Text, "SHA-256 of the original file"),
        must("bytes", Ty::Int8, "length of the original file"),
        may("problem", Ty::Text, "why the lines of this file cannot be read, if so"),
    ],
    indexes: &[
        "CREATE INDEX invoices_number ON invoices (number)",
        // Sums of a month, and what is joined with a month, read this and not the rows.
        "CREATE INDEX invoices_date ON invoices (date, id, direction, taxable, tax, total)",
        "CREATE INDEX invoices_document ON invoices (document)",
        // Joins of all rows of another table with these read this and not the rows.
        "CREATE INDEX invoices_id_date ON invoices (id, date, direction)",
    ],
    live: false,
};

/// Every table.
pub const TABLES: &[Table] = &[
    INVOICES,
    Table {
        name: "invoice_lines",
        key: &["invoice_id", "position"],
        about: "One line of an invoice (DettaglioLinee).",
        columns: &[
            ID,
            POSITION,
            must("line_number", Ty::Text, "NumeroLinea as written"),
            must("description", Ty::Text, "Descrizione"),
            may("quantity", Ty::Numeric, "Quantita"),
            may("unit", Ty::Text, "UnitaMisura"),
            may("unit_price", Ty::Numeric, "PrezzoUnitario"),
            must(
                "total",
                Ty::Numeric,
                "PrezzoTotale; of a simplified invoice Importo, tax included",
            ),
            may("vat_rate", Ty::Numeric, "AliquotaIVA, percent"),
            may("nature", Ty::Text, "Natura, `N2.1`"),
            may("article_type", Ty::Text, "CodiceTipo of the first article"),
            may("article_code", Ty::Text, "CodiceValore of the first article"),
            may("period_from", Ty::Date, "DataInizioPeriodo"),
            may("period_to", Ty::Date, "DataFinePeriodo"),
        ],
        indexes: &[],
        live: false,
    },
    Table {
        name: "vat_summary",
        key: &["invoice_id", "position"],
        about: "One row of an invoice's VAT summary (DatiRiepilogo).",
        columns: &[
            ID,
            POSITION,
            must("vat_rate", Ty::Numeric, "AliquotaIVA, percent"),
            may("nature", Ty::Text, "Natura"),
            must("taxable", Ty::Numeric, "ImponibileImporto"),
            must("tax", Ty::Numeric, "Imposta"),
            may(
                "chargeability",
                Ty::Text,
                "EsigibilitaIVA: `I` at once, `D` deferred, `S` split payment",
            ),
            may("law", Ty::Text, "RiferimentoNormativo"),
        ],
        indexes: &[],
        live: false,
    },
    Table {
        name: "payments",
        key: &["invoice_id", "position"],
        about: "One due date of an invoice (DettaglioPagamento).",
        columns: &[
            ID,
            POSITION,
            must("conditions", Ty::Text, "CondizioniPagamento, `TP02`"),
            must("method", Ty::Text, "ModalitaPagamento, `MP05`"),
            may("due_date", Ty::Date, "DataScadenzaPagamento"),
            must("amount", Ty::Numeric, "ImportoPagamento"),
            may("beneficiary", Ty::Text, "Beneficiario"),
            may("bank", Ty::Text, "IstitutoFinanziario"),
            may("iban", Ty::Text, "IBAN"),
            may("bic", Ty::Text, "BIC"),
            may("payment_code", Ty::Text, "CodicePagamento"),
        ],
        indexes: &["CREATE INDEX payments_due ON payments (due_date)"],
        live: false,
    },
    Table {
        name: "attachments",
        key: &["invoice_id", "position"],
        about: "One attachment inside an invoice (Allegati).",
        columns: &[
            ID,
            POSITION,
            must("name", Ty::Text, "NomeAttachment: text, never a path"),
            may("format", Ty::Text, "FormatoAttachment"),
            may("compression", Ty::Text, "AlgoritmoCompressione"),
            may("description", Ty::Text, "DescrizioneAttachment"),
            must("bytes", Ty::Int8, "its length once decoded"),
            made(
                "content",
                Ty::Bytea,
                "the attachment, read from the original when asked for",
                "attachment((SELECT original(x.\"document\", x.\"sha256\") FROM \"invoices\" x WHERE x.\"id\" = {t}.\"invoice_id\"), (SELECT x.\"body\" FROM \"invoices\" x WHERE x.\"id\" = {t}.\"invoice_id\"), {t}.\"position\")",
            ),
        ],
        indexes: &[],
        live: false,
    },
    Table {
        name: "outcomes",
        key: &["invoice_id", "position"],
        about: "One message of the SdI about a file; `invoice_id` is its first invoice.",
        columns: &[
            ID,
            must("position", Ty::Int4, "1, 2, 3.. in the order of arrival"),
            must(
                "receipt",
                Ty::Text,
                "`Sent`, `RC`, `NS`, `MC`, `NE`, `AT`, `DT`, `SE`, `EC`, `MT`",
            ),
            must("at", Ty::Timestamptz, "when it came, by the portal's clock"),
            may("sdi_id", Ty::Text, "IdentificativoSdI"),
            may("codes", Ty::Text, "codes in it, separated by spaces: `00404`, `EC02`"),
            may("note", Ty::Text, "what it says in words"),
            may("file_name", Ty::Text, "name of the message's file"),
            may("sha256", Ty::Text, "SHA-256 of the message's file"),
            made(
                "content",
                Ty::Bytea,
                "the message's file, read when asked for",
                "original({t}.\"invoice_id\", {t}.\"sha256\")",
            ),
        ],
        indexes: &[],
        live: false,
    },
    Table {
        name: "originals",
        key: &["document"],
        about: "One original file, byte for byte.",
        columns: &[
            must("document", Ty::Text, "`invoices.document`"),
            must("file_name", Ty::Text, "the name it came with"),
            must("sha256", Ty::Text, "its SHA-256"),
            must("bytes", Ty::Int8, "its length"),
            made(
                "content",
                Ty::Bytea,
                "the file, read and compared with its hash when asked for",
                "original({t}.\"document\", {t}.\"sha256\")",
            ),
        ],
        indexes: &[],
        live: false,
    },
    Table {
        name: "profile",
        key: &["vat"],
        about: "The tenant: one row.",
        columns: &[
            must("vat", Ty::Text, "partita IVA, 11 digits"),
            may("name", Ty::Text, "Denominazione"),
            may("tax_code", Ty::Text, "codice fiscale"),
            may("recipient_code", Ty::Text, "codice destinatario"),
            may("pec", Ty::Text, "certified e-mail address"),
            may("email", Ty::Text, "e-mail address"),
            may("phone", Ty::Text, "telephone"),
            may("street", Ty::Text, "street and number"),
            may("postal_code", Ty::Text, "CAP"),
            may("city", Ty::Text, "Comune"),
            may("province", Ty::Text, "two letters"),
            may("country", Ty::Text, "two letters"),
            may("tax_regime", Ty::Text, "RegimeFiscale, `RF01`"),
        ],
        indexes: &[],
        live: false,
    },
    Table {
        name: "contracts",
        key: &["vat"],
        about: "The contract of intermediation: one row.",
        columns: &[
            must("vat", Ty::Text, "partita IVA"),
            may("signed_at", Ty::Timestamptz, "when it was signed"),
            may("signatory", Ty::Text, "who signed"),
            may(
                "enabled_at",
                Ty::Timestamptz,
                "since when the tenant is enabled; null while it is not",
            ),
            may("terms_version", Ty::Text, "the newest terms accepted"),
            may("terms_accepted_at", Ty::Timestamptz, "when"),
            may("sha256", Ty::Text, "SHA-256 of the signed contract"),
            made(
                "content",
                Ty::Bytea,
                "the signed contract, read when asked for",
                "original('contract', {t}.\"sha256\")",
            ),
        ],
        indexes: &[],
        live: false,
    },
    Table {
        name: "sync_status",
        key: &["vat"],
        about: "How fresh all this is: one row, worked out at every query.",
        columns: &[
            must("vat", Ty::Text, "partita IVA"),
            may(
                "as_of",
                Ty::Timestamptz,
                "everything a portal held at this moment is here; null before the first time",
            ),
            must("connected", Ty::Bool, "whether a portal is connected now"),
            must("pending", Ty::Int8, "bundles written here that no portal holds yet"),
            must(
                "behind",
                Ty::Int8,
                "changes stored on this node that these tables do not show yet",
            ),
            must("documents", Ty::Int8, "documents in these tables"),
        ],
        indexes: &[],
        live: true,
    },
];

/// What SQLite's planner is told of a ledger of years, by table and index: its rows, those that
/// share an index's first column, its first two, and so on. Of a join it then goes through the
/// side with fewer rows, by the index that spares it the rows themselves. It is said once and not
/// measured, so that plans never change; with few rows any will do.
pub const STATISTICS: &[(&str, &str, &str)] = &[
    ("invoices", "sqlite_autoindex_invoices_1", "100000 1"),
    ("invoices", "invoices_id_date", "100000 1 1 1"),
    ("invoices", "invoices_date", "100000 300 1 1 1 1 1"),
    ("invoices", "invoices_number", "100000 4"),
    ("invoices", "invoices_document", "100000 1"),
    ("invoice_lines", "invoice_lines", "800000 8 1"),
    ("vat_summary", "vat_summary", "200000 2 1"),
    ("payments", "payments", "120000 2 1"),
    ("payments", "payments_due", "120000 200"),
    ("outcomes", "outcomes", "200000 2 1"),
    ("originals", "sqlite_autoindex_originals_1", "100000 1"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_names_every_table_and_column_with_its_type() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/erp/sql.md");
        let reference = std::fs::read_to_string(path).unwrap();
        let mut wanted = String::new();
        for table in TABLES {
            wanted += &format!(
                "### {}\n{} Key: `{}`.\n\n",
                table.name,
                table.about,
                table.key.join(", ")
            );
            wanted += "| column | type | is |\n| --- | --- | --- |\n";
            for column in table.columns {
                let null = if column.nullable { ", may be null" } else { "" };
                wanted += &format!(
                    "| `{}` | {}{null} | {} |\n",
                    column.name,
                    column.ty.sql_name(),
                    column.about
                );
            }
            wanted.push('\n');
        }
        if std::env::var_os("WRITE_REFERENCE").is_some() {
            let head = reference.split("<!-- tables -->").next().unwrap();
            std::fs::write(path, format!("{head}<!-- tables -->\n{wanted}")).unwrap();
            return;
        }
        assert!(
            reference.ends_with(&format!("<!-- tables -->\n{wanted}")),
            "WRITE_REFERENCE=1 cargo test -p sql --lib reference"
        );
    }

    #[test]
    fn every_key_is_made_of_columns() {
        for table in TABLES {
            for key in table.key {
                assert!(table.columns.iter().any(|column| column.name == *key), "{}", table.name);
            }
        }
    }
}
