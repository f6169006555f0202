//! Every code that has no shared case: the plain invoice with one thing wrong reports that code alone, or
//! those that the same fault makes true.

mod shared;

use fatturapa::check::{Context, Xsd, check_bytes};
use fatturapa::judge::{InvoiceKey, Register};
use fatturapa::{Date, schema, xml};

fn context() -> Context<'static> {
    Context::received(Date::new(2026, 11, 24).expect("a day that exists"))
}

fn base() -> String {
    String::from_utf8(shared::bytes("rule-cases/ok-base.xml")).expect("the base is UTF-8")
}

/// The base with each first part replaced by the second, which must be there.
fn with(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(base(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in the base");
        text.replacen(from, to, 1)
    })
}

#[track_caller]
fn check(edits: &[(&str, &str)], expected: &[&str]) {
    let text = with(edits);
    let report = check_bytes("x.xml", text.as_bytes(), &context());
    if expected != ["00200"] {
        let tree = xml::Tree::parse(&text).expect("well-formed");
        assert_eq!(schema::faults(&tree, 9), [], "{edits:?}");
        assert_eq!(report.xsd, Xsd::Valid);
    }
    assert_eq!(report.codes, expected, "{}", report.to_text());
}

const FUND: &str = "<DatiCassaPrevidenziale><TipoCassa>TC01</TipoCassa><AlCassa>4.00</AlCassa><ImportoContributoCassa>4.00</ImportoContributoCassa><AliquotaIVA>22.00</AliquotaIVA></DatiCassaPrevidenziale>";
const ZERO: &str = "<DettaglioLinee><NumeroLinea>2</NumeroLinea><Descrizione>x</Descrizione><PrezzoUnitario>10.00</PrezzoUnitario><PrezzoTotale>10.00</PrezzoTotale><AliquotaIVA>0.00</AliquotaIVA><Natura>N4</Natura></DettaglioLinee>";
const ZERO_SUM: &str = "<DatiRiepilogo><AliquotaIVA>0.00</AliquotaIVA><Natura>N4</Natura><ImponibileImporto>10.00</ImponibileImporto><Imposta>0.00</Imposta></DatiRiepilogo>";

#[test]
fn parties() {
    let seller = "<IdCodice>01234567897</IdCodice></IdFiscaleIVA>";
    let buyer = "<IdCodice>12345678903</IdCodice></IdFiscaleIVA>";
    let bad = "<CodiceFiscale>RSSMRA80A01H501X</CodiceFiscale>";
    check(&[("05555555555", "05555555556")], &["00300"]);
    check(
        &[("<IdPaese>IT</IdPaese><IdCodice>05555555555", "<IdPaese>DE</IdPaese><IdCodice>X1")],
        &[],
    );
    check(&[(seller, &format!("{seller}{bad}"))], &["00302"]);
    check(&[(buyer, &format!("{buyer}{bad}"))], &["00306"]);
    check(&[(seller, &format!("{seller}<CodiceFiscale>RSSMRA80A01H501U</CodiceFiscale>"))], &[]);
    let representative = |code: &str, tax: &str| {
        format!(
            "</CedentePrestatore><RappresentanteFiscale><DatiAnagrafici><IdFiscaleIVA><IdPaese>IT</IdPaese><IdCodice>{code}</IdCodice></IdFiscaleIVA>{tax}<Anagrafica><Denominazione>x</Denominazione></Anagrafica></DatiAnagrafici></RappresentanteFiscale>"
        )
    };
    check(&[("</CedentePrestatore>", &representative("02038490237", bad))], &["00304"]);
    let end = "</Sede></CessionarioCommittente>";
    let own = "</Sede><RappresentanteFiscale><IdFiscaleIVA><IdPaese>IT</IdPaese><IdCodice>12345678901</IdCodice></IdFiscaleIVA><Denominazione>x</Denominazione></RappresentanteFiscale></CessionarioCommittente>";
    check(&[(end, own)], &["00303"]);
    check(
        &[(
            "</CodiceDestinatario>",
            "</CodiceDestinatario><PECDestinatario>a@pec.example.it</PECDestinatario>",
        )],
        &["00426"],
    );
}

#[test]
fn rates_and_natures() {
    let rate = "<AliquotaIVA>22.00</AliquotaIVA></DettaglioLinee>";
    check(
        &[(rate, "<AliquotaIVA>22.00</AliquotaIVA><Natura>N4</Natura></DettaglioLinee>")],
        &["00401"],
    );
    let zero = |fund: &str| FUND.replace("<AliquotaIVA>22.00</AliquotaIVA>", fund);
    let fund_at = |fund: &str| format!("</Numero>{}", zero(fund));
    let summary = "<DatiRiepilogo><AliquotaIVA>0.00</AliquotaIVA><Natura>N4</Natura><ImponibileImporto>4.00</ImponibileImporto><Imposta>0.00</Imposta></DatiRiepilogo></DatiBeniServizi>";
    check(
        &[
            ("</Numero>", &fund_at("<AliquotaIVA>0.00</AliquotaIVA>")),
            ("</DatiBeniServizi>", summary),
        ],
        &["00413"],
    );
    check(
        &[
            ("</Numero>", &fund_at("<AliquotaIVA>0.00</AliquotaIVA><Natura>N4</Natura>")),
            ("</DatiBeniServizi>", summary),
        ],
        &[],
    );
    let withheld = fund_at("<AliquotaIVA>22.00</AliquotaIVA><Ritenuta>SI</Ritenuta>");
    let sums = [
        ("<ImponibileImporto>100.00", "<ImponibileImporto>104.00"),
        ("<Imposta>22.00", "<Imposta>22.88"),
    ];
    check(&[("</Numero>", &withheld), sums[0], sums[1]], &["00415"]);
    let line = ("<DatiRiepilogo>", format!("{ZERO}<DatiRiepilogo>"));
    let row = ("</DatiBeniServizi>", format!("{ZERO_SUM}</DatiBeniServizi>"));
    check(&[(line.0, &line.1), (row.0, &row.1)], &[]);
    check(&[(line.0, &line.1), (row.0, &row.1.replace("<Natura>N4</Natura>", ""))], &["00429"]);
    check(&[(line.0, &line.1), (row.0, &row.1.replace("N4", "N2.2"))], &["00422", "00444"]);
    check(
        &[
            (line.0, &line.1.replace("N4", "N6.3")),
            (
                row.0,
                &row.1
                    .replace("N4", "N6.3")
                    .replace("</Imposta>", "</Imposta><EsigibilitaIVA>S</EsigibilitaIVA>"),
            ),
        ],
        &["00420"],
    );
    // A summary that nothing uses is also a taxable amount that no line gives.
    check(&[(row.0, &row.1)], &["00422", "00443"]);
    check(
        &[
            ("<AliquotaIVA>22.00", "<AliquotaIVA>0.22"),
            ("<DatiRiepilogo><AliquotaIVA>22.00", "<DatiRiepilogo><AliquotaIVA>0.22"),
            ("<Imposta>22.00", "<Imposta>0.22"),
        ],
        &["00424"],
    );
}

#[test]
fn amounts() {
    let taxable = "<ImponibileImporto>100.00";
    check(&[(taxable, "<ImponibileImporto>101.00"), ("<Imposta>22.00", "<Imposta>22.22")], &[]);
    check(
        &[(taxable, "<ImponibileImporto>101.01"), ("<Imposta>22.00", "<Imposta>22.22")],
        &["00422"],
    );
    check(
        &[
            (taxable, "<Arrotondamento>2.00</Arrotondamento><ImponibileImporto>102.00"),
            ("<Imposta>22.00", "<Imposta>22.44"),
        ],
        &[],
    );
    check(&[("<Imposta>22.00", "<Imposta>22.01")], &[]);
    check(&[("<PrezzoTotale>100.00", "<PrezzoTotale>100.01")], &[]);
    check(&[("<PrezzoTotale>100.00", "<PrezzoTotale>100.010001")], &["00423"]);
    let discounts = "</PrezzoUnitario><ScontoMaggiorazione><Tipo>SC</Tipo><Percentuale>10.00</Percentuale></ScontoMaggiorazione><ScontoMaggiorazione><Tipo>MG</Tipo><Percentuale>10.00</Percentuale></ScontoMaggiorazione>";
    check(
        &[("</PrezzoUnitario>", discounts), ("<PrezzoTotale>100.00", "<PrezzoTotale>99.00")],
        &[],
    );
    check(
        &[
            ("<Quantita>2.00</Quantita>", ""),
            ("<PrezzoTotale>100.00", "<PrezzoTotale>50.00"),
            (taxable, "<ImponibileImporto>50.00"),
            ("<Imposta>22.00", "<Imposta>11.00"),
        ],
        &[],
    );
    check(
        &[("</Numero>", "</Numero><ScontoMaggiorazione><Tipo>SC</Tipo></ScontoMaggiorazione>")],
        &["00437"],
    );
    let huge = "99999999999.99999999";
    check(
        &[
            ("<PrezzoUnitario>50.00", &format!("<PrezzoUnitario>{huge}")),
            ("<Quantita>2.00", "<Quantita>999999999999.99999999"),
        ],
        &["00423"],
    );
}

#[test]
fn documents() {
    let linked = |date: &str| {
        format!(
            "</DatiGeneraliDocumento><DatiFattureCollegate><IdDocumento>1</IdDocumento><Data>{date}</Data></DatiFattureCollegate>"
        )
    };
    check(&[("</DatiGeneraliDocumento>", &linked("2025-05-11"))], &["00418"]);
    check(&[("</DatiGeneraliDocumento>", &linked("2025-05-10"))], &[]);
    check(&[("TD01", "TD21")], &["00472"]);
    check(&[("TD01", "TD27")], &["00472"]);
    check(&[("TD01", "TD28")], &["00473"]);
    let withholding = "</Numero><DatiRitenuta><TipoRitenuta>RT01</TipoRitenuta><ImportoRitenuta>20.00</ImportoRitenuta><AliquotaRitenuta>20.00</AliquotaRitenuta><CausalePagamento>Z</CausalePagamento></DatiRitenuta>";
    check(&[("</Numero>", withholding)], &["00999"]);
    let base = base();
    let body = &base[base.find("<FatturaElettronicaBody>").expect("a body")
        ..base.find("</p:FatturaElettronica>").expect("an end")];
    let end = "</p:FatturaElettronica>";
    check(&[(end, &format!("{body}{end}"))], &["00409"]);
    check(&[(end, &format!("{}{end}", body.replace("2025-05-10", "2024-05-10")))], &[]);
    check(&[(end, &format!("{}{end}", body.replace("TD01", "TD04")))], &[]);
    check(&[("Alfa Prova", "Alfa € Prova")], &["00200"]);
    check(&[("<Provincia>VR</Provincia><Nazione>IT</Nazione>", "<Nazione/>")], &[]);
}

#[test]
fn simplified() {
    let simplified = |amount: &str, regime: &str, date: &str| {
        let text = format!(
            "<p:FatturaElettronicaSemplificata versione=\"FSM10\" xmlns:p=\"http://ivaservizi.agenziaentrate.gov.it/docs/xsd/fatture/v1.0\"><FatturaElettronicaHeader><DatiTrasmissione><IdTrasmittente><IdPaese>IT</IdPaese><IdCodice>05555555555</IdCodice></IdTrasmittente><ProgressivoInvio>1</ProgressivoInvio><FormatoTrasmissione>FSM10</FormatoTrasmissione><CodiceDestinatario>ABC1234</CodiceDestinatario></DatiTrasmissione><CedentePrestatore><IdFiscaleIVA><IdPaese>IT</IdPaese><IdCodice>01234567897</IdCodice></IdFiscaleIVA><Denominazione>Alfa</Denominazione><Sede><Indirizzo>Via Roma 1</Indirizzo><CAP>37100</CAP><Comune>Verona</Comune><Nazione>IT</Nazione></Sede><RegimeFiscale>{regime}</RegimeFiscale></CedentePrestatore><CessionarioCommittente><IdentificativiFiscali><IdFiscaleIVA><IdPaese>IT</IdPaese><IdCodice>12345678903</IdCodice></IdFiscaleIVA></IdentificativiFiscali></CessionarioCommittente></FatturaElettronicaHeader><FatturaElettronicaBody><DatiGenerali><DatiGeneraliDocumento><TipoDocumento>TD07</TipoDocumento><Divisa>EUR</Divisa><Data>{date}</Data><Numero>1</Numero></DatiGeneraliDocumento></DatiGenerali><DatiBeniServizi><Descrizione>x</Descrizione><Importo>{amount}</Importo><DatiIVA><Aliquota>22.00</Aliquota></DatiIVA></DatiBeniServizi></FatturaElettronicaBody></p:FatturaElettronicaSemplificata>"
        );
        let report = check_bytes("x.xml", text.as_bytes(), &context());
        assert_eq!(report.xsd, Xsd::Valid, "{}", report.to_text());
        report.codes
    };
    assert_eq!(simplified("400.00", "RF01", "2025-05-10"), [""; 0]);
    assert_eq!(simplified("400.01", "RF01", "2025-05-10"), ["00460"]);
    assert_eq!(simplified("400.01", "RF19", "2025-05-10"), [""; 0]);
    assert_eq!(simplified("400.01", "RF19", "2025-03-31"), ["00460"]);
}

/// A register in which everything was already done.
struct Full;
impl Register for Full {
    fn is_name_used(&self, _: &str) -> bool {
        true
    }
    fn is_content_sent(&self, _: &[u8; 32]) -> bool {
        true
    }
    fn is_invoice_accepted(&self, key: &InvoiceKey) -> bool {
        key.supplier == "IT01234567897" && key.number == "7/2025" && key.year == 2025
    }
}

#[test]
fn the_register_is_asked() {
    let text = base();
    let mut context = Context { register: &Full, ..context() };
    assert_eq!(check_bytes("x.xml", text.as_bytes(), &context).codes, ["00404"]);
    context.is_name_judged = true;
    assert_eq!(check_bytes("IT05555555555_1.xml", text.as_bytes(), &context).codes, ["00002"]);
    let report =
        check_bytes("x.xml", text.as_bytes(), &Context { is_name_judged: true, ..self::context() });
    assert_eq!(report.codes, ["00001"]);
}
