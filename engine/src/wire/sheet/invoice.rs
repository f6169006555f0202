//! What an invoice says twice: the static table of a sheet (PROTOCOL.md section 3.3).
//!
//! A body repeats what people search for, names, numbers, totals; and of the amounts in a file a
//! third follow from the others, as the SdI demands (its checks 00421 and 00423). Both sides know which by
//! this table, as both sides of HTTP/2 know its usual headers (RFC 7541, appendix A).

use std::sync::LazyLock;

use memchr::{memchr, memmem::Finder};

use super::columns::OPEN;

/// Marks whose text a body may repeat, in the order in which a file has them: each is looked for
/// behind the one before. A supplier is named twice, first as who transmits.
pub(super) const FIELDS: [&[u8]; 11] = [
    b"<IdCodice>",
    b"<CodiceDestinatario>",
    b"<IdCodice>",
    b"<Denominazione>",
    b"<IdCodice>",
    b"<Denominazione>",
    b"<TipoDocumento>",
    b"<Divisa>",
    b"<Data>",
    b"<Numero>",
    b"<ImportoTotaleDocumento>",
];

/// The same in the order in which a body has them (`document/invoice.rs`, whose keys are sorted).
pub(super) const FIELDS_IN_BODY: [usize; 11] = [5, 4, 7, 8, 0, 9, 1, 3, 2, 10, 6];

/// Find the [`FIELDS`]. They cost more to make than to use.
static FINDERS: LazyLock<[Finder<'static>; FIELDS.len()]> =
    LazyLock::new(|| FIELDS.map(Finder::new));

/// What stands behind each mark of [`FIELDS`] in `file`. A mark that is not found has an empty
/// text, and the next is looked for from the same place.
pub(super) fn fields(file: &[u8]) -> [&[u8]; FIELDS.len()] {
    let mut behind = file;
    FINDERS.each_ref().map(|mark| {
        let Some(at) = mark.find(behind) else { return &[][..] };
        behind = &behind[at + mark.needle().len()..];
        &behind[..memchr(OPEN, behind).unwrap_or(behind.len())]
    })
}

/// Marks from whose texts others follow. None of these follows itself.
const OPERANDS: [&[u8]; 5] = [
    b"<Quantita>",
    b"<PrezzoUnitario>",
    b"<ImponibileImporto>",
    b"<AliquotaIVA>",
    b"<ImportoTotaleDocumento>",
];

/// How a text follows from the last ones behind the [`OPERANDS`].
#[derive(Clone, Copy)]
enum Rule {
    /// It is that of this one.
    Same(usize),
    /// It is the product of two, over 10 to this power, in cents.
    Product(usize, usize, u32),
}

/// The marks whose texts follow from others.
const RULES: [(&[u8], Rule); 3] = [
    (b"<PrezzoTotale>", Rule::Product(0, 1, 0)),
    (b"<Imposta>", Rule::Product(2, 3, 2)),
    (b"<ImportoPagamento>", Rule::Same(4)),
];

/// What a mark has to do with what follows from what.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Term {
    /// Nothing.
    #[default]
    None,
    /// Others follow from its text: its place among the operands.
    Operand(usize),
    /// Its text follows from others: its place among the rules.
    Result(usize),
}

impl Term {
    pub(super) fn of(mark: &[u8]) -> Self {
        let operand = OPERANDS.iter().position(|operand| *operand == mark).map(Self::Operand);
        let result = || RULES.iter().position(|(result, _)| *result == mark).map(Self::Result);
        operand.or_else(result).unwrap_or_default()
    }
}

/// The last text behind each operand, along a walk.
#[derive(Default)]
pub(super) struct Amounts<'a> {
    last: [Option<&'a [u8]>; OPERANDS.len()],
    text: Vec<u8>,
}

impl<'a> Amounts<'a> {
    /// Keeps the text behind an operand.
    pub(super) fn keep(&mut self, operand: usize, text: &'a [u8]) {
        self.last[operand] = Some(text);
    }

    /// What follows by a rule; nothing where an operand was not met or is no number of a usual size.
    pub(super) fn result(&mut self, rule: usize) -> Option<&[u8]> {
        self.text.clear();
        match RULES[rule].1 {
            Rule::Same(of) => self.text.extend_from_slice(self.last[of]?),
            Rule::Product(one, other, tens) => {
                let (one, other) =
                    (Decimal::read(self.last[one]?)?, Decimal::read(self.last[other]?)?);
                one.times(other)?.by_tens(tens).put_in_cents(&mut self.text)?;
            }
        }
        Some(&self.text)
    }
}

/// A decimal: `value` over 10 to the power of `scale`.
#[derive(Clone, Copy)]
struct Decimal {
    value: i64,
    scale: u32,
}

impl Decimal {
    /// Reads `12`, `12.50` or `-3.125`.
    fn read(text: &[u8]) -> Option<Self> {
        let (negative, digits) = match text.split_first() {
            Some((b'-', digits)) => (true, digits),
            _ => (false, text),
        };
        let (mut value, mut scale) = (0_i64, None);
        for digit in digits {
            match digit {
                b'0'..=b'9' => {
                    value = value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
                    scale = scale.map(|scale| scale + 1);
                }
                b'.' if scale.is_none() => scale = Some(0),
                _ => return None,
            }
        }
        let is_number = digits.len() > usize::from(scale.is_some());
        let value = if negative { -value } else { value };
        is_number.then_some(Self { value, scale: scale.unwrap_or(0) })
    }

    fn times(self, other: Self) -> Option<Self> {
        let scale = self.scale.checked_add(other.scale)?;
        Some(Self { value: self.value.checked_mul(other.value)?, scale })
    }

    /// Moves the point so many places to the left.
    const fn by_tens(self, tens: u32) -> Self {
        Self { value: self.value, scale: self.scale.saturating_add(tens) }
    }

    /// Adds it with two places behind the point, half a cent away from zero.
    fn put_in_cents(self, text: &mut Vec<u8>) -> Option<()> {
        let size = self.value.unsigned_abs();
        let cents = match self.scale {
            scale @ 0..=2 => size.checked_mul(10_u64.pow(2 - scale))?,
            scale => {
                let unit = 10_u64.checked_pow(scale - 2)?;
                size / unit + u64::from(size % unit >= unit / 2)
            }
        };
        if self.value < 0 && cents > 0 {
            text.push(b'-');
        }
        // From the end, since that is where a number's digits come from.
        let (mut digits, mut begin, mut rest) = ([b'0'; 20], 20, cents);
        while rest > 0 || begin > 17 {
            begin -= 1;
            digits[begin] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let (whole, cents) = digits[begin..].split_at(18 - begin);
        [whole, b".", cents].iter().for_each(|part| text.extend_from_slice(part));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(one: &str, other: &str, rule: usize) -> Option<String> {
        let Rule::Product(first, second, _) = RULES[rule].1 else { panic!() };
        let mut amounts = Amounts::default();
        assert_eq!(amounts.result(rule), None);
        amounts.keep(first, one.as_bytes());
        amounts.keep(second, other.as_bytes());
        amounts.result(rule).map(|text| String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn products_are_exact_and_in_cents() {
        for (one, other, rule, text) in [
            ("27.00", "195.97", 0, "5291.19"),
            ("1", "0.125", 0, "0.13"),
            ("-1.00", "0.125", 0, "-0.13"),
            ("-1", "0.001", 0, "0.00"),
            ("1.00000000", "195.97000000", 0, "195.97"),
            ("12813.47", "22.00", 1, "2818.96"),
            (".5", "7.", 0, "3.50"),
            ("92233720368547758", "1", 0, "92233720368547758.00"),
        ] {
            assert_eq!(product(one, other, rule).as_deref(), Some(text), "{one} {other}");
        }
        let small = format!("0.{}1", "0".repeat(40));
        for no in ["", "-", ".", "1,5", "1.2.3", "--1", "1e3", "9223372036854775808", " 1", &small]
        {
            assert_eq!(product(no, "1", 0), None, "{no}");
        }
        assert_eq!(product("9223372036854775807", "2", 0), None);
        assert_eq!(product("9223372036854775807", "1", 0), None);
    }

    #[test]
    fn what_others_follow_from_does_not_follow_itself() {
        for (mark, rule) in RULES {
            assert!(matches!(Term::of(mark), Term::Result(_)));
            let (Rule::Same(one) | Rule::Product(one, _, _)) = rule;
            assert!(Term::of(OPERANDS[one]) == Term::Operand(one));
        }
    }

    #[test]
    fn fields_are_found_in_their_order() {
        let file = b"<IdCodice>1</IdCodice><IdCodice>2</IdCodice><Denominazione>A</Denominazione>\
            <Denominazione>B</Denominazione><Data>x</Data><Numero>7";
        let found = fields(file);
        let expected: [&[u8]; FIELDS.len()] =
            [b"1", b"", b"2", b"A", b"", b"B", b"", b"", b"x", b"7", b""];
        assert_eq!(found, expected);
        let mut in_body = FIELDS_IN_BODY;
        in_body.sort_unstable();
        assert!(in_body.into_iter().eq(0..FIELDS.len()));
    }
}
