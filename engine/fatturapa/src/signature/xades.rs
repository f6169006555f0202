//! XAdES-BES enveloped in the XML (ETSI TS 101 903 over XML Signature), with the XPath Filter 2.0
//! transform that the SdI uses. Knows the transforms seen in invoices; another one is a named fault.

use std::ops::Range;

use super::{Form, Signature, Trust};
use crate::certificate::{Certificate, Hash};
use crate::date::Date;
use crate::envelope::from_base64;
use crate::limits;
use crate::messages::is_date_time;
use crate::xml::{Element, Mode, Tree, canonical};

const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
/// References verified in one signature: XAdES uses three.
const REFERENCES_MAX: usize = 16;
/// Signatures verified in one file: each costs a pass over it.
const SIGNATURES_MAX: usize = 4;

/// Verifies the signatures that are children of the root.
#[must_use]
pub fn xades(source: &str, tree: &Tree<'_>, trust: Trust<'_>, received_at: i64) -> Vec<Signature> {
    let is_signature = |e: &Element<'_>| e.name() == "Signature" && e.namespace() == DS;
    let all: Vec<_> = tree.root().children().filter(is_signature).collect();
    let holes: Vec<_> = all.iter().map(|signature| signature.range()).collect();
    all.iter()
        .take(SIGNATURES_MAX)
        .map(|at| {
            let mut run = Run { source, tree, holes: &holes, out: Signature::new(Form::Xades) };
            run.verify(*at, trust, received_at);
            run.out
        })
        .collect()
}

struct Run<'s, 't> {
    source: &'s str,
    tree: &'t Tree<'t>,
    holes: &'s [Range<usize>],
    out: Signature,
}

impl<'t> Run<'_, 't> {
    fn verify(&mut self, at: Element<'t>, trust: Trust<'_>, received_at: i64) {
        let Some(info) = at.child("SignedInfo") else {
            return self.out.fault("00102", "La firma non dice che cosa firma.");
        };
        let references = info.children().filter(|child| child.name() == "Reference");
        let mut covers = Vec::new();
        for (count, reference) in references.enumerate() {
            if count == REFERENCES_MAX {
                return self.out.fault("00102", "La firma ha troppi riferimenti.");
            }
            match self.reference(reference, at) {
                Ok(range) => covers.push(range),
                Err(why) => self.out.fault("00102", why),
            }
        }
        let root = self.tree.root().range();
        if self.out.faults.is_empty()
            && !covers.iter().any(|range| range.start <= root.start && root.end <= range.end)
        {
            self.out.fault("00102", "La firma non copre tutto il documento.");
        }
        let der: Vec<Vec<u8>> = at
            .child("KeyInfo")
            .into_iter()
            .flat_map(Element::children)
            .filter(|data| data.name() == "X509Data")
            .flat_map(Element::children)
            .filter(|certificate| certificate.name() == "X509Certificate")
            .filter_map(|certificate| from_base64(certificate.text().as_bytes()))
            .take(8)
            .collect();
        let certificates: Vec<_> =
            der.iter().filter_map(|der| Certificate::parse(der).ok()).collect();
        let Some(value) = at.child("SignatureValue").and_then(|v| from_base64(v.text().as_bytes()))
        else {
            return self.out.fault("00102", "Manca il valore della firma.");
        };
        let Some(signed) = self.signed_info(info) else {
            return self.out.fault("00102", "La forma canonica usata non è fra quelle ammesse.");
        };
        let method = info.child("SignatureMethod").and_then(|m| m.attribute("Algorithm"));
        let Some(hash) = method.and_then(hash_of) else {
            let found = method.unwrap_or_default();
            return self
                .out
                .fault("00102", format!("L'algoritmo {found} non è fra quelli ammessi."));
        };
        let Some(first) = certificates.first() else {
            return self.out.fault("00107", "Nella firma manca il certificato del firmatario.");
        };
        let right = certificates.iter().find(|c| c.verifies(hash, &signed, &value, true));
        if right.is_none() {
            self.out.fault("00102", "La firma non corrisponde al certificato.");
        }
        self.out.is_intact = self.out.faults.is_empty();
        self.out.signed_at = self.signing_time(at, &covers);
        self.out.judge(right.unwrap_or(first), &certificates, trust, received_at);
    }

    /// Verifies one reference and tells which part of the text it covers.
    fn reference(&self, of: Element<'t>, signature: Element<'t>) -> Result<Range<usize>, String> {
        let uri = of.attribute("URI").unwrap_or_default();
        let part = if uri.is_empty() {
            0..self.source.len()
        } else {
            let id = uri.strip_prefix('#').ok_or("La firma si riferisce a un altro file.")?;
            let mut found = self.with_id(id);
            let part = found.next().ok_or_else(|| format!("Manca la parte firmata {id}."))?;
            if found.next().is_some() {
                return Err(format!("L'identificatore {id} è usato due volte."));
            }
            part
        };
        let mut mode = Mode::Inclusive;
        let mut holes: Vec<Range<usize>> = Vec::new();
        let transforms = of.child("Transforms").into_iter().flat_map(Element::children);
        for transform in transforms {
            match transform.attribute("Algorithm").unwrap_or_default() {
                "http://www.w3.org/2000/09/xmldsig#enveloped-signature" => {
                    holes.push(signature.range());
                }
                "http://www.w3.org/2002/06/xmldsig-filter2" => {
                    for path in transform.children() {
                        let is_known = matches!(
                            path.text().trim().trim_start_matches('/'),
                            "descendant::ds:Signature"
                                | "descendant-or-self::ds:Signature"
                                | "ds:Signature"
                        );
                        if path.attribute("Filter") != Some("subtract") || !is_known {
                            return Err(
                                "La firma usa un filtro XPath che non è ammesso.".to_owned()
                            );
                        }
                        holes.extend(self.holes.iter().cloned());
                    }
                }
                "http://www.w3.org/TR/1999/REC-xpath-19991116" => {
                    let path = transform.child("XPath").map_or("", Element::text);
                    let compact: String = path.chars().filter(|c| !c.is_whitespace()).collect();
                    if compact != "not(ancestor-or-self::ds:Signature)" {
                        return Err("La firma usa un filtro XPath che non è ammesso.".to_owned());
                    }
                    holes.extend(self.holes.iter().cloned());
                }
                algorithm => {
                    mode = mode_of(algorithm, transform)
                        .ok_or_else(|| format!("La firma usa {algorithm}, che non è ammesso."))?;
                }
            }
        }
        let bytes = canonical(self.source, &part, &holes, &mode)
            .ok_or("La parte firmata non si può leggere.")?;
        let method = of.child("DigestMethod").and_then(|m| m.attribute("Algorithm"));
        let hash = method.and_then(hash_of).ok_or("L'algoritmo di impronta non è ammesso.")?;
        let stated = of.child("DigestValue").and_then(|v| from_base64(v.text().as_bytes()));
        if stated.as_deref() == Some(hash.digest(&bytes).as_ref()) {
            Ok(part)
        } else {
            let what = if uri.is_empty() { "Il documento firmato" } else { "Un dato della firma" };
            Err(format!("{what} è stato modificato dopo la firma."))
        }
    }

    fn signed_info(&self, info: Element<'t>) -> Option<Vec<u8>> {
        let method = info.child("CanonicalizationMethod")?;
        let mode = mode_of(method.attribute("Algorithm")?, method)?;
        canonical(self.source, &info.range(), &[], &mode)
    }

    /// SigningTime, only from properties that the signature covers.
    fn signing_time(&self, at: Element<'t>, covers: &[Range<usize>]) -> Option<i64> {
        let properties = at
            .children()
            .filter(|child| child.name() == "Object")
            .flat_map(Element::children)
            .find_map(|q| q.child("SignedProperties"))?;
        let own = properties.range();
        covers.iter().any(|range| range.start == own.start && range.end == own.end).then_some(())?;
        unix(properties.child("SignedSignatureProperties")?.child("SigningTime")?.text())
    }

    fn with_id<'r>(&'r self, id: &'r str) -> impl Iterator<Item = Range<usize>> + 'r {
        let mut waiting = vec![self.tree.root()];
        std::iter::from_fn(move || {
            while let Some(element) = waiting.pop() {
                waiting.extend(element.children());
                let has = ["Id", "ID", "id"].iter().any(|name| element.attribute(name) == Some(id));
                if has {
                    return Some(element.range());
                }
            }
            None
        })
        .take(limits::XML_DEPTH_MAX)
    }
}

fn mode_of(algorithm: &str, at: Element<'_>) -> Option<Mode> {
    match algorithm {
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
        | "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments"
        | "http://www.w3.org/2006/12/xml-c14n11" => Some(Mode::Inclusive),
        "http://www.w3.org/2001/10/xml-exc-c14n#"
        | "http://www.w3.org/2001/10/xml-exc-c14n#WithComments" => {
            let list = at.child("InclusiveNamespaces").and_then(|i| i.attribute("PrefixList"));
            let list = list.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
            Some(Mode::Exclusive(list))
        }
        _ => None,
    }
}

/// The hash named by a digest or signature URI (RFC 9231).
fn hash_of(uri: &str) -> Option<Hash> {
    match uri.rsplit(['#', '-']).next()? {
        "sha1" => Some(Hash::Sha1),
        "sha256" => Some(Hash::Sha256),
        "sha384" => Some(Hash::Sha384),
        "sha512" => Some(Hash::Sha512),
        _ => None,
    }
}

/// An `xs:dateTime` in seconds since 1970-01-01 UTC; without zone it is taken for UTC.
fn unix(text: &str) -> Option<i64> {
    let text = text.trim();
    is_date_time(text).then_some(())?;
    let date = Date::parse(&text[..10])?;
    let two = |at: usize| text.get(at..at + 2)?.parse::<i64>().ok();
    let seconds = two(11)? * 3600 + two(14)? * 60 + two(17)?;
    let zone = match text.rfind(['+', '-']).filter(|at| *at > 10) {
        Some(at) => {
            let offset = two(at + 1)? * 3600 + two(at + 4)? * 60;
            if text.as_bytes()[at] == b'-' { -offset } else { offset }
        }
        None => 0,
    };
    Some(date.days() * 86_400 + seconds - zone)
}
