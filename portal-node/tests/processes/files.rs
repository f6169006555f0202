//! What may lie in the folders: each file that is no invoice is explained beside it, in Italian
//! and English, and the others go on.

use std::{fs, io::Write as _, os::unix::fs::symlink, thread::sleep, time::Duration};

use crate::town::{OTHER_VAT, Town, VAT, mode, names, received, sent, until};

#[test]
fn whatever_is_dropped_is_taken_rejected_with_a_reason_or_named_and_nothing_stops() {
    let (_town, portals, mut node) = Town::with_node();
    node.start();
    let out = node.spool("out");
    let drop_in = |name: &str, bytes: &[u8]| fs::write(out.join(name), bytes).unwrap();

    let half = sent("half");
    let bad: &[(&str, &[u8], &str, &str)] = &[
        ("garbage.xml", b"\x00\x01garbage\xff", "né XML né un file firmato", "neither XML nor"),
        ("empty.xml", b"", "il file è vuoto", "the file is empty"),
        ("blank.xml", b" \n\t ", "il file è vuoto", "the file is empty"),
        ("page.xml", b"<html><body/></html>", "non una fattura elettronica", "not an invoice"),
        ("archive.zip", b"PK\x03\x04rest", "archivio zip", "zip archive"),
        ("doctype.xml", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "DOCTYPE", "DOCTYPE"),
        ("broken.p7m", b"\x30\x82\x10\x00\x06\x09\x2a\x86", "p7m", "signed envelope"),
        ("half.xml", &half.as_bytes()[..700], "non è ben formato", "not well-formed"),
        ("missing.xml", MISSING, "manca l'elemento", "is missing"),
    ];
    for (name, bytes, ..) in bad {
        drop_in(name, bytes);
    }
    let foreign = sent("f").replace(VAT, OTHER_VAT);
    drop_in("foreign.xml", foreign.as_bytes());
    fs::File::create(out.join("huge.xml")).unwrap().set_len(40 << 20).unwrap();
    fs::create_dir(out.join("folder")).unwrap();
    symlink("/etc/hostname", out.join("link.xml")).unwrap();
    drop_in(".hidden.xml", b"x");
    drop_in("being-written.xml.part", b"x");
    // Written in two parts, with a pause in which anybody would take it for whole.
    let slow = sent("slow");
    let mut file = fs::File::create(out.join("slow.xml")).unwrap();
    file.write_all(&slow.as_bytes()[..900]).unwrap();
    // Good ones among all that, one of a name that leads elsewhere, two that come to one name.
    drop_in("good.xml", sent("good").as_bytes());
    drop_in("evil\\..\\name;$(x).xml", sent("evil").as_bytes());
    drop_in("a b.xml", sent("ab1").as_bytes());
    drop_in("a_b.xml", sent("ab2").as_bytes());

    sleep(Duration::from_secs(2));
    file.write_all(&slow.as_bytes()[900..]).unwrap();
    drop(file);
    until("the good ones are taken, the slow one too", || node.names("taken").len() == 5);
    let taken = ["2_a_b.xml", "a_b.xml", "good.xml", "name___x_.xml", "slow.xml"];
    assert_eq!(node.names("taken"), taken);

    let rejected = bad.len() + 2;
    until("the bad ones are rejected", || node.names("rejected").len() == rejected * 2);
    let note = |name: &str| {
        let path = node.spool("rejected").join(format!("{name}.motivo.txt"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    for (name, bytes, italian, english) in bad {
        assert_eq!(fs::read(node.spool("rejected").join(name)).unwrap(), *bytes, "as it came");
        let note = note(name);
        let (first, second) = note.split_once("\n\n").unwrap();
        assert!(first.contains(italian) && second.contains(english), "{name}: {note}");
    }
    let note = (note("foreign.xml"), note("huge.xml"));
    assert!(note.0.contains("la fattura è di un'altra azienda"), "{}", note.0);
    assert!(note.0.contains("wrong tenant"), "{}", note.0);
    assert!(note.1.contains("41943040 byte"), "{}", note.1);

    // What is no file is named and left alone; what others are writing is left alone.
    let left = [".hidden.xml", "being-written.xml.part", "folder", "link.xml"];
    assert_eq!(node.names("out"), left);
    let text = node.status_text();
    assert!(text.contains("FILES folder is a folder and not a file"), "{text}");
    assert!(text.contains("FILES link.xml is a link"), "{text}");

    // The same file again, under its name and another: taken, and not said twice.
    let records = |n: u64| move |tenant: serde_json::Value| tenant["records"] == n;
    until("five invoices", || records(5)(node.tenant()));
    drop_in("good.xml", sent("good").as_bytes());
    drop_in("again.xml", sent("good").as_bytes());
    until("both are taken", || node.names("taken").len() == 7);
    for name in left {
        let path = out.join(name);
        let _ = fs::remove_dir(&path).or_else(|_| fs::remove_file(&path));
    }
    until("all are held by both portals", || node.is_in_sync());
    assert!(records(5)(node.tenant()));
    until("nothing is left to say", || node.tenant()["spool"].as_array().unwrap().is_empty());
    let tenant = node.tenant();
    assert_eq!(tenant["bundles"], portals.a.tenant()["bundles"]);
}

#[test]
fn a_folder_that_cannot_be_written_or_a_file_that_cannot_be_read_is_named_until_it_can() {
    let (town, portals, mut node) = Town::with_node();
    // As root every file is readable: the process runs as nobody.
    own(&town, &mut node);
    node.start();
    let (out, taken) = (node.spool("out"), node.spool("taken"));
    fs::write(out.join("secret.xml"), sent("secret")).unwrap();
    mode(&out.join("secret.xml"), 0o000);
    until("the file is named", || node.status_text().contains("FILES secret.xml stays in out/"));
    assert!(node.status_text().contains("ermission denied"));
    mode(&taken, 0o500);
    fs::write(out.join("stuck.xml"), sent("stuck")).unwrap();
    until("the folder is named", || node.status_text().contains("FILES stuck.xml stays in out/"));
    let said = node.log().matches("stuck.xml stays in out/").count();
    assert_eq!(said, 1, "said once: {}", node.log());
    let tenant = node.tenant();
    assert_eq!(
        tenant["records"], 1,
        "what is in out/ for want of room in taken/ is held: {tenant}"
    );

    mode(&taken, 0o700);
    mode(&out.join("secret.xml"), 0o644);
    until("both go on by themselves", || node.names("taken") == ["secret.xml", "stuck.xml"]);
    until("both are held", || node.is_in_sync() && node.tenant()["records"] == 2);
    until("nothing is left to say", || node.tenant()["spool"].as_array().unwrap().is_empty());

    mode(&out, 0o000);
    until("out/ is named", || node.status_text().contains("out cannot be read"));
    mode(&out, 0o700);
    mode(&node.spool("in"), 0o500);
    let folder = portals.b.dir.join("sdi").join(VAT);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("r.xml"), received("r")).unwrap();
    until("in/ is named", || node.status_text().contains("FILES in/ waits"));
    mode(&node.spool("in"), 0o700);
    until("and goes on", || node.names("in") == ["r.xml"]);
    until("nothing is left to say", || node.tenant()["spool"].as_array().unwrap().is_empty());
}

#[test]
fn what_the_sdi_brings_for_another_or_damaged_is_rejected_with_a_reason() {
    let (_town, portals, mut node) = Town::with_node();
    node.start();
    let sdi = portals.a.dir.join("sdi");
    let folder = sdi.join(VAT);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("good.xml"), received("good")).unwrap();
    fs::write(folder.join("foreign.xml"), sent("foreign")).unwrap();
    fs::write(folder.join("garbage.xml"), "garbage").unwrap();
    // Nobody of that P.IVA is admitted here.
    fs::create_dir_all(sdi.join(OTHER_VAT)).unwrap();
    fs::write(sdi.join(OTHER_VAT).join("lost.xml"), sent("lost")).unwrap();
    until("the node has it", || node.names("in") == ["good.xml"]);
    assert_eq!(fs::read_to_string(node.spool("in").join("good.xml")).unwrap(), received("good"));
    let rejected = sdi.join("rejected").join(VAT);
    until("the others are explained", || rejected.is_dir() && names(&rejected).len() == 4);
    let note = fs::read_to_string(rejected.join("foreign.xml.motivo.txt")).unwrap();
    assert!(note.contains("wrong tenant: the buyer is IT12345678903"), "{note}");
    until("the log says why one waits", || portals.a.log().contains("is not served here"));
    assert_eq!(names(&sdi.join(OTHER_VAT)), ["lost.xml"]);
}

/// A whole document without a number.
const MISSING: &[u8] = br#"<p:FatturaElettronica versione="FPR12" xmlns:p="http://ivaservizi.agenziaentrate.gov.it/docs/xsd/fatture/v1.2"><FatturaElettronicaHeader/></p:FatturaElettronica>"#;

/// Gives all of the node's files to the user nobody, and has it run as that.
pub fn own(town: &Town, node: &mut crate::town::Service) {
    use std::os::unix::fs::chown;
    const NOBODY: u32 = 65_534;
    if chown(&node.dir, Some(NOBODY), Some(NOBODY)).is_err() {
        return; // Not root: we are somebody of whom permissions are asked already.
    }
    let binary = node.dir.join("staffetta-node");
    fs::copy(&node.binary, &binary).unwrap();
    node.binary = binary;
    mode(&town.path(""), 0o711);
    fs::write(node.log_file(), "").unwrap();
    for entry in fs::read_dir(&node.dir).unwrap() {
        chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    node.user = Some(NOBODY);
}
