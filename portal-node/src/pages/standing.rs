//! Where an invoice stands with the SdI: the word in an address, the word and the colour on a page.

use engine::record::OutcomeState;

use crate::lang::Lang;

type StateWords = (OutcomeState, &'static str, &'static str, &'static str);

/// States with the word for the address, Italian and English.
pub const STATES: [StateWords; 10] = [
    (OutcomeState::Silent, "coda", "in coda", "queued"),
    (OutcomeState::Received, "ricevuta", "ricevuta", "received"),
    (OutcomeState::Sent, "inviata", "inviata all'SdI", "with the SdI"),
    (OutcomeState::NotDelivered, "non-consegnata", "mancata consegna", "not delivered"),
    (OutcomeState::Delivered, "consegnata", "consegnata", "delivered"),
    (OutcomeState::Attested, "attestata", "trasmessa, non recapitabile", "undeliverable"),
    (OutcomeState::Expired, "scaduta", "decorrenza termini", "terms expired"),
    (OutcomeState::Accepted, "accettata", "accettata", "accepted"),
    (OutcomeState::Refused, "rifiutata", "rifiutata", "refused"),
    (OutcomeState::Rejected, "scartata", "scartata", "rejected"),
];

pub fn state_of(word: &str) -> Option<OutcomeState> {
    STATES.iter().find(|(_, known, ..)| *known == word).map(|(state, ..)| *state)
}

pub fn state_word(lang: Lang, state: OutcomeState) -> &'static str {
    let found = STATES.iter().find(|(known, ..)| *known == state);
    found.map_or("", |(_, _, it, en)| lang.t(it, en))
}

pub fn state_tone(state: OutcomeState) -> &'static str {
    match state {
        OutcomeState::Received | OutcomeState::Delivered | OutcomeState::Accepted => "good",
        OutcomeState::Refused | OutcomeState::Rejected => "bad",
        OutcomeState::NotDelivered | OutcomeState::Attested | OutcomeState::Expired => "wait",
        OutcomeState::Silent | OutcomeState::Sent => "todo",
    }
}

pub fn receipt_word(lang: Lang, code: &str) -> String {
    let (it, en) = match code {
        "Sent" => ("presa in carico dall'SdI", "taken by the SdI"),
        "RC" => ("consegnata", "delivered"),
        "NS" => ("scartata", "rejected"),
        "MC" => ("mancata consegna", "not delivered"),
        "NE" => ("esito del committente", "the buyer's outcome"),
        "AT" => ("trasmessa, non recapitabile", "transmitted, undeliverable"),
        "DT" => ("decorrenza termini", "terms expired"),
        "SE" => ("esito non accettato", "our answer not taken"),
        "EC" => ("esito inviato", "our answer"),
        "MT" => ("metadati", "metadata"),
        _ => (code, code),
    };
    format!("{} ({code})", lang.t(it, en))
}
