//! Many who ask the same at the same time, while rows come in.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::house::{A, add, serve};

#[test]
fn who_asks_with_others_is_told_of_the_state_it_asked_about() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), 100, |_| {});
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/together.py");
    let mut desks = Command::new("/usr/bin/python3")
        .args([program, &server.address().port().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut count = 100;
    while count < 200 || server.shared_answers() < 200 {
        count += 1;
        add(&dir.path().join(format!("{A}.sqlite")), A, count);
        if let Some(ended) = desks.try_wait().unwrap() {
            panic!("the desks ended: {ended}");
        }
    }
    desks.stdin.take().unwrap().write_all(b"\n").unwrap();
    let output = desks.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "together: fine\n", "{output:?}");
}
