//! Patterns of the schemas (XSD 1.0 part 2, appendix F), matched against whole values. Values are
//! bounded by the length facets before they come here, so that backtracking stays small.

use super::compile::SchemaError;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    source: String,
    node: Node,
}

#[derive(Debug)]
enum Node {
    Class(Class),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat(Box<Node>, usize, usize),
}

#[derive(Debug)]
struct Class {
    is_negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn admits(&self, c: char) -> bool {
        self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != self.is_negated
    }
}

impl Pattern {
    pub(super) fn compile(source: &str) -> Result<Self, SchemaError> {
        let mut parser = Parser { rest: source };
        let node = parser.choice().filter(|_| parser.rest.is_empty());
        let node = node.ok_or_else(|| SchemaError::new("pattern", source))?;
        Ok(Self { source: source.to_owned(), node })
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        matches(&self.node, text, &mut |rest| rest.is_empty())
    }
}

/// Matches a node at the beginning of a text and asks `then` about what follows.
fn matches(node: &Node, text: &str, then: &mut dyn FnMut(&str) -> bool) -> bool {
    match node {
        Node::Class(class) => {
            let mut chars = text.chars();
            chars.next().is_some_and(|c| class.admits(c)) && then(chars.as_str())
        }
        Node::Choice(nodes) => nodes.iter().any(|node| matches(node, text, then)),
        Node::Sequence(nodes) => match nodes.split_first() {
            None => then(text),
            Some((first, rest)) => {
                matches(first, text, &mut |text| sequence(rest, text, &mut *then))
            }
        },
        Node::Repeat(inner, min, max) => match &**inner {
            Node::Class(class) => repeat_class(class, *min, *max, text, then),
            inner => repeat(inner, *min, *max, text, then),
        },
    }
}

fn sequence(nodes: &[Node], text: &str, then: &mut dyn FnMut(&str) -> bool) -> bool {
    match nodes.split_first() {
        None => then(text),
        Some((first, rest)) => matches(first, text, &mut |text| sequence(rest, text, &mut *then)),
    }
}

fn repeat_class(
    class: &Class,
    min: usize,
    max: usize,
    text: &str,
    then: &mut dyn FnMut(&str) -> bool,
) -> bool {
    let mut taken = 0;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        if taken == max || !class.admits(c) {
            break;
        }
        taken += 1;
        end = at + c.len_utf8();
    }
    loop {
        if taken < min {
            return false;
        }
        if then(&text[end..]) {
            return true;
        }
        let Some(last) = text[..end].chars().next_back() else { return false };
        end -= last.len_utf8();
        taken -= 1;
    }
}

fn repeat(
    inner: &Node,
    min: usize,
    max: usize,
    text: &str,
    then: &mut dyn FnMut(&str) -> bool,
) -> bool {
    let again = max > 0
        && matches(inner, text, &mut |rest| {
            rest.len() < text.len()
                && repeat(inner, min.saturating_sub(1), max - 1, rest, &mut *then)
        });
    again || (min == 0 && then(text))
}

struct Parser<'s> {
    rest: &'s str,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn choice(&mut self) -> Option<Node> {
        let first = self.sequence()?;
        if self.peek() != Some('|') {
            return Some(first);
        }
        let mut branches = vec![first];
        while self.peek() == Some('|') {
            self.take();
            branches.push(self.sequence()?);
        }
        Some(Node::Choice(branches))
    }

    fn sequence(&mut self) -> Option<Node> {
        let mut nodes = Vec::new();
        while !matches!(self.peek(), None | Some('|' | ')')) {
            let atom = self.atom()?;
            nodes.push(self.quantified(atom)?);
        }
        // Most patterns are one class with a count: without wrapping they match in one loop.
        if nodes.len() == 1 { nodes.pop() } else { Some(Node::Sequence(nodes)) }
    }

    fn quantified(&mut self, atom: Node) -> Option<Node> {
        let (min, max) = match self.peek() {
            Some('?') => (0, 1),
            Some('*') => (0, usize::MAX),
            Some('+') => (1, usize::MAX),
            Some('{') => {
                let (inside, rest) = self.rest[1..].split_once('}')?;
                self.rest = rest;
                let (min, max) = match inside.split_once(',') {
                    None => (inside, inside),
                    Some(both) => both,
                };
                let max = if max.is_empty() { usize::MAX } else { max.parse().ok()? };
                return Some(Node::Repeat(Box::new(atom), min.parse().ok()?, max));
            }
            _ => return Some(atom),
        };
        self.take();
        Some(Node::Repeat(Box::new(atom), min, max))
    }

    fn atom(&mut self) -> Option<Node> {
        match self.take()? {
            '(' => {
                let inner = self.choice()?;
                (self.take()? == ')').then_some(inner)
            }
            '[' => self.class().map(Node::Class),
            '.' => {
                let ranges = vec![('\n', '\n'), ('\r', '\r')];
                Some(Node::Class(Class { is_negated: true, ranges }))
            }
            '\\' => {
                let ranges = self.escape()?;
                Some(Node::Class(Class { is_negated: false, ranges }))
            }
            '?' | '*' | '+' | '{' | '}' | ']' => None,
            c => Some(Node::Class(Class { is_negated: false, ranges: vec![(c, c)] })),
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Option<Vec<(char, char)>> {
        Some(match self.take()? {
            't' => vec![('\t', '\t')],
            'n' => vec![('\n', '\n')],
            'r' => vec![('\r', '\r')],
            'd' => vec![('0', '9')],
            'p' => {
                let (name, rest) = self.rest.strip_prefix('{')?.split_once('}')?;
                self.rest = rest;
                match name {
                    "IsBasicLatin" => vec![('\0', '\u{7F}')],
                    "IsLatin-1Supplement" => vec![('\u{80}', '\u{FF}')],
                    _ => return None,
                }
            }
            c if c.is_ascii_alphanumeric() => return None,
            c => vec![(c, c)],
        })
    }

    /// What follows an opening bracket.
    fn class(&mut self) -> Option<Class> {
        let is_negated = self.peek() == Some('^');
        if is_negated {
            self.take();
        }
        let mut ranges = Vec::new();
        loop {
            let from = match self.take()? {
                ']' => break,
                '\\' => {
                    let escaped = self.escape()?;
                    if let [(from, to)] = escaped[..]
                        && from == to
                    {
                        from
                    } else {
                        ranges.extend(escaped);
                        continue;
                    }
                }
                c => c,
            };
            // A hyphen is a range unless it stands first or last.
            let mut ahead = self.rest.chars();
            let is_range = ahead.next() == Some('-') && !matches!(ahead.next(), None | Some(']'));
            if is_range && !(from == '-' && ranges.is_empty()) {
                self.take();
                let to = match self.take()? {
                    '\\' => self.escape()?.first()?.0,
                    c => c,
                };
                if to < from {
                    return None;
                }
                ranges.push((from, to));
            } else {
                ranges.push((from, from));
            }
        }
        Some(Class { is_negated, ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_the_schemas_match_whole_values() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(Pattern::compile(pattern).unwrap().matches(text), expected, "{text}");
        };
        check("[0-9]{1,3}\\.[0-9]{2}", "22.00", true);
        check("[0-9]{1,3}\\.[0-9]{2}", "22.0", false);
        check("[0-9]{1,3}\\.[0-9]{2}", "22,00", false);
        check("[\\-]?[0-9]{1,11}\\.[0-9]{2}", "-1.00", true);
        check("(\\p{IsBasicLatin}{1,5})", "abcdè", false);
        check("[\\p{IsBasicLatin}\\p{IsLatin-1Supplement}]{1,5}", "abcdè", true);
        check("[\\p{IsBasicLatin}\\p{IsLatin-1Supplement}]{1,5}", "€", false);
        check("[\\p{IsBasicLatin}\\p{IsLatin-1Supplement}]{1,5}", "abcdef", false);
        check("[A-Z]{6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3}){0,1}", "UNCRITMM", true);
        check("[A-Z]{6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3}){0,1}", "UNCRITMMXXX", true);
        check("[A-Z]{6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3}){0,1}", "UNCRITMMX", false);
        check(".+@.+[.]+.+", "a@b.c", true);
        check(".+@.+[.]+.+", "a@b", false);
        let email = r#"([!#-'*+/-9=?A-Z^-~-]+(\.[!#-'*+/-9=?A-Z^-~-]+)*|"(\[\]!#-[^-~ \t]|(\\[\t -~]))+")@([!#-'*+/-9=?A-Z^-~-]+(\.[!#-'*+/-9=?A-Z^-~-]+)*|\[[\t -Z^-~]*\])"#;
        check(email, "alfa.beta-x@pec.example.it", true);
        check(email, "alfa beta@pec.example.it", false);
        check(email, "alfa@", false);
    }
}
