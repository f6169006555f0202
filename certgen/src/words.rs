//! A pin as eight Italian words, to be read over the phone and compared.
//!
//! Each word stands for one byte, so eight words carry the first **64 bits** of the
//! pin. To make another P-256 key with the same eight words one must try about 2^64 keys
//! (some centuries of a machine trying a thousand million a second); six words would be
//! 48 bits, days of work for the same machine, which is why there are eight. The words
//! only help two people compare: programs always check the whole pin. The list is fixed
//! for ever, since words are written on paper; no two words share their first four letters.

use std::fmt;

use engine::id::PeerId;

/// How many words name a pin.
pub const WORD_COUNT: usize = 8;

/// The words that name a pin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Words([u8; WORD_COUNT]);

impl Words {
    /// The words of `peer`'s pin.
    #[must_use]
    pub fn of(peer: &PeerId) -> Self {
        let mut bytes = [0; WORD_COUNT];
        bytes.copy_from_slice(&peer.as_bytes()[..WORD_COUNT]);
        Self(bytes)
    }

    /// Reads back what a person typed: any case, spaces, commas or hyphens between the
    /// words, and of each word at least its first four letters.
    ///
    /// # Errors
    /// [`WordsError`] when a word is not in the list or there are not eight.
    pub fn parse(text: &str) -> Result<Self, WordsError> {
        let mut bytes = [0; WORD_COUNT];
        let mut count = 0;
        let split = |c: char| c.is_whitespace() || c == ',' || c == '-';
        for word in text.split(split).filter(|word| !word.is_empty()) {
            let byte = byte_of(word)
                .ok_or_else(|| WordsError::Unknown(word.chars().take(40).collect()))?;
            if let Some(slot) = bytes.get_mut(count) {
                *slot = byte;
            }
            count += 1;
        }
        if count == WORD_COUNT { Ok(Self(bytes)) } else { Err(WordsError::Count(count)) }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(LIST[usize::from(*byte)])?;
        }
        Ok(())
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({self})")
    }
}

/// A text that is not the words of a pin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// A word that is not in the list.
    #[error("{0:?} is not one of the words, read it again")]
    Unknown(String),
    /// Too few or too many words.
    #[error("a pin has {WORD_COUNT} words, found {0}")]
    Count(usize),
}

fn byte_of(word: &str) -> Option<u8> {
    let word = word.to_lowercase();
    if word.len() < 4 {
        return None;
    }
    LIST.iter().position(|listed| listed.starts_with(&word)).and_then(|i| u8::try_from(i).ok())
}

/// One word a byte, in the order of the alphabet. Never change, remove or reorder one.
#[rustfmt::skip]
const LIST: [&str; 256] = [
    "abete", "acqua", "agosto", "albero", "allodola", "amico", "anatra", "ancora", "anello",
    "angelo", "aprile", "aquila", "arancia", "argento", "aria", "armadio", "asino", "autunno",
    "balcone", "balena", "bambino", "banana", "barca", "basilico", "bicchiere", "binario", "birra",
    "bisonte", "bosco", "bottone", "braccio", "brodo", "bruco", "budino", "burro", "caffe",
    "calamaro", "camino", "candela", "canguro", "capra", "carota", "castello", "cavallo", "cervo",
    "chiave", "chitarra", "ciliegia", "cinema", "cipolla", "civetta", "colomba", "coniglio",
    "cotone", "cravatta", "cuoco", "cupola", "cuscino", "daino", "delfino", "deserto", "diamante",
    "dicembre", "dolce", "domenica", "donna", "dottore", "drago", "duomo", "edera", "elefante",
    "estate", "europa", "fabbrica", "falco", "famiglia", "farfalla", "favola", "febbraio", "ferro",
    "festa", "fiaba", "finestra", "fiore", "fiume", "foca", "foglia", "fontana", "forbice",
    "fragola", "fratello", "freccia", "frutta", "fungo", "fuoco", "gabbiano", "gallina", "gambero",
    "gatto", "gelato", "gennaio", "ghiaccio", "giardino", "ginocchio", "giraffa", "gomma", "grillo",
    "guanto", "gufo", "inverno", "isola", "istrice", "italia", "lago", "lampada", "lana", "latte",
    "lavagna", "legno", "leone", "lepre", "libro", "limone", "lingua", "lucciola", "luglio",
    "lumaca", "lupo", "maggio", "maiale", "mamma", "mandorla", "mare", "martello", "matita",
    "medico", "melone", "mercato", "miele", "minestra", "montagna", "motore", "mucca", "mulino",
    "musica", "naso", "natale", "nebbia", "nido", "nocciola", "nonno", "notte", "novembre",
    "numero", "nuvola", "oasi", "occhio", "olio", "oliva", "ombrello", "onda", "orchestra",
    "orologio", "orso", "ospedale", "ottobre", "padella", "pagina", "panino", "parco", "pasta",
    "patata", "pecora", "pennello", "pepe", "pesce", "piazza", "pietra", "pineta", "pioggia",
    "pirata", "pizza", "pollo", "pomodoro", "ponte", "porta", "prato", "primavera", "pulcino",
    "quaderno", "radio", "ragno", "ramo", "razzo", "regina", "riccio", "riso", "roccia", "romanzo",
    "rondine", "rosa", "ruota", "sabato", "salmone", "sapone", "sarto", "scala", "sciarpa",
    "scuola", "secchio", "sedia", "semaforo", "settimana", "sirena", "sogno", "sole", "sorella",
    "spada", "specchio", "spiaggia", "stella", "strada", "tacchino", "tamburo", "tappeto",
    "tartaruga", "tavolo", "teatro", "telefono", "tempo", "terra", "tetto", "tigre", "torta",
    "treno", "tulipano", "tuono", "uccello", "ulivo", "uovo", "uragano", "vacanza", "valigia",
    "vento", "vespa", "viaggio", "vigna", "violino", "volpe", "vulcano", "zaino", "zanzara",
    "zattera", "zebra", "zenzero", "zucca",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_told_apart_by_its_first_four_letters() {
        for pair in LIST.windows(2) {
            assert!(pair[0][..4] < pair[1][..4], "{} and {}", pair[0], pair[1]);
        }
        for (byte, word) in LIST.iter().enumerate() {
            assert!(word.bytes().all(|b| b.is_ascii_lowercase()) && word.len() <= 9, "{word}");
            assert_eq!(byte_of(word).map(usize::from), Some(byte));
        }
    }

    #[test]
    fn words_read_back_however_they_are_typed() {
        let words = Words::of(&PeerId::of_spki(b"a public key"));
        let text = words.to_string();
        assert_eq!(Words::parse(&text), Ok(words));
        assert_eq!(Words::parse(&text.to_uppercase().replace(' ', " - ")), Ok(words));
        let short: Vec<_> = text.split(' ').map(|word| &word[..4]).collect();
        assert_eq!(Words::parse(&short.join(",")), Ok(words));
        assert_ne!(words, Words::of(&PeerId::of_spki(b"another public key")));
    }

    #[test]
    fn what_is_not_eight_words_is_refused() {
        let text = Words::of(&PeerId::of_spki(b"a public key")).to_string();
        assert_eq!(Words::parse(&format!("{text} {text}")), Err(WordsError::Count(16)));
        assert_eq!(Words::parse(""), Err(WordsError::Count(0)));
        assert!(matches!(Words::parse("qwerty"), Err(WordsError::Unknown(_))));
        assert!(matches!(Words::parse("lup"), Err(WordsError::Unknown(_))));
    }
}
