//! Invoices as small companies exchange them: deterministic, valid FatturaPA, all different.
//!
//! Invoice `n` is always the same bytes: about 5.5 kB, 8 lines, some 40 kinds of fields; one of a few
//! hundred counterparts, with the big ones more often, as in a real ledger. What repeats in
//! practice (tags, addresses, banks) repeats here; numbers, dates, prices and codes do not.

use std::fmt::Write as _;

use engine::{
    bundle::Item,
    document::outcome::{self, OutcomeEntry, Receipt},
    id::{BlobHash, DocumentId, Kind, LogId, VatNumber},
};

/// Lines of an invoice.
pub const LINES: u64 = 8;
/// Counterparts of a tenant.
const COUNTERPARTS: u64 = 300;

const SURNAMES: [&str; 24] = [
    "Rossi", "Bianchi", "Ferrari", "Esposito", "Romano", "Colombo", "Ricci", "Marino", "Greco",
    "Bruno", "Gallo", "Conti", "De Luca", "Costa", "Giordano", "Mancini", "Rizzo", "Lombardi",
    "Moretti", "Barbieri", "Fontana", "Santoro", "Mariani", "Rinaldi",
];
const TRADES: [&str; 16] = [
    "Ferramenta",
    "Termoidraulica",
    "Grafica",
    "Trasporti",
    "Imballaggi",
    "Elettroforniture",
    "Carpenteria",
    "Logistica",
    "Alimentari",
    "Tessuti",
    "Informatica",
    "Meccanica",
    "Edilizia",
    "Cartotecnica",
    "Vernici",
    "Utensileria",
];
const FORMS: [&str; 5] = ["Srl", "S.p.A.", "Snc", "Sas", "S.r.l. unipersonale"];
const STREETS: [&str; 16] = [
    "Via Roma",
    "Via Garibaldi",
    "Corso Italia",
    "Via Mazzini",
    "Viale dell'Industria",
    "Via Verdi",
    "Piazza Cavour",
    "Via Dante Alighieri",
    "Via dell'Artigianato",
    "Via Marconi",
    "Via Matteotti",
    "Corso Vittorio Emanuele II",
    "Via Galileo Galilei",
    "Via Po",
    "Strada Provinciale",
    "Via Leonardo da Vinci",
];
const TOWNS: [(&str, &str, &str); 16] = [
    ("37100", "Verona", "VR"),
    ("20121", "Milano", "MI"),
    ("35121", "Padova", "PD"),
    ("40121", "Bologna", "BO"),
    ("25121", "Brescia", "BS"),
    ("10121", "Torino", "TO"),
    ("50121", "Firenze", "FI"),
    ("00184", "Roma", "RM"),
    ("80121", "Napoli", "NA"),
    ("36100", "Vicenza", "VI"),
    ("41121", "Modena", "MO"),
    ("24121", "Bergamo", "BG"),
    ("31100", "Treviso", "TV"),
    ("16121", "Genova", "GE"),
    ("70121", "Bari", "BA"),
    ("46100", "Mantova", "MN"),
];
const GOODS: [&str; 32] = [
    "Vite autoforante",
    "Tubo multistrato",
    "Raccordo a pressare",
    "Guaina termorestringente",
    "Scatola in cartone ondulato",
    "Nastro adesivo",
    "Cavo unipolare",
    "Interruttore magnetotermico",
    "Pannello in lamiera",
    "Profilato in alluminio",
    "Toner compatibile",
    "Risma carta A4",
    "Bancale EPAL",
    "Film estensibile",
    "Olio idraulico",
    "Filtro aria",
    "Cuscinetto a sfere",
    "Cinghia trapezoidale",
    "Smalto all'acqua",
    "Pennello piatto",
    "Guanto in nitrile",
    "Trasporto merci",
    "Manodopera specializzata",
    "Canone di assistenza",
    "Valvola a sfera",
    "Collettore complanare",
    "Staffa zincata",
    "Lampada LED",
    "Canalina portacavi",
    "Disco da taglio",
    "Punta per trapano",
    "Silicone neutro",
];
const QUALITIES: [&str; 16] = [
    "acciaio inox AISI 304",
    "ottone nichelato",
    "zincato a caldo",
    "PVC rigido",
    "bianco RAL 9010",
    "nero opaco",
    "tipo pesante",
    "alta resistenza",
    "confezione da 100",
    "classe A",
    "IP65",
    "a norma UNI EN",
    "serie professionale",
    "2a scelta",
    "come da preventivo",
    "uso esterno",
];
const CONTACTS: [&str; 6] =
    ["amministrazione", "contabilita", "info", "fatture", "ufficio.vendite", "segreteria"];
const BANKS: [(&str, &str); 8] = [
    ("Intesa Sanpaolo", "03069"),
    ("UniCredit", "02008"),
    ("Banco BPM", "05034"),
    ("BPER Banca", "05387"),
    ("Credit Agricole Italia", "06230"),
    ("Banca Sella", "03268"),
    ("Monte dei Paschi di Siena", "01030"),
    ("Credem", "03032"),
];

/// An invoice file.
#[derive(Clone, Debug)]
pub struct Invoice {
    /// Its name, as the SdI wants it.
    pub name: String,
    /// Its bytes.
    pub xml: Vec<u8>,
}

impl Invoice {
    /// Invoice `n` among those that `tenant` receives.
    #[must_use]
    pub fn received(tenant: VatNumber, n: u64) -> Self {
        let counterpart = Company::counterpart(n);
        Self::new(&counterpart, &Company::of(tenant), n)
    }

    /// Invoice `n` among those that `tenant` sends.
    #[must_use]
    pub fn sent(tenant: VatNumber, n: u64) -> Self {
        let counterpart = Company::counterpart(n);
        Self::new(&Company::of(tenant), &counterpart, n)
    }

    fn new(supplier: &Company, buyer: &Company, n: u64) -> Self {
        let mut dice = Dice::new(n);
        let progressive = format!("{:05}", n % 100_000);
        let name = format!("IT{}_{}.xml", supplier.vat, base36(n));
        let mut xml = String::with_capacity(6 * 1024);
        xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<p:FatturaElettronica versione=\"FPR12\" xmlns:p=\"http://ivaservizi.agenziaentrate.gov.it/docs/xsd/fatture/v1.2\">");
        let code = base36(0x9e37_79b9 ^ buyer.vat.wrapping_mul(0x1_0001)) + "000000";
        put(
            &mut xml,
            format_args!(
                "<FatturaElettronicaHeader><DatiTrasmissione><IdTrasmittente><IdPaese>IT</IdPaese><IdCodice>{:011}</IdCodice></IdTrasmittente><ProgressivoInvio>{progressive}</ProgressivoInvio><FormatoTrasmissione>FPR12</FormatoTrasmissione><CodiceDestinatario>{}</CodiceDestinatario></DatiTrasmissione>",
                supplier.vat,
                &code[..7],
            ),
        );
        supplier.write(&mut xml, "CedentePrestatore", true);
        buyer.write(&mut xml, "CessionarioCommittente", false);
        let (day, due) = (dice.day(0), dice.day(2));
        let number =
            format!("{}/{}", 1 + n % 4000, ["A", "FE", "VEN", "2025"][dice.upto(4) as usize]);
        let mut lines = String::new();
        let mut sums = [0_u64; 3];
        for line in 1..=LINES {
            let rate = [0, 0, 0, 0, 0, 1, 2, 0][dice.upto(8) as usize];
            let quantity = 1 + dice.upto(40);
            let price = 95 + dice.upto(24_000);
            let total = quantity * price;
            sums[rate] += total;
            put(
                &mut lines,
                format_args!(
                    "<DettaglioLinee><NumeroLinea>{line}</NumeroLinea><CodiceArticolo><CodiceTipo>A</CodiceTipo><CodiceValore>{}{:05}</CodiceValore></CodiceArticolo><Descrizione>{} {} {}x{} mm</Descrizione><Quantita>{quantity}.00</Quantita><UnitaMisura>{}</UnitaMisura><PrezzoUnitario>{}</PrezzoUnitario><PrezzoTotale>{}</PrezzoTotale><AliquotaIVA>{}</AliquotaIVA></DettaglioLinee>",
                    ["AR", "MT", "X", "KF"][dice.upto(4) as usize],
                    dice.upto(100_000),
                    dice.one(&GOODS),
                    dice.one(&QUALITIES),
                    5 * (1 + dice.upto(40)),
                    5 * (1 + dice.upto(60)),
                    ["PZ", "NR", "CF", "MT"][dice.upto(4) as usize],
                    cents(price),
                    cents(total),
                    RATES[rate].1,
                ),
            );
        }
        let mut summary = String::new();
        let mut whole = 0;
        for (sum, (percent, rate)) in sums.iter().zip(RATES).filter(|(sum, _)| **sum > 0) {
            let tax = (sum * percent + 50) / 100;
            whole += sum + tax;
            put(
                &mut summary,
                format_args!(
                    "<DatiRiepilogo><AliquotaIVA>{rate}</AliquotaIVA><ImponibileImporto>{}</ImponibileImporto><Imposta>{}</Imposta><EsigibilitaIVA>I</EsigibilitaIVA></DatiRiepilogo>",
                    cents(*sum),
                    cents(tax),
                ),
            );
        }
        put(
            &mut xml,
            format_args!(
                "<FatturaElettronicaBody><DatiGenerali><DatiGeneraliDocumento><TipoDocumento>TD01</TipoDocumento><Divisa>EUR</Divisa><Data>{day}</Data><Numero>{number}</Numero><ImportoTotaleDocumento>{}</ImportoTotaleDocumento></DatiGeneraliDocumento><DatiDDT><NumeroDDT>{}</NumeroDDT><DataDDT>{}</DataDDT></DatiDDT></DatiGenerali><DatiBeniServizi>{lines}{summary}</DatiBeniServizi><DatiPagamento><CondizioniPagamento>TP02</CondizioniPagamento><DettaglioPagamento><ModalitaPagamento>MP05</ModalitaPagamento><DataScadenzaPagamento>{due}</DataScadenzaPagamento><ImportoPagamento>{}</ImportoPagamento><IstitutoFinanziario>{}</IstitutoFinanziario><IBAN>{}</IBAN></DettaglioPagamento></DatiPagamento></FatturaElettronicaBody></p:FatturaElettronica>\n",
                cents(whole),
                1 + dice.upto(9000),
                dice.day(0),
                cents(whole),
                supplier.bank,
                supplier.iban,
            ),
        );
        Self { name, xml: xml.into_bytes() }
    }

    /// The document it becomes.
    #[must_use]
    pub fn document(&self) -> DocumentId {
        DocumentId::invoice(&BlobHash::of(&self.xml))
    }
}

/// What a portal says when the SdI has delivered the invoice: one status change, one item.
///
/// # Panics
/// Never: an entry of this size is a change.
#[must_use]
pub fn delivered(log: LogId, invoice: DocumentId, n: u64) -> Item {
    let mut dice = Dice::new(n ^ 0x5d1);
    let at_ms = 1_760_000_000_000 + n * 7_000 + dice.upto(7_000);
    let sdi_id = (10_000_000_000 + n * 900 + dice.upto(900)).to_string();
    let entry = OutcomeEntry::new(Receipt::Delivered, &sdi_id, at_ms);
    let change = outcome::add(log, &[], &entry)
        .ok()
        .flatten()
        .expect("a first entry of a few bytes is always a change");
    Item::Change { document: invoice.sibling(Kind::Outcome), change }
}

/// Customer `n` of an intermediary.
///
/// # Panics
/// Never: the check digit is worked out.
#[must_use]
pub fn customer(n: u64) -> VatNumber {
    let vat = with_check_digit((1_000_000 + n % 8_000_000) * 1000 + 24);
    VatNumber::parse(&format!("{vat:011}")).expect("its check digit is right")
}

/// Rates of VAT: percent, and as written.
const RATES: [(u64, &str); 3] = [(22, "22.00"), (10, "10.00"), (4, "4.00")];

struct Company {
    vat: u64,
    name: String,
    street: String,
    town: (&'static str, &'static str, &'static str),
    rea: u64,
    mail: String,
    phone: String,
    bank: &'static str,
    iban: String,
}

impl Company {
    fn of(vat: VatNumber) -> Self {
        Self::new(vat.as_u64())
    }

    /// The counterpart of invoice `n`: the smaller of two draws, so that some come often.
    fn counterpart(n: u64) -> Self {
        let mut dice = Dice::new(n ^ 0xc0de);
        let which = dice.upto(COUNTERPARTS).min(dice.upto(COUNTERPARTS));
        let base = 1_000_000 + which * 23_557;
        Self::new(with_check_digit(base * 1000 + 36))
    }

    fn new(vat: u64) -> Self {
        let mut dice = Dice::new(vat);
        let surname = *dice.one(&SURNAMES);
        let name = format!("{} {surname} {}", dice.one(&TRADES), dice.one(&FORMS));
        let (bank, abi) = *dice.one(&BANKS);
        let iban = format!(
            "IT{:02}{}{abi}{:05}{:012}",
            2 + dice.upto(97),
            ["X", "Q", "W"][dice.upto(3) as usize],
            dice.upto(100_000),
            dice.upto(1_000_000_000),
        );
        Self {
            vat,
            name,
            street: format!("{} {}", dice.one(&STREETS), 1 + dice.upto(250)),
            town: *dice.one(&TOWNS),
            rea: 100_000 + dice.upto(900_000),
            mail: format!(
                "{}@{}{}.example",
                dice.one(&CONTACTS),
                surname.to_lowercase().replace(' ', ""),
                dice.upto(90)
            ),
            phone: format!("0{}", 40_000_000 + dice.upto(59_000_000)),
            bank,
            iban,
        }
    }

    fn write(&self, xml: &mut String, element: &str, supplies: bool) {
        let Self { vat, name, street, town: (cap, town, province), rea, mail, phone, .. } = self;
        put(
            xml,
            format_args!(
                "<{element}><DatiAnagrafici><IdFiscaleIVA><IdPaese>IT</IdPaese><IdCodice>{vat:011}</IdCodice></IdFiscaleIVA><Anagrafica><Denominazione>{name}</Denominazione></Anagrafica>",
            ),
        );
        if supplies {
            xml.push_str("<RegimeFiscale>RF01</RegimeFiscale>");
        }
        put(
            xml,
            format_args!(
                "</DatiAnagrafici><Sede><Indirizzo>{street}</Indirizzo><CAP>{cap}</CAP><Comune>{town}</Comune><Provincia>{province}</Provincia><Nazione>IT</Nazione></Sede>",
            ),
        );
        if supplies {
            put(
                xml,
                format_args!(
                    "<IscrizioneREA><Ufficio>{province}</Ufficio><NumeroREA>{rea}</NumeroREA><CapitaleSociale>{}000.00</CapitaleSociale><StatoLiquidazione>LN</StatoLiquidazione></IscrizioneREA><Contatti><Telefono>{phone}</Telefono><Email>{mail}</Email></Contatti>",
                    10 * (1 + rea % 12),
                ),
            );
        }
        put(xml, format_args!("</{element}>"));
        if !supplies {
            xml.push_str("</FatturaElettronicaHeader>");
        }
    }
}

/// SplitMix64: the same `n`, the same throws.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn upto(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.upto(of.len() as u64) as usize]
    }

    /// A day of 2025, `later` months after the first half of the year at most.
    fn day(&mut self, later: u64) -> String {
        format!("2025-{:02}-{:02}", 1 + later + self.upto(9), 1 + self.upto(28))
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = text.write_fmt(what);
}

fn cents(amount: u64) -> String {
    format!("{}.{:02}", amount / 100, amount % 100)
}

/// The eleven digits of a P.IVA whose first ten are `digits`.
fn with_check_digit(digits: u64) -> u64 {
    let mut sum = 0;
    for place in 0..10 {
        let digit = digits / 10_u64.pow(9 - place) % 10;
        sum += match (place % 2, digit * 2) {
            (0, _) => digit,
            (_, twice) => twice / 10 + twice % 10,
        };
    }
    digits * 10 + (10 - sum % 10) % 10
}

fn base36(mut n: u64) -> String {
    let mut text = Vec::new();
    while text.len() < 5 || n > 0 {
        text.push(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[(n % 36) as usize]);
        n /= 36;
    }
    text.iter().rev().map(|byte| *byte as char).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fatturapa::{
        Date,
        check::{Context, check_bytes},
    };

    use super::*;

    #[test]
    fn customers_are_as_many_as_one_asks_for() {
        let customers: BTreeSet<VatNumber> = (0..10_000).map(customer).collect();
        assert_eq!(customers.len(), 10_000);
    }

    #[test]
    fn invoices_are_valid_different_and_of_the_usual_size() {
        let tenant = VatNumber::parse("02038490237").unwrap();
        let context = Context::received(Date::new(2026, 11, 24).unwrap());
        let mut seen = BTreeSet::new();
        let mut bytes = 0;
        for n in 0..200 {
            for invoice in [Invoice::received(tenant, n), Invoice::sent(tenant, n)] {
                let report = check_bytes(&invoice.name, &invoice.xml, &context);
                assert!(report.is_accepted(), "{}", report.to_text());
                bytes += invoice.xml.len();
                assert!(seen.insert(invoice.document()));
            }
        }
        assert!((5000..6000).contains(&(bytes / 400)), "{} bytes", bytes / 400);
    }
}
