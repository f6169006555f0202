//! A file held against the compiled schemas. Goes on after a fault where the rest can still be judged.

use std::collections::BTreeSet;

use super::SchemaFault;
use super::compile::{Complex, Declaration, Particle, Schemas, Term, Type};
use super::simple::Base;
use crate::xml::{Element, Tree, is_space};

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

pub(super) fn run(schemas: &Schemas, tree: &Tree<'_>, max: usize) -> Vec<SchemaFault> {
    let root = tree.root();
    let mut run = Run { schemas, faults: Vec::new(), max, ids: BTreeSet::new() };
    match schemas.elements.get(&(root.namespace().into(), root.name().into())) {
        Some(declaration) => run.element(root, declaration),
        None => {
            let sentence = format!(
                "La radice <{}> nello spazio dei nomi «{}» non è prevista da nessuno schema in vigore.",
                root.name(),
                root.namespace()
            );
            let expected =
                "http://ivaservizi.agenziaentrate.gov.it/docs/xsd/fatture/v1.2".to_owned();
            run.report(root, sentence, Some(root.namespace().to_owned()), Some(expected));
        }
    }
    run.faults
}

struct Run<'s, 't> {
    schemas: &'s Schemas,
    faults: Vec<SchemaFault>,
    max: usize,
    /// Values of xs:ID seen, which must differ.
    ids: BTreeSet<&'t str>,
}

/// What was wanted when a content model failed.
type Wanted = Vec<String>;

impl<'s, 't> Run<'s, 't> {
    fn is_full(&self) -> bool {
        self.faults.len() >= self.max
    }

    fn report(
        &mut self,
        at: Element<'t>,
        sentence: String,
        found: Option<String>,
        expected: Option<String>,
    ) {
        if !self.is_full() {
            let found = found.map(|text| text.chars().take(80).collect());
            let (path, line) = (at.path(), at.line());
            self.faults.push(SchemaFault { path, line, sentence, found, expected });
        }
    }

    fn element(&mut self, at: Element<'t>, declaration: &'s Declaration) {
        if self.is_full() {
            return;
        }
        match declaration.of {
            Type::Simple(place) => {
                self.attributes(at, None, "");
                if at.children().next().is_some() {
                    let sentence = format!("<{}> deve contenere solo un valore.", at.name());
                    return self.report(at, sentence, None, None);
                }
                if !(at.text().is_empty() && declaration.has_default) {
                    self.value(at, place);
                }
            }
            Type::Complex(place) => self.complex(at, &self.schemas.complex[place]),
        }
    }

    fn value(&mut self, at: Element<'t>, place: usize) {
        if let Some(why) = self.schemas.simple[place].refuses(at.text()) {
            let shown: String = at.text().trim().chars().take(40).collect();
            let sentence = if shown.is_empty() {
                format!("<{}> è vuoto: {why}.", at.name())
            } else {
                format!("Il valore «{shown}» di <{}> non è ammesso: {why}.", at.name())
            };
            self.report(at, sentence, Some(at.text().to_owned()), Some(why));
        }
    }

    fn complex(&mut self, at: Element<'t>, complex: &'s Complex) {
        self.attributes(at, Some(complex), &complex.name);
        if let Some(place) = complex.text {
            if at.children().next().is_some() {
                let sentence = format!("<{}> deve contenere solo un valore.", at.name());
                return self.report(at, sentence, None, None);
            }
            return self.value(at, place);
        }
        let has_text = at.has_mixed_text() || !at.text().bytes().all(is_space);
        if has_text && !complex.is_mixed {
            let sentence = format!("<{}> contiene del testo fuori dai suoi elementi.", at.name());
            let found = Some(at.text().trim().to_owned());
            self.report(at, sentence, found, None);
        }
        let children: Vec<Element<'t>> = at.children().collect();
        let mut place = 0;
        let result = match &complex.content {
            Some(particle) => self.particle(particle, &children, &mut place),
            None => Ok(()),
        };
        let wanted = match result {
            Ok(()) if place == children.len() => return,
            Ok(()) => Vec::new(),
            Err(wanted) => wanted,
        };
        let names = wanted.join("> o <");
        let expected = (!wanted.is_empty()).then(|| wanted.join(", "));
        match children.get(place) {
            Some(child) => {
                let tail = if wanted.is_empty() {
                    "qui non è previsto o è ripetuto troppe volte".to_owned()
                } else {
                    format!("qui era atteso <{names}>")
                };
                let unqualified =
                    if child.namespace().is_empty() || at.namespace() != child.namespace() {
                        ""
                    } else {
                        " (gli elementi interni vanno scritti senza spazio dei nomi)"
                    };
                let sentence =
                    format!("L'elemento <{}> non è ammesso: {tail}{unqualified}.", child.name());
                let child = *child;
                self.report(child, sentence, Some(child.name().to_owned()), expected);
            }
            None => {
                let sentence =
                    format!("Manca l'elemento obbligatorio <{names}> in <{}>.", at.name());
                self.report(at, sentence, None, expected);
            }
        }
        // What follows is still judged by its own type where the name tells it.
        for child in children.get(place..).unwrap_or_default() {
            let declaration = complex.content.as_ref().and_then(|p| declared(p, *child));
            if let Some(declaration) = declaration {
                self.element(*child, declaration);
            }
        }
    }

    fn particle(
        &mut self,
        particle: &'s Particle,
        children: &[Element<'t>],
        place: &mut usize,
    ) -> Result<(), Wanted> {
        let mut count = 0;
        // The commonest case, without asking twice for the name.
        if let Term::Element(declaration) = &particle.term {
            while count < particle.max && !self.is_full() {
                match children.get(*place).filter(|next| is_named(declaration, **next)) {
                    Some(next) => self.element(*next, declaration),
                    None => break,
                }
                *place += 1;
                count += 1;
            }
            return if count < particle.min && !self.is_full() {
                Err(vec![declaration.name.to_string()])
            } else {
                Ok(())
            };
        }
        while count < particle.max {
            if self.is_full() {
                *place = children.len();
                return Ok(());
            }
            let next = children.get(*place).copied();
            let starts = next.is_some_and(|next| starts(particle, next));
            if !starts && (count >= particle.min || is_emptiable(&particle.term)) {
                return Ok(());
            }
            let before = *place;
            self.term(&particle.term, children, place)?;
            if *place == before {
                return Ok(());
            }
            count += 1;
        }
        Ok(())
    }

    fn term(
        &mut self,
        term: &'s Term,
        children: &[Element<'t>],
        place: &mut usize,
    ) -> Result<(), Wanted> {
        let next = children.get(*place).copied();
        match term {
            Term::Sequence(particles) => {
                for particle in particles {
                    self.particle(particle, children, place)?;
                }
                Ok(())
            }
            Term::Choice(particles) => {
                match particles.iter().find(|p| next.is_some_and(|next| starts(p, next))) {
                    Some(particle) => self.particle(particle, children, place),
                    None => Err(particles.iter().flat_map(first_names).collect()),
                }
            }
            Term::Element(declaration) => match next.filter(|next| is_named(declaration, *next)) {
                Some(next) => {
                    *place += 1;
                    self.element(next, declaration);
                    Ok(())
                }
                None => Err(vec![declaration.name.to_string()]),
            },
            Term::Reference(namespace, name) => {
                let is_it =
                    |next: &Element<'_>| next.name() == &**name && next.namespace() == &**namespace;
                match next.filter(is_it) {
                    Some(next) => {
                        *place += 1;
                        self.lax(next);
                        Ok(())
                    }
                    None => Err(vec![format!("ds:{name}")]),
                }
            }
            Term::Any(..) => match next {
                Some(next) => {
                    *place += 1;
                    self.lax(next);
                    Ok(())
                }
                None => Err(vec!["altri elementi".to_owned()]),
            },
        }
    }

    /// Judges an element by its global declaration, if there is one, and looks inside otherwise.
    fn lax(&mut self, at: Element<'t>) {
        if self.is_full() {
            return;
        }
        match self.schemas.elements.get(&(at.namespace().into(), at.name().into())) {
            Some(declaration) => self.element(at, declaration),
            None => {
                for child in at.children() {
                    self.lax(child);
                }
            }
        }
    }

    fn attributes(&mut self, at: Element<'t>, of: Option<&'s Complex>, type_name: &str) {
        let declared = of.map_or(&[][..], |complex| &complex.attributes);
        for attribute in at.attributes() {
            if attribute.namespace == XSI {
                let is_fine = match attribute.name {
                    "schemaLocation" | "noNamespaceSchemaLocation" => true,
                    "type" => attribute.value.rsplit(':').next() == Some(type_name),
                    _ => false,
                };
                if is_fine {
                    continue;
                }
            }
            let declaration = declared
                .iter()
                .find(|d| attribute.namespace.is_empty() && d.name == attribute.name);
            let Some(declaration) = declaration else {
                let sentence =
                    format!("L'attributo «{}» non è previsto in <{}>.", attribute.name, at.name());
                self.report(at, sentence, Some(attribute.value.to_owned()), None);
                continue;
            };
            let simple = &self.schemas.simple[declaration.of];
            let why = simple.refuses(attribute.value).or_else(|| {
                let fixed =
                    declaration.fixed.as_ref().filter(|fixed| **fixed != attribute.value)?;
                Some(format!("il solo valore ammesso è {fixed}"))
            });
            let why = why.or_else(|| {
                let is_twice = simple.base == Base::Id && !self.ids.insert(attribute.value.trim());
                is_twice.then(|| "è già usato nel file".to_owned())
            });
            if let Some(why) = why {
                let sentence = format!(
                    "L'attributo «{}» di <{}> non è ammesso: {why}.",
                    attribute.name,
                    at.name()
                );
                self.report(at, sentence, Some(attribute.value.to_owned()), Some(why));
            }
        }
        for declaration in declared.iter().filter(|declaration| declaration.is_required) {
            if at.attribute(&declaration.name).is_none() {
                let sentence =
                    format!("Manca l'attributo «{}» in <{}>.", declaration.name, at.name());
                self.report(at, sentence, None, Some(declaration.name.clone()));
            }
        }
    }
}

fn is_named(declaration: &Declaration, element: Element<'_>) -> bool {
    element.name() == &*declaration.name && element.namespace() == &*declaration.namespace
}

fn starts(particle: &Particle, next: Element<'_>) -> bool {
    match &particle.term {
        Term::Element(declaration) => is_named(declaration, next),
        Term::Reference(namespace, name) => {
            next.name() == &**name && next.namespace() == &**namespace
        }
        Term::Any(is_other, target) => {
            !is_other || !next.namespace().is_empty() && next.namespace() != &**target
        }
        Term::Choice(particles) => particles.iter().any(|particle| starts(particle, next)),
        Term::Sequence(particles) => {
            for particle in particles {
                if starts(particle, next) {
                    return true;
                }
                if particle.min > 0 && !is_emptiable(&particle.term) {
                    return false;
                }
            }
            false
        }
    }
}

fn is_emptiable(term: &Term) -> bool {
    let empty = |particle: &Particle| particle.min == 0 || is_emptiable(&particle.term);
    match term {
        Term::Sequence(particles) => particles.iter().all(empty),
        Term::Choice(particles) => particles.iter().any(empty),
        _ => false,
    }
}

fn first_names(particle: &Particle) -> Vec<String> {
    match &particle.term {
        Term::Element(declaration) => vec![declaration.name.to_string()],
        Term::Reference(_, name) => vec![format!("ds:{name}")],
        Term::Any(..) => Vec::new(),
        Term::Choice(particles) => particles.iter().flat_map(first_names).collect(),
        Term::Sequence(particles) => particles.iter().take(1).flat_map(first_names).collect(),
    }
}

/// The declaration of a child of this name anywhere in the content model.
fn declared<'s>(particle: &'s Particle, child: Element<'_>) -> Option<&'s Declaration> {
    match &particle.term {
        Term::Element(declaration) => is_named(declaration, child).then_some(declaration),
        Term::Sequence(particles) | Term::Choice(particles) => {
            particles.iter().find_map(|particle| declared(particle, child))
        }
        _ => None,
    }
}
