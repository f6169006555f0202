//! The words of one invoice, folded, in one piece of memory: a look through 100,000 invoices is
//! then one search in each, which is what a list with words costs.

use memchr::memmem::Finder;

/// What there is to be found in an invoice's entry, in the order in which it lies in the piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Name, VAT number and tax code of supplier and buyer.
    Parties,
    /// Number and file name.
    Invoice,
    /// The number that the SdI gave it.
    SdiId,
    /// The ERP's notes.
    Notes,
}

const PARTS: usize = 4;

/// The texts of one invoice. Each part ends with a line break, which no word has, so that none is
/// found across two parts.
#[derive(Debug)]
pub struct Texts {
    joined: Box<str>,
    ends: [usize; PARTS],
}

/// A word made ready to be looked for.
pub struct Word(Finder<'static>);

impl Word {
    /// A word in whatever case.
    #[must_use]
    pub fn new(word: &str) -> Self {
        Self(Finder::new(folded(word).as_bytes()).into_owned())
    }
}

impl Default for Texts {
    fn default() -> Self {
        Self::join([""; PARTS])
    }
}

impl Texts {
    /// Say anew what one part is.
    pub fn set(&mut self, part: Part, text: &str) {
        let folded = folded(text);
        let mut parts =
            [Part::Parties, Part::Invoice, Part::SdiId, Part::Notes].map(|p| self.part(p));
        parts[part as usize] = &folded;
        *self = Self::join(parts);
    }

    /// Whether the word is in any part.
    #[must_use]
    pub fn have(&self, word: &Word) -> bool {
        word.0.find(self.joined.as_bytes()).is_some()
    }

    /// Whether the word is among supplier and buyer.
    #[must_use]
    pub fn name(&self, party: &Word) -> bool {
        party.0.find(self.part(Part::Parties).as_bytes()).is_some()
    }

    fn part(&self, part: Part) -> &str {
        let part = part as usize;
        let start = part.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.joined[start..self.ends[part] - 1]
    }

    fn join(parts: [&str; PARTS]) -> Self {
        let mut joined = String::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
        let ends = parts.map(|part| {
            joined.push_str(part);
            joined.push('\n');
            joined.len()
        });
        Self { joined: joined.into_boxed_str(), ends }
    }
}

fn folded(text: &str) -> String {
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_said_anew_by_itself_and_no_word_lies_across_two() {
        let mut texts = Texts::default();
        for (part, text) in [
            (Part::Notes, "Già pagata"),
            (Part::Parties, "Caffè ROSSI\nIT02038490237"),
            (Part::SdiId, "777"),
            (Part::Invoice, "7/A"),
            (Part::SdiId, "778"),
        ] {
            texts.set(part, text);
        }
        for (word, found, among_parties) in [
            ("CAFFÈ", true, true),
            ("già", true, false),
            ("rossi\nit0", true, true),
            ("2377/a", false, false),
            ("777", false, false),
            ("778", true, false),
            ("", true, true),
        ] {
            let word_made = Word::new(word);
            assert_eq!(
                (texts.have(&word_made), texts.name(&word_made)),
                (found, among_parties),
                "{word}"
            );
        }
    }
}
