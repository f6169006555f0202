//! The mirror's rules, and what it does when sled's files are damaged.

use std::{fs, path::Path};

use engine::id::{DocumentId, Kind, VatNumber};

use super::*;

fn tenant(n: usize) -> VatNumber {
    VatNumber::parse(["12345678903", "01234567897"][n]).unwrap()
}

fn document(kind: Kind, n: u32) -> DocumentId {
    let mut id = [0; 16];
    id[0] = kind as u8;
    id[1..5].copy_from_slice(&n.to_be_bytes());
    DocumentId::from_bytes(id)
}

fn invoice(n: u32) -> DocumentId {
    document(Kind::Invoice, n)
}

fn open(dir: &Path) -> Mirror {
    let (mirror, rebuilt) = Mirror::open(dir, MirrorOptions::default()).unwrap();
    assert_eq!(rebuilt, None);
    mirror
}

/// Every document changed where the batch ends.
fn apply(
    mirror: &Mirror,
    tenant: VatNumber,
    position: u64,
    changes: &[(DocumentId, Option<Vec<u8>>)],
) -> Result<(), MirrorError> {
    let derived = |(document, record): &(DocumentId, Option<Vec<u8>>)| Derived {
        document: *document,
        changed_at: position,
        record: record.clone(),
    };
    mirror.apply(tenant, Cursor::new(position, 0), &changes.iter().map(derived).collect::<Vec<_>>())
}

fn fill(mirror: &Mirror, records: u32) {
    for n in 0..records {
        let record = format!("record {n} ").repeat(20).into_bytes();
        apply(mirror, tenant(0), u64::from(n) + 1, &[(invoice(n), Some(record))]).unwrap();
    }
    mirror.flush().unwrap();
}

#[test]
fn records_and_position_are_there_together_and_survive_reopening() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("mirror");
    let mirror = open(&dir);
    assert_eq!(mirror.position(tenant(0)), Ok(0));
    apply(&mirror, tenant(0), 7, &[(invoice(1), Some(b"one".to_vec()))]).unwrap();
    apply(&mirror, tenant(1), 3, &[(invoice(1), Some(b"other".to_vec()))]).unwrap();
    drop(mirror);
    let mirror = open(&dir);
    assert_eq!(mirror.position(tenant(0)), Ok(7));
    assert_eq!(mirror.get(tenant(0), invoice(1)), Ok(Some(b"one".to_vec())));
    assert_eq!(mirror.get(tenant(1), invoice(1)), Ok(Some(b"other".to_vec())));
    assert_eq!(mirror.get(tenant(0), invoice(2)), Ok(None));
    mirror.clear(tenant(0)).unwrap();
    assert_eq!(mirror.position(tenant(0)), Ok(0));
    assert_eq!(mirror.position(tenant(1)), Ok(3));
}

#[test]
fn a_scan_pages_through_one_kind_in_the_order_of_ids() {
    let home = tempfile::tempdir().unwrap();
    let mirror = open(&home.path().join("mirror"));
    let changes: Vec<_> = (0..5)
        .flat_map(|n| [invoice(n), document(Kind::Outcome, n)])
        .map(|id| (id, Some(id.as_bytes().to_vec())))
        .collect();
    apply(&mirror, tenant(0), 1, &changes).unwrap();
    apply(&mirror, tenant(0), 2, &[(invoice(1), None)]).unwrap();
    let kind = [Kind::Invoice as u8];
    let page = mirror.scan(tenant(0), &kind, None, 2).unwrap();
    assert_eq!(page.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [invoice(0), invoice(2)]);
    let page = mirror.scan(tenant(0), &kind, Some(invoice(2)), 9).unwrap();
    assert_eq!(page.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [invoice(3), invoice(4)]);
    assert_eq!(mirror.scan(tenant(0), &[], None, 99).unwrap().len(), 9);
    assert_eq!(mirror.count(tenant(0)), Ok(9));
}

#[test]
fn however_a_rebuild_cuts_its_batches_a_change_stands_where_it_stood() {
    let home = tempfile::tempdir().unwrap();
    let mirror = open(&home.path().join("mirror"));
    let derived =
        |n, changed_at| Derived { document: invoice(n), changed_at, record: Some(vec![1]) };
    let rows: Vec<_> = (1..=6).map(|n| derived(n, u64::from(n) * 10)).collect();
    let places = || mirror.changes_after(tenant(0), 0, 99).unwrap();
    mirror.apply(tenant(0), Cursor::new(30, 0), &rows[..3]).unwrap();
    mirror.apply(tenant(0), Cursor::new(60, 0), &rows[3..]).unwrap();
    let before = places();
    assert_eq!(before.iter().map(|c| c.position).collect::<Vec<_>>(), [10, 20, 30, 40, 50, 60]);
    mirror.renew().unwrap();
    mirror.apply(tenant(0), Cursor::new(60, 0), &rows).unwrap();
    assert_eq!(places(), before);
}

#[test]
fn a_reader_meets_each_document_once_at_its_last_change() {
    let home = tempfile::tempdir().unwrap();
    let mirror = open(&home.path().join("mirror"));
    let some = || Some(b"r".to_vec());
    apply(&mirror, tenant(0), 1, &[(invoice(1), some()), (invoice(2), some())]).unwrap();
    apply(&mirror, tenant(0), 2, &[(invoice(3), some())]).unwrap();
    apply(&mirror, tenant(0), 5, &[(invoice(1), some()), (invoice(1), None)]).unwrap();
    let changes = |after, limit| {
        let changes = mirror.changes_after(tenant(0), after, limit).unwrap();
        changes.into_iter().map(|c| (c.position, c.document)).collect::<Vec<_>>()
    };
    assert_eq!(changes(0, 99), [(1, invoice(2)), (2, invoice(3)), (5, invoice(1))]);
    assert_eq!(changes(0, 1), [(1, invoice(2))]);
    assert_eq!(changes(2, 99), [(5, invoice(1))]);
    assert_eq!(changes(5, 99), []);
    assert_eq!(changes(u64::MAX, 99), []);
    assert_eq!(mirror.get(tenant(0), invoice(1)), Ok(None));
    assert_eq!(mirror.count(tenant(0)), Ok(2));
    // A position is never cut in two, or a reader would miss its other half.
    apply(&mirror, tenant(0), 6, &[(invoice(7), some()), (invoice(8), some())]).unwrap();
    assert_eq!(changes(5, 1), [(6, invoice(7)), (6, invoice(8))]);
    mirror.check(tenant(0)).unwrap();
}

#[test]
fn a_second_process_is_refused_and_sets_nothing_aside() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("mirror");
    let mirror = open(&dir);
    let second = Mirror::open(&dir, MirrorOptions::default());
    assert!(matches!(second, Err(MirrorError::InUse { .. })), "{second:?}");
    assert_eq!(mirror.position(tenant(0)), Ok(0));
}

#[test]
fn a_row_that_changed_breaks_the_mirror_until_it_is_renewed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("mirror");
    let mirror = open(&dir);
    fill(&mirror, 3);
    let tree = mirror.db().unwrap().open_tree(tree_name(tenant(0))).unwrap();
    let key = row::record_key(invoice(1));
    let mut row = tree.get(key).unwrap().unwrap().to_vec();
    row[30] ^= 1;
    tree.insert(key, row).unwrap();
    drop(tree);
    assert_eq!(mirror.get(tenant(0), invoice(0)).unwrap().map(|r| r.len()), Some(180));
    assert!(matches!(mirror.get(tenant(0), invoice(1)), Err(MirrorError::Broken { .. })));
    assert!(matches!(mirror.get(tenant(0), invoice(0)), Err(MirrorError::Broken { .. })));
    mirror.renew().unwrap();
    assert_eq!(mirror.position(tenant(0)), Ok(0), "it is rebuilt from the start");
    fill(&mirror, 3);
    mirror.check(tenant(0)).unwrap();
    mirror.renew().unwrap();
    let aside: Vec<_> = fs::read_dir(home.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("broken"))
        .collect();
    assert_eq!(aside, ["mirror.broken-2"], "one is kept");
}

#[test]
fn another_format_is_set_aside() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("mirror");
    let mirror = open(&dir);
    fill(&mirror, 3);
    mirror.db().unwrap().insert(b"format", row::seal(b"format", &[&[9]])).unwrap();
    drop(mirror);
    let (mirror, rebuilt) = Mirror::open(&dir, MirrorOptions::default()).unwrap();
    assert!(rebuilt.unwrap().contains("format"));
    assert_eq!(mirror.position(tenant(0)), Ok(0));
    assert!(home.path().join("mirror.broken-1").is_dir());
}

/// Not sled's files at all: what sled reads there must not end the process.
#[test]
fn damaged_files_give_a_rebuild_or_the_right_records_and_never_a_panic() {
    let home = tempfile::tempdir().unwrap();
    let model = home.path().join("model");
    fill(&open(&model), 400);
    let mut files = Vec::new();
    list(&model, &mut files);
    let (mut rebuilt, mut broken, mut whole) = (0, 0, 0);
    for case in 0..120_usize {
        let dir = home.path().join("mirror");
        let _ = fs::remove_dir_all(&dir);
        let victim = &files[case % files.len()];
        for file in &files {
            let copy = dir.join(file.strip_prefix(&model).unwrap());
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            let mut bytes = fs::read(file).unwrap();
            if file == victim && !bytes.is_empty() {
                let at = case * 7919 * 31 % bytes.len();
                match case / files.len() % 3 {
                    0 => bytes[at] ^= 1 << (case % 8),
                    1 => bytes.truncate(at),
                    _ => bytes.iter_mut().skip(at).take(4096).for_each(|byte| *byte = 0),
                }
            }
            fs::write(copy, bytes).unwrap();
        }
        let (mirror, why) = Mirror::open(&dir, MirrorOptions::default()).unwrap();
        if why.is_some() {
            rebuilt += 1;
            assert_eq!(mirror.position(tenant(0)), Ok(0));
            continue;
        }
        // A mirror that lost its end says so by its position; nothing before it may be wrong.
        let checked = mirror.check(tenant(0)).and_then(|()| mirror.position(tenant(0)));
        match checked {
            Ok(position) => {
                whole += 1;
                for n in 0..position as u32 {
                    let record = format!("record {n} ").repeat(20).into_bytes();
                    assert_eq!(mirror.get(tenant(0), invoice(n)), Ok(Some(record)), "case {case}");
                }
            }
            Err(MirrorError::Broken { .. }) => {
                broken += 1;
                mirror.renew().unwrap();
                assert_eq!(mirror.position(tenant(0)), Ok(0));
            }
            Err(other) => panic!("case {case}: {other}"),
        }
    }
    println!("{rebuilt} rebuilt at opening, {broken} found broken, {whole} whole");
    assert!(rebuilt + broken > 0, "the damage was real");
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
    files.sort();
}
