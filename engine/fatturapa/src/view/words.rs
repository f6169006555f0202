//! Italian names of the codes of an invoice (XSD annotations, shortened). An unknown code has no name.

/// The code with its name, or alone.
pub(super) fn named(code: &str, name: &str) -> String {
    if name.is_empty() { code.to_owned() } else { format!("{code} {name}") }
}

pub(super) fn document(code: &str) -> &'static str {
    match code {
        "TD01" => "Fattura",
        "TD02" => "Acconto su fattura",
        "TD03" => "Acconto su parcella",
        "TD04" => "Nota di credito",
        "TD05" => "Nota di debito",
        "TD06" => "Parcella",
        "TD07" => "Fattura semplificata",
        "TD08" => "Nota di credito semplificata",
        "TD09" => "Nota di debito semplificata",
        "TD16" => "Integrazione reverse charge interno",
        "TD17" => "Autofattura per servizi dall'estero",
        "TD18" => "Integrazione per beni intracomunitari",
        "TD19" => "Autofattura per beni ex art. 17",
        "TD20" => "Autofattura per regolarizzazione",
        "TD21" => "Autofattura per splafonamento",
        "TD22" => "Estrazione beni da deposito IVA",
        "TD23" => "Estrazione da deposito IVA con versamento",
        "TD24" => "Fattura differita (lett. a)",
        "TD25" => "Fattura differita (lett. b)",
        "TD26" => "Cessione di beni ammortizzabili",
        "TD27" => "Autofattura per autoconsumo",
        "TD28" => "Acquisti da San Marino",
        "TD29" => "Comunicazione per omessa fatturazione",
        _ => "Documento",
    }
}

pub(super) fn regime(code: &str) -> &'static str {
    match code {
        "RF01" => "ordinario",
        "RF02" => "contribuenti minimi",
        "RF04" => "agricoltura",
        "RF16" => "IVA per cassa P.A.",
        "RF17" => "IVA per cassa",
        "RF18" => "altro",
        "RF19" => "forfettario",
        "RF20" => "franchigia transfrontaliera",
        _ => "",
    }
}

pub(super) fn nature(code: &str) -> &'static str {
    match code.split('.').next().unwrap_or_default() {
        "N1" => "escluse art. 15",
        "N2" => "non soggette",
        "N3" => "non imponibili",
        "N4" => "esenti",
        "N5" => "regime del margine",
        "N6" => "inversione contabile",
        "N7" => "IVA assolta in altro stato UE",
        _ => "",
    }
}

pub(super) fn payment(code: &str) -> &'static str {
    match code {
        "MP01" => "contanti",
        "MP02" => "assegno",
        "MP03" => "assegno circolare",
        "MP04" => "contanti presso tesoreria",
        "MP05" => "bonifico",
        "MP06" => "vaglia cambiario",
        "MP07" => "bollettino bancario",
        "MP08" => "carta di pagamento",
        "MP09" => "RID",
        "MP10" => "RID utenze",
        "MP11" => "RID veloce",
        "MP12" => "Ri.Ba.",
        "MP13" => "MAV",
        "MP14" => "quietanza erario",
        "MP15" => "giroconto contabilità speciale",
        "MP16" => "domiciliazione bancaria",
        "MP17" => "domiciliazione postale",
        "MP18" => "bollettino postale",
        "MP19" => "SEPA Direct Debit",
        "MP20" => "SEPA Direct Debit CORE",
        "MP21" => "SEPA Direct Debit B2B",
        "MP22" => "trattenuta su somme riscosse",
        "MP23" => "PagoPA",
        _ => "",
    }
}
