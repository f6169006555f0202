//! What an identity is made from, and how the program says that it cannot be.

use std::fs;

use node::transport::{Identity, IdentityError};
use rcgen::KeyPair;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use crate::support::{DAY, Party, certificate, now, p256};

#[test]
fn an_identity_signs_what_its_public_key_verifies_and_never_shows_its_key() {
    let party = Party::new();
    let signature = party.identity.sign(b"h_n");
    let point = &party.identity.spki()[26..];
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(b"h_n", &signature).unwrap();
    assert!(party.identity.not_after() > now());

    let shown = format!("{:?}", party.identity);
    assert!(shown.starts_with("Identity { peer: PeerId("), "{shown}");
    assert!(shown.len() < 100, "{shown}");
}

#[test]
fn a_key_that_does_not_belong_is_named_with_its_certificate() {
    let (one, two) = (Party::new(), Party::new());
    let error = Identity::from_pem(&one.cert_pem, &two.key_pem).unwrap_err();
    assert!(matches!(error, IdentityError::Mismatch { .. }));
    assert_eq!(
        error.to_string(),
        "the key in the key given does not belong to the certificate in the certificate given"
    );
}

#[test]
fn only_living_p256_certificates_will_do() {
    let key = p256();
    let expired = certificate(&key, now() - 60);
    let error = Identity::from_pem(&expired, &key.serialize_pem()).unwrap_err();
    assert!(matches!(error, IdentityError::Expired { .. }), "{error}");

    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let cert = certificate(&key, now() + DAY);
        let error = Identity::from_pem(&cert, &key.serialize_pem()).unwrap_err();
        assert!(matches!(error, IdentityError::NotP256 { .. }), "{error}");
    }
}

#[test]
fn garbage_gives_one_sentence_with_a_cure() {
    let party = Party::new();
    let check = |cert: &str, key: &str, expected: &str| {
        let error = Identity::from_pem(cert, key).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
        assert!(!error.contains('\n'));
    };
    check("", &party.key_pem, "BEGIN CERTIFICATE");
    check("no pem", &party.key_pem, "BEGIN CERTIFICATE");
    check(&party.key_pem, &party.key_pem, "BEGIN CERTIFICATE");
    check(&party.cert_pem, "", "BEGIN PRIVATE KEY");
    check(&party.cert_pem, &party.cert_pem, "BEGIN PRIVATE KEY");
    let sec1 = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    check(&party.cert_pem, sec1, "openssl pkcs8");
    let cut = &party.cert_pem[..party.cert_pem.len() / 2];
    check(cut, &party.key_pem, "BEGIN CERTIFICATE");
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    check(hollow, &party.key_pem, "BEGIN CERTIFICATE");
}

#[test]
fn files_are_read_only_when_the_key_is_private() {
    let (party, folder) = (Party::new(), tempfile::tempdir().unwrap());
    let (cert, key) = (folder.path().join("a.cert"), folder.path().join("a.key"));
    assert!(matches!(Identity::load(&cert, &key), Err(IdentityError::Unreadable { .. })));
    fs::write(&cert, &party.cert_pem).unwrap();
    assert!(matches!(Identity::load(&cert, &key), Err(IdentityError::Unreadable { .. })));
    fs::write(&key, &party.key_pem).unwrap();

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Identity::load(&cert, &key).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(Identity::load(&cert, &key).unwrap().peer(), party.peer());

    fs::write(&cert, vec![b'x'; 100_000]).unwrap();
    assert!(matches!(Identity::load(&cert, &key), Err(IdentityError::Unreadable { .. })));
    assert!(matches!(Identity::load(folder.path(), &key), Err(IdentityError::Unreadable { .. })));
}
