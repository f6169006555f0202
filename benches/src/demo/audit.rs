//! The end: what every place holds, compared with what was fed, by SHA-256.
//!
//! Portals and nodes are asked with `list`, which reads every original back from their store
//! and hashes the bytes read. The files in the spool folders are read and hashed here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs, io,
    path::Path,
};

use engine::id::{BlobHash, VatNumber};
use node::originals::Listing;

use super::{
    feed::Ledger,
    process,
    samples::Way,
    town::{Company, Town},
};

/// Names listed for one fault before "and so many more".
const NAMES_MAX: usize = 5;

/// What one place holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub name: String,
    /// Files that belong there.
    pub due: usize,
    /// Of those, the ones that are there with the bytes that were fed.
    pub equal: usize,
    /// Names of those that are not.
    pub missing: Vec<String>,
    /// Files nobody fed: altered bytes, or damaged ones.
    pub altered: Vec<String>,
    /// Files of another tenant, or that went the other way.
    pub stray: Vec<String>,
}

/// Every place.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// One line of the table each.
    pub places: Vec<Place>,
}

impl Audit {
    /// Looks everywhere.
    ///
    /// # Errors
    /// When a service does not answer.
    pub fn of(town: &Town, ledger: &Ledger, records: &[Option<u64>]) -> io::Result<Self> {
        let mut places = Vec::new();
        for portal in &town.portals {
            let held = listed("staffetta-portal", &portal.config)?;
            places.push(Place::compare(
                format!("portal {}", portal.name),
                ledger,
                None,
                None,
                &held,
            ));
        }
        for (company, records) in town.companies.iter().zip(records) {
            let Company { name, vat, spool, papers, .. } = company;
            let held = listed("staffetta-node", &company.config)?;
            let place = format!("node {name} ({vat})");
            places.push(Place::compare(place, ledger, Some(*vat), None, &held));
            places.push(Place::counted(ledger, *vat, records.unwrap_or(0), *papers));
            for (folder, way) in [("taken", Way::Sent), ("in", Way::Received)] {
                let held = BTreeMap::from([(*vat, files(&spool.join(folder))?)]);
                let place = format!("  files in its {folder}/");
                places.push(Place::compare(place, ledger, Some(*vat), Some(way), &held));
            }
        }
        Ok(Self { places })
    }

    /// Whether nothing is missing, altered or in the wrong tenant.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.places.iter().all(Place::is_clean)
    }

    /// The table.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "  {:<28}{:>10}{:>14}{:>10}{:>10}{:>14}",
            "", "invoices", "bytes equal", "missing", "altered", "wrong tenant"
        );
        for place in &self.places {
            let Place { name, due, equal, missing, altered, stray } = place;
            let (missing, altered, stray) = (missing.len(), altered.len(), stray.len());
            let _ = writeln!(
                text,
                "  {name:<28}{due:>10}{equal:>14}{missing:>10}{altered:>10}{stray:>14}"
            );
        }
        for place in &self.places {
            for (fault, names) in [
                ("missing", &place.missing),
                ("altered", &place.altered),
                ("in the wrong tenant", &place.stray),
            ] {
                if !names.is_empty() {
                    let shown: Vec<_> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
                    let more = names.len() - shown.len();
                    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
                    let _ = writeln!(
                        text,
                        "  {fault} at {}: {}{more}",
                        place.name.trim(),
                        shown.join(", ")
                    );
                }
            }
        }
        text
    }
}

impl Place {
    /// Compares what is `held` by tenant with what of the ledger belongs to `vat` and `way`.
    #[must_use]
    pub fn compare(
        name: String,
        ledger: &Ledger,
        vat: Option<VatNumber>,
        way: Option<Way>,
        held: &BTreeMap<VatNumber, Held>,
    ) -> Self {
        let belongs = |fed: &super::feed::Fed| {
            vat.is_none_or(|vat| vat == fed.vat) && way.is_none_or(|way| way == fed.way)
        };
        let mut place = Self { name, ..Self::default() };
        for (hash, fed) in ledger.iter().filter(|(_, fed)| belongs(fed)) {
            place.due += 1;
            if held.get(&fed.vat).is_some_and(|held| held.hashes.contains(hash)) {
                place.equal += 1;
            } else {
                place.missing.push(fed.file_name.clone());
            }
        }
        for (tenant, held) in held {
            place.altered.extend(held.unreadable.iter().cloned());
            for hash in &held.hashes {
                match ledger.get(hash) {
                    None => place.altered.push(format!("{hash:.12} of {tenant}")),
                    Some(fed) if fed.vat != *tenant || !belongs(fed) => {
                        place.stray.push(format!("{} at {tenant}", fed.file_name));
                    }
                    Some(_) => {}
                }
            }
        }
        place
    }

    /// The mirror tells how many records it has and no hashes: only their number is compared, that
    /// of the `papers` included.
    fn counted(ledger: &Ledger, vat: VatNumber, records: u64, papers: usize) -> Self {
        let due = ledger.values().filter(|fed| fed.vat == vat).count() + papers;
        let records = usize::try_from(records).unwrap_or(usize::MAX);
        let mut place = Self {
            name: "  records in its mirror".to_owned(),
            due,
            equal: records.min(due),
            ..Self::default()
        };
        place.missing.extend((records..due).map(|_| "a record".to_owned()));
        if records > due {
            place.altered.push(format!("{} records too many", records - due));
        }
        place
    }

    fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.altered.is_empty() && self.stray.is_empty()
    }
}

/// What is held of one tenant.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// SHA-256 of every file, in hexadecimal.
    pub hashes: BTreeSet<String>,
    /// What cannot be read.
    pub unreadable: Vec<String>,
}

fn listed(program: &str, config: &Path) -> io::Result<BTreeMap<VatNumber, Held>> {
    let config = config.display().to_string();
    let text = process::run(program, &["list", "--json", "--config", &config])?;
    let answer: serde_json::Value = serde_json::from_str(&text)?;
    let listings: Vec<Listing> = serde_json::from_value(answer["tenants"].clone())?;
    listings
        .into_iter()
        .map(|Listing { vat, originals, unreadable }| {
            let vat = VatNumber::parse(&vat).map_err(io::Error::other)?;
            let hashes = originals.into_iter().map(|original| original.sha256).collect();
            Ok((vat, Held { hashes, unreadable }))
        })
        .collect()
}

fn files(folder: &Path) -> io::Result<Held> {
    let mut held = Held::default();
    for file in fs::read_dir(folder)? {
        let bytes = fs::read(file?.path())?;
        held.hashes.insert(BlobHash::of(&bytes).to_string());
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::feed::Fed;

    fn fed(vat: VatNumber, name: &str) -> Fed {
        Fed { vat, way: Way::Sent, file_name: name.to_owned(), bytes: 1, pristine: true }
    }

    #[test]
    fn missing_altered_and_strayed_files_are_told_apart() {
        let [one, two] = ["03100000235", "01200000154"].map(|vat| VatNumber::parse(vat).unwrap());
        let ledger = Ledger::from([
            ("a".to_owned(), fed(one, "a.xml")),
            ("b".to_owned(), fed(one, "b.xml")),
            ("c".to_owned(), fed(two, "c.xml")),
        ]);
        let held = |hashes: &[&str]| Held {
            hashes: hashes.iter().map(|hash| (*hash).to_owned()).collect(),
            unreadable: vec![],
        };
        let good = BTreeMap::from([(one, held(&["a", "b"])), (two, held(&["c"]))]);
        let place = Place::compare("A".to_owned(), &ledger, None, None, &good);
        assert!(place.is_clean() && place.equal == 3, "{place:?}");

        let bad = BTreeMap::from([(one, held(&["a", "c", "x"])), (two, held(&["c"]))]);
        let place = Place::compare("A".to_owned(), &ledger, None, None, &bad);
        assert_eq!((place.due, place.equal), (3, 2));
        assert_eq!(place.missing, ["b.xml"]);
        assert_eq!(place.stray, ["c.xml at 03100000235"]);
        assert_eq!(place.altered, ["x of 03100000235"]);

        let node = Place::compare("n".to_owned(), &ledger, Some(two), None, &good);
        assert_eq!(node.stray.len(), 2, "another tenant's files on a node: {node:?}");
    }
}
