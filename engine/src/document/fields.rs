//! What stands in a flat document: keys, and under each the values not overwritten.
//!
//! Values borrow from the changes they were read from. It knows nothing of kinds.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use crate::id::BlobHash;

/// A value in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Uint(u64),
    Int(i64),
    /// Milliseconds since 1970.
    Time(i64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// Something no document of ours has: a float. It can be replaced, and is never read.
    Other,
}

impl<'a> Scalar<'a> {
    pub(crate) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub(crate) fn bytes(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }

    pub(crate) fn blob(hash: &'a BlobHash) -> Self {
        Self::bytes(hash.as_bytes())
    }
}

/// As the conflicts of a field are shown to people.
impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Bool(value) => value.fmt(f),
            Self::Uint(value) => value.fmt(f),
            Self::Int(value) | Self::Time(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
            Self::Bytes(value) => value.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Other => f.write_str("?"),
        }
    }
}

/// One value at one key, named by the operation that put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version<'a> {
    pub(crate) counter: u64,
    pub(crate) actor: [u8; 16],
    pub(crate) value: Scalar<'a>,
}

/// One field to write. What stands at `key` is replaced, in all its versions.
#[derive(Clone, Debug)]
pub(crate) struct Edit<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) value: Scalar<'a>,
}

impl<'a> Edit<'a> {
    pub(crate) fn new(key: &'a str, value: Scalar<'a>) -> Self {
        Self { key: Cow::Borrowed(key), value }
    }
}

/// Every key of a document with its versions, the winner first and never none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields<'a>(BTreeMap<Cow<'a, str>, Vec<Version<'a>>>);

impl<'a> Fields<'a> {
    /// Takes versions in whatever order and puts the winner first: the highest counter, then
    /// the highest actor, which is Automerge's rule.
    pub(crate) fn from_versions(mut versions: BTreeMap<Cow<'a, str>, Vec<Version<'a>>>) -> Self {
        versions.retain(|_, versions| {
            if versions.len() > 1 {
                versions.sort_by_key(|version| std::cmp::Reverse((version.counter, version.actor)));
            }
            !versions.is_empty()
        });
        Self(versions)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[Version<'a>])> {
        self.0.iter().map(|(key, versions)| (&**key, &versions[..]))
    }

    pub(crate) fn versions(&self, key: &str) -> &[Version<'a>] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// The winning value.
    pub(crate) fn value(&self, key: &str) -> Option<&Scalar<'a>> {
        self.versions(key).first().map(|version| &version.value)
    }

    /// The winning value if it is text, else nothing: an absent text is an empty one.
    pub(crate) fn text(&self, key: &str) -> String {
        match self.value(key) {
            Some(Scalar::Text(text)) => text.clone().into_owned(),
            _ => String::new(),
        }
    }

    pub(crate) fn uint(&self, key: &str) -> Option<u64> {
        match self.value(key) {
            Some(Scalar::Uint(value)) => Some(*value),
            _ => None,
        }
    }

    /// The winning value if it is a moment after 1970.
    pub(crate) fn time_ms(&self, key: &str) -> Option<u64> {
        match self.value(key) {
            Some(Scalar::Time(ms)) => u64::try_from(*ms).ok(),
            _ => None,
        }
    }

    pub(crate) fn blob(&self, key: &str) -> Option<BlobHash> {
        match self.value(key) {
            Some(Scalar::Bytes(bytes)) => {
                <[u8; 32]>::try_from(&**bytes).ok().map(BlobHash::from_bytes)
            }
            _ => None,
        }
    }
}
