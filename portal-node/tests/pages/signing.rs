//! The contract signed in a PDF by a program that people use (pyHanko), uploaded on the page.

use std::{fs, path::Path, process::Command};

use super::{
    browser::Browser,
    people::{ADIGE, BRENTA, papers_to_sign},
    tools::python,
    town::Town,
};

fn run(program: &Path, folder: &Path, arguments: &[&str]) {
    let output = Command::new(program).current_dir(folder).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments:?}: {said}", program.display());
}

/// Signs a PDF as Maria Rossi would.
fn signed(folder: &Path, pdf: &[u8]) -> Vec<u8> {
    if !folder.join("maria.pem").exists() {
        let made = "req -x509 -newkey rsa:2048 -nodes -keyout maria.key -out maria.pem -days 30";
        let mut made: Vec<&str> = made.split(' ').collect();
        made.extend(["-subj", "/CN=Maria Rossi/O=Prova"]);
        run(Path::new("openssl"), folder, &made);
    }
    fs::write(folder.join("da-firmare.pdf"), pdf).unwrap();
    let sign = "sign addsig --field Firma --use-pades pemder --key maria.key --cert maria.pem --no-pass \
                da-firmare.pdf firmato.pdf";
    run(&python("pyhanko"), folder, &sign.split(' ').collect::<Vec<_>>());
    fs::read(folder.join("firmato.pdf")).unwrap()
}

/// What the page says of a file that it refuses.
async fn refused(owner: &mut Browser, file: &[u8]) -> String {
    owner.get("/contratto").await;
    let page = owner.upload("/contratto/firma", "contratto.pdf", file).await;
    assert_eq!(page.status, 422, "{}", page.text());
    let text = page.text();
    let said = text.split("role=\"status\">").nth(1).expect("a notice").split('<').next();
    said.unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_signed_in_its_pdf_is_taken_and_no_other_nor_a_damaged_one() {
    let mut town = Town::found().await;
    let mut admin = town.admin().await;
    let (mut maria, mut bruno) = town.two_customers(&mut admin).await;
    papers_to_sign(&mut maria, ADIGE, "adige@pec.example.it").await;
    papers_to_sign(&mut bruno, BRENTA, "brenta@pec.example.it").await;
    let folder = tempfile::tempdir().unwrap();
    let pdf = maria.get("/contratto/da-firmare.pdf").await.bytes;
    let theirs = bruno.get("/contratto/da-firmare.pdf").await.bytes;
    let right = signed(folder.path(), &pdf);

    let other = signed(folder.path(), &theirs);
    assert!(refused(&mut maria, &other).await.contains("non è questo contratto"));
    // One digit of the signature itself; and one letter of what it covers behind the original.
    let contents = right.windows(9).rposition(|word| word == b"/Contents").unwrap();
    let mut damaged = right.clone();
    let digit = &mut damaged[contents + 700];
    *digit = if *digit == b'0' { b'1' } else { b'0' };
    assert!(refused(&mut maria, &damaged).await.contains("La firma non è valida"));
    let moment = right.windows(5).rposition(|word| word == b"/M (D").unwrap();
    let mut damaged = right.clone();
    let digit = &mut damaged[moment + 6];
    *digit = if *digit == b'2' { b'3' } else { b'2' };
    assert!(refused(&mut maria, &damaged).await.contains("La firma non è valida"));
    // Something behind the signature, which it does not cover; and one cut short.
    let more = [&right[..], b"\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"].concat();
    assert!(refused(&mut maria, &more).await.contains("la firma non lo copre tutto"));
    let said = refused(&mut maria, &right[..right.len() - 400]).await;
    assert!(said.contains("la firma non lo copre tutto"), "{said}");

    maria.get("/contratto").await;
    let page = maria.upload("/contratto/firma", "contratto-firmato.pdf", &right).await;
    assert_eq!(page.location, "/contratto?fatto=firmato", "{}", page.text());
    let text = maria.get("/contratto").await.text();
    assert!(text.contains("Firmato") && text.contains("Maria Rossi"), "{text}");
    assert_eq!(text.matches("file firmato rifiutato").count(), 5, "each is in the record");
    let kept = maria.get("/contratto/firmato").await;
    assert_eq!(kept.bytes, right, "byte for byte");
}
