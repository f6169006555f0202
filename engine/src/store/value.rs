//! A value as it is written: whole, or in parts that lie elsewhere.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;

/// The bytes of a value. A bundle's row is its head, its body and its files, and the last two lie in
/// the run in which they came: a store puts them one after the other when it writes, and nothing
/// before that copies them. A clone shares them.
#[derive(Clone, Debug)]
pub struct Value(Parts);

#[derive(Clone, Debug)]
enum Parts {
    Whole(Bytes),
    Joined(Arc<[Bytes; 3]>),
}

impl Value {
    /// Three parts that follow one another.
    #[must_use]
    pub fn joined(parts: [Bytes; 3]) -> Self {
        Self(Parts::Joined(Arc::new(parts)))
    }

    /// Its parts, in order.
    #[must_use]
    pub fn parts(&self) -> &[Bytes] {
        match &self.0 {
            Parts::Whole(all) => std::slice::from_ref(all),
            Parts::Joined(parts) => &parts[..],
        }
    }

    /// Its bytes in one piece, copied where they lie in several.
    #[must_use]
    pub fn contiguous(&self) -> Cow<'_, [u8]> {
        match &self.0 {
            Parts::Whole(all) => Cow::Borrowed(all),
            Parts::Joined(parts) => Cow::Owned(parts.concat()),
        }
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts().iter().map(Bytes::len).sum()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self(Parts::Whole(Bytes::from(value)))
    }
}

impl From<Value> for Vec<u8> {
    fn from(value: Value) -> Self {
        match value.0 {
            Parts::Whole(all) => Self::from(all),
            Parts::Joined(parts) => parts.concat(),
        }
    }
}

/// Of the same bytes, wherever they lie.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.contiguous() == other.contiguous()
    }
}

impl Eq for Value {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_parts_is_the_value_in_one_piece() {
        let parts = [&b"head"[..], b"", b"files"].map(Bytes::from_static);
        let (joined, whole) = (Value::joined(parts), Value::from(b"headfiles".to_vec()));
        assert_eq!(joined, whole);
        assert_eq!((joined.len(), joined.parts().len(), whole.parts().len()), (9, 3, 1));
        assert_eq!(joined.contiguous(), whole.contiguous());
        assert_eq!(Vec::from(joined), Vec::from(whole));
        assert!(Value::from(Vec::new()).is_empty());
    }
}
