//! From the text of the schemas to types. Refuses every construct that is not understood.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pattern::Pattern;
use super::simple::{Base, Simple, Space};
use crate::xml::{Element, Tree};

/// Why a schema cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the schema uses {what} {name:?}, which is not understood")]
pub(super) struct SchemaError {
    what: &'static str,
    name: String,
}

impl SchemaError {
    pub(super) fn new(what: &'static str, name: &str) -> Self {
        Self { what, name: name.chars().take(80).collect() }
    }
}

/// A reference to a type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type {
    Simple(usize),
    Complex(usize),
}

/// An element declaration.
#[derive(Clone, Debug)]
pub(super) struct Declaration {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) of: Type,
    pub(super) has_default: bool,
}

/// A complex type.
#[derive(Debug, Default)]
pub(super) struct Complex {
    pub(super) name: String,
    pub(super) is_mixed: bool,
    pub(super) content: Option<Particle>,
    /// The type of the text of simple content.
    pub(super) text: Option<usize>,
    pub(super) attributes: Vec<AttributeDeclaration>,
}

/// An attribute declaration.
#[derive(Clone, Debug)]
pub(super) struct AttributeDeclaration {
    pub(super) name: String,
    pub(super) of: usize,
    pub(super) is_required: bool,
    pub(super) fixed: Option<String>,
}

/// One piece of a content model, with how often it occurs.
#[derive(Debug)]
pub(super) struct Particle {
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) term: Term,
}

#[derive(Debug)]
pub(super) enum Term {
    Element(Declaration),
    /// A reference, looked up when a file is held against it.
    Reference(Arc<str>, Arc<str>),
    Sequence(Vec<Particle>),
    Choice(Vec<Particle>),
    /// True when only other namespaces are admitted.
    Any(bool, Arc<str>),
}

type Name = (Arc<str>, Arc<str>);

/// All types and global elements.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    pub(super) simple: Vec<Simple>,
    pub(super) complex: Vec<Complex>,
    pub(super) elements: BTreeMap<Name, Declaration>,
    types: BTreeMap<Name, Type>,
}

impl Schemas {
    pub(super) fn compile(texts: &[&str]) -> Result<Self, SchemaError> {
        let mut schemas = Self::default();
        for text in texts {
            let text = text.trim_start_matches('\u{FEFF}');
            let text = without_doctype(text);
            let tree =
                Tree::parse(&text).map_err(|error| SchemaError::new("XML", &error.to_string()))?;
            let root = tree.root();
            let target: Arc<str> = root.attribute("targetNamespace").unwrap_or_default().into();
            Compiler { schemas: &mut schemas, root, target }.run()?;
        }
        Ok(schemas)
    }
}

/// The official xmldsig schema has a DOCTYPE that names its own DTD, which we do not read.
fn without_doctype(text: &str) -> String {
    match (text.find("<!DOCTYPE"), text.find("]>")) {
        (Some(from), Some(to)) if from < to => format!("{}{}", &text[..from], &text[to + 2..]),
        _ => text.to_owned(),
    }
}

struct Compiler<'s, 't> {
    schemas: &'s mut Schemas,
    root: Element<'t>,
    target: Arc<str>,
}

impl<'t> Compiler<'_, 't> {
    fn run(&mut self) -> Result<(), SchemaError> {
        // Named types get their places first, so that they may refer to each other.
        for global in self.root.children() {
            let Some(name) = global.attribute("name") else { continue };
            let of = match global.name() {
                "complexType" => {
                    let complex = Complex { name: name.to_owned(), ..Complex::default() };
                    self.schemas.complex.push(complex);
                    Type::Complex(self.schemas.complex.len() - 1)
                }
                "simpleType" => {
                    self.schemas.simple.push(Simple::of(Base::Text, Space::Preserve));
                    Type::Simple(self.schemas.simple.len() - 1)
                }
                _ => continue,
            };
            self.schemas.types.insert((self.target.clone(), name.into()), of);
        }
        // Simple types may restrict one another in any order: repeat until none is left.
        let mut waiting: Vec<_> =
            self.root.children().filter(|global| global.name() == "simpleType").collect();
        let mut done: Vec<&str> = Vec::new();
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut later = Vec::new();
            for global in waiting {
                let base = global.child("restriction").and_then(|r| r.attribute("base"));
                let base = base.map_or("", local);
                let is_ours = self.root.children().any(|other| {
                    other.name() == "simpleType" && other.attribute("name") == Some(base)
                });
                if is_ours && !done.contains(&base) && !self.is_xs(global, base) {
                    later.push(global);
                    continue;
                }
                let simple = self.simple(global)?;
                let name = global.attribute("name").unwrap_or_default();
                if let Some(Type::Simple(place)) = self.named(&self.target.clone(), name) {
                    self.schemas.simple[place] = simple;
                }
                done.push(name);
            }
            waiting = later;
            if waiting.len() == before {
                return Err(SchemaError::new("circular simple types in", &self.target));
            }
        }
        for global in self.root.children() {
            let name = global.attribute("name").unwrap_or_default();
            match global.name() {
                "complexType" => {
                    let complex = self.complex(global)?;
                    if let Some(Type::Complex(place)) = self.named(&self.target.clone(), name) {
                        self.schemas.complex[place] = complex;
                    }
                }
                "element" => {
                    let declaration = self.declaration(global, true)?;
                    self.schemas.elements.insert((self.target.clone(), name.into()), declaration);
                }
                "simpleType" | "annotation" | "import" => {}
                other => return Err(SchemaError::new("a global", other)),
            }
        }
        Ok(())
    }

    /// True when an unprefixed name means a built-in type because the default namespace is XSD's.
    fn is_xs(&self, at: Element<'t>, base: &str) -> bool {
        !at.qualified_name().contains(':') && builtin(base).is_some()
    }

    fn named(&self, namespace: &str, name: &str) -> Option<Type> {
        self.schemas.types.get(&(namespace.into(), name.into())).copied()
    }

    /// Resolves a type name: built in, of this schema, or of the signature schema.
    fn resolve(&mut self, at: Element<'t>, name: &str) -> Result<Type, SchemaError> {
        let (prefix, local) = name.split_once(':').unwrap_or(("", name));
        let is_builtin =
            matches!(prefix, "xs" | "xsd") || prefix.is_empty() && self.is_xs(at, local);
        if is_builtin {
            let simple = builtin(local).ok_or_else(|| SchemaError::new("type", name))?;
            self.schemas.simple.push(simple);
            return Ok(Type::Simple(self.schemas.simple.len() - 1));
        }
        self.named(&self.target.clone(), local).ok_or_else(|| SchemaError::new("type", name))
    }

    fn simple_place(&mut self, at: Element<'t>, name: &str) -> Result<usize, SchemaError> {
        match self.resolve(at, name)? {
            Type::Simple(place) => Ok(place),
            Type::Complex(_) => Err(SchemaError::new("a complex type as text", name)),
        }
    }

    fn simple(&mut self, of: Element<'t>) -> Result<Simple, SchemaError> {
        let restriction =
            of.child("restriction").ok_or_else(|| SchemaError::new("simple type", of.name()))?;
        let base = restriction.attribute("base").unwrap_or_default();
        let place = self.simple_place(restriction, base)?;
        let mut simple = self.schemas.simple[place].clone();
        let mut patterns = Vec::new();
        let mut values = Vec::new();
        for facet in restriction.children() {
            let value = facet.attribute("value").unwrap_or_default();
            let number = || value.parse().map_err(|_| SchemaError::new("facet value", value));
            match facet.name() {
                "annotation" => {}
                "pattern" => patterns.push(Pattern::compile(value)?),
                "enumeration" => values.push(value.to_owned()),
                "length" => {
                    simple.length_min = Some(number()?);
                    simple.length_max = Some(number()?);
                }
                "minLength" => simple.length_min = Some(number()?),
                "maxLength" => simple.length_max = Some(number()?),
                "totalDigits" => simple.total_digits = Some(number()?),
                "minInclusive" => simple.min = Some(value.to_owned()),
                "maxInclusive" => simple.max = Some(value.to_owned()),
                "whiteSpace" => {
                    simple.space = match value {
                        "collapse" => Space::Collapse,
                        "replace" => Space::Replace,
                        _ => return Err(SchemaError::new("whiteSpace", value)),
                    }
                }
                other => return Err(SchemaError::new("facet", other)),
            }
        }
        if !patterns.is_empty() {
            simple.patterns.push(Arc::new(patterns));
        }
        if !values.is_empty() {
            simple.values = Some(Arc::new(values));
        }
        Ok(simple)
    }

    fn complex(&mut self, of: Element<'t>) -> Result<Complex, SchemaError> {
        let mut complex = Complex {
            name: of.attribute("name").unwrap_or_default().to_owned(),
            is_mixed: of.attribute("mixed") == Some("true"),
            ..Complex::default()
        };
        for child in of.children() {
            match child.name() {
                "annotation" => {}
                "sequence" | "choice" => complex.content = Some(self.particle(child)?),
                "attribute" => complex.attributes.push(self.attribute(child)?),
                "simpleContent" => {
                    let extension = child
                        .child("extension")
                        .ok_or_else(|| SchemaError::new("simple content", &complex.name))?;
                    let base = extension.attribute("base").unwrap_or_default();
                    complex.text = Some(self.simple_place(extension, base)?);
                    for attribute in extension.children() {
                        complex.attributes.push(self.attribute(attribute)?);
                    }
                }
                other => return Err(SchemaError::new("content", other)),
            }
        }
        Ok(complex)
    }

    fn attribute(&mut self, of: Element<'t>) -> Result<AttributeDeclaration, SchemaError> {
        if of.name() != "attribute" {
            return Err(SchemaError::new("attribute", of.name()));
        }
        let type_name = of.attribute("type").unwrap_or_default();
        Ok(AttributeDeclaration {
            name: of.attribute("name").unwrap_or_default().to_owned(),
            of: self.simple_place(of, type_name)?,
            is_required: of.attribute("use") == Some("required"),
            fixed: of.attribute("fixed").map(str::to_owned),
        })
    }

    fn particle(&mut self, of: Element<'t>) -> Result<Particle, SchemaError> {
        let occurs = |name, default| match of.attribute(name) {
            None => Ok(default),
            Some("unbounded") => Ok(usize::MAX),
            Some(count) => count.parse().map_err(|_| SchemaError::new(name, count)),
        };
        let (min, max) = (occurs("minOccurs", 1)?, occurs("maxOccurs", 1)?);
        let term = match of.name() {
            "element" => match of.attribute("ref") {
                // Only the signature schema is ever referred to.
                Some(name) => {
                    let namespace = if name.starts_with("ds:") {
                        "http://www.w3.org/2000/09/xmldsig#".into()
                    } else {
                        self.target.clone()
                    };
                    Term::Reference(namespace, local(name).into())
                }
                None => Term::Element(self.declaration(of, false)?),
            },
            "sequence" | "choice" => {
                let mut particles = Vec::new();
                for child in of.children().filter(|child| child.name() != "annotation") {
                    particles.push(self.particle(child)?);
                }
                if of.name() == "sequence" {
                    Term::Sequence(particles)
                } else {
                    Term::Choice(particles)
                }
            }
            "any" => match of.attribute("namespace") {
                Some("##other") => Term::Any(true, self.target.clone()),
                Some("##any") | None => Term::Any(false, self.target.clone()),
                Some(other) => return Err(SchemaError::new("any of namespace", other)),
            },
            other => return Err(SchemaError::new("particle", other)),
        };
        Ok(Particle { min, max, term })
    }

    /// Global elements are qualified; local ones only where the schema says so (the signature's).
    fn declaration(
        &mut self,
        of: Element<'t>,
        is_global: bool,
    ) -> Result<Declaration, SchemaError> {
        let is_qualified =
            is_global || self.root.attribute("elementFormDefault") == Some("qualified");
        let type_of = match of.attribute("type") {
            Some(name) => self.resolve(of, name)?,
            None => return Err(SchemaError::new("an untyped element", of.name())),
        };
        Ok(Declaration {
            namespace: if is_qualified { self.target.clone() } else { "".into() },
            name: of.attribute("name").unwrap_or_default().into(),
            of: type_of,
            has_default: of.attribute("default").is_some(),
        })
    }
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn builtin(name: &str) -> Option<Simple> {
    Some(match name {
        "string" => Simple::of(Base::Text, Space::Preserve),
        "normalizedString" => Simple::of(Base::Text, Space::Replace),
        "token" => Simple::of(Base::Text, Space::Collapse),
        "anyURI" => Simple::of(Base::AnyUri, Space::Collapse),
        "ID" => Simple::of(Base::Id, Space::Collapse),
        "date" => Simple::of(Base::Date, Space::Collapse),
        "dateTime" => Simple::of(Base::DateTime, Space::Collapse),
        "integer" => Simple::of(Base::Integer, Space::Collapse),
        "nonNegativeInteger" => Simple::of(Base::NonNegativeInteger, Space::Collapse),
        "positiveInteger" => Simple::of(Base::PositiveInteger, Space::Collapse),
        "decimal" => Simple::of(Base::Decimal, Space::Collapse),
        "base64Binary" => Simple::of(Base::Base64, Space::Collapse),
        _ => return None,
    })
}
