//! Clients that mean harm, or are broken: each gets an error of PostgreSQL or a closed connection,
//! and the others go on.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use sql::server::Server;

use crate::house::{A, B, PASSWORD, serve};

fn connect(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

/// All that the server says until it closes.
fn rest(mut socket: TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let _ = socket.read_to_end(&mut said);
    said
}

fn startup(user: &str) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for text in ["user", user, "database", "x", ""] {
        body.extend(text.bytes());
        body.push(0);
    }
    [((body.len() + 4) as u32).to_be_bytes().as_slice(), &body].concat()
}

fn works(port: u16) {
    let place = format!("host=localhost port={port} user={A} dbname=erp");
    let output = Command::new("psql")
        .args(["-X", "-A", "-t", &place, "-c", "SELECT count(*) FROM invoices"])
        .env("PGPASSWORD", PASSWORD)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1000\n", "{output:?}");
}

#[test]
fn bytes_that_are_no_protocol_end_that_connection_only() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), 1000, |_| {});
    let port = server.address().port();
    let long = [0xff_u8; 64];
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0, 0, 0, 4],
        &[0, 0, 0, 0],
        &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0],
        &[0, 0, 0, 8, 0, 2, 0, 0],
        &long,
        &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0],
    ] {
        let mut socket = connect(port);
        socket.write_all(bytes).unwrap();
        // It may be closed already.
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let said = rest(socket);
        assert!(said.is_empty() || said[0] == b'E', "{bytes:?}: {said:?}");
    }
    // What is said in the clear does not pass for what is said inside TLS.
    let mut socket = connect(port);
    socket.write_all(&[&[0, 0, 0, 8, 4, 210, 22, 47], &startup(A)[..]].concat()).unwrap();
    let said = rest(socket);
    assert!(String::from_utf8_lossy(&said).contains("unencrypted data"), "{said:?}");
    // Before the password nothing else is heard, nor more than a little of it.
    for message in [
        &b"Q\0\0\0\x0dSELECT 1\0"[..],
        &b"p\x7f\xff\xff\xff"[..],
        &b"p\0\0\0\x08\0\0\0\0"[..],
        &b"p\0\0\0\x05x"[..],
    ] {
        let mut socket = connect(port);
        socket.write_all(&startup(A)).unwrap();
        socket.write_all(message).unwrap();
        let said = rest(socket);
        assert!(String::from_utf8_lossy(&said).contains("FATAL"), "{message:?}: {said:?}");
    }
    works(port);
}

#[test]
fn who_never_reads_or_asks_for_ever_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server =
        serve(dir.path(), 1000, |options| options.statement_timeout = Duration::from_secs(2));
    let port = server.address().port();
    let place = format!("host=localhost port={port} user={A} dbname=erp");
    let psql = |sql: &str| {
        let mut command = Command::new("psql");
        command
            .args(["-X", "-q", &place, "-v", "VERBOSITY=verbose", "-c", sql])
            .env("PGPASSWORD", PASSWORD);
        command
    };
    // A pipe that nobody reads fills up, and so does the connection behind it.
    let mut stuck = psql("SELECT a.* FROM invoices a, invoices b");
    stuck
        .args(["-v", "FETCH_COUNT=10"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut stuck = stuck.spawn().unwrap();
    works(port);
    for sql in [
        "SELECT count(*) FROM invoices a, invoices b, invoices c, invoices d",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
        "SELECT a.id FROM invoices a, invoices b, invoices c ORDER BY b.notes, c.id",
    ] {
        let begun = Instant::now();
        let output = psql(sql).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("57014"), "{sql}: {said}");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    for (sql, code) in [
        (format!("SELECT {}1", "(".repeat(5000)), "54001"),
        (format!("SELECT 1{}", "+1".repeat(20_000)), "54001"),
        (format!("SELECT '{}'", "x".repeat(70_000)), "54000"),
        ("SELECT repeat('x', 2000000000)".to_owned(), "54000"),
        ("SELECT 'a' ~ '(((((a{100}){100}){100}){100}){100})'".to_owned(), "22000"),
    ] {
        let output = psql(&sql).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(code), "{code}: {said:.300}");
    }
    works(port);
    stuck.kill().unwrap();
    stuck.wait().unwrap();
}

#[test]
fn more_sums_without_an_end_than_there_are_processors_hold_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let many = 2 * std::thread::available_parallelism().unwrap().get() + 2;
    let server = serve(dir.path(), 1000, |options| {
        options.connections_max = many + 8;
        options.statement_timeout = Duration::from_secs(600);
    });
    let port = server.address().port();
    let place = format!("host=localhost port={port} user={A} dbname=erp");
    let psql = |sql: &str| {
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-q", &place, "-c", sql]).env("PGPASSWORD", PASSWORD);
        command
    };
    let mut endless: Vec<_> = (0..many)
        .map(|n| {
            format!("SELECT count(*) + {n} FROM invoices a, invoices b, invoices c, invoices d")
        })
        .map(|sql| psql(&sql).spawn().unwrap())
        .collect();
    while server.connections() < many {
        std::thread::sleep(Duration::from_millis(10));
    }
    for n in 0..3 {
        let sql =
            format!("SELECT count(*) + {n} FROM invoices a, invoices b WHERE a.number <> b.number");
        let output = psql(&sql).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("{}\n", 999_000 + n),
            "{output:?}"
        );
    }
    for one in &mut endless {
        assert!(one.try_wait().unwrap().is_none(), "an endless one ended");
        one.kill().unwrap();
        one.wait().unwrap();
    }
}

#[test]
fn one_connection_too_many_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), 1000, |options| options.connections_max = 3);
    let port = server.address().port();
    let held: Vec<_> = (0..3)
        .map(|_| {
            let mut socket = connect(port);
            socket.write_all(&startup(A)).unwrap();
            let mut one = [0; 1];
            socket.read_exact(&mut one).unwrap();
            socket
        })
        .collect();
    let mut socket = connect(port);
    socket.write_all(&startup(A)).unwrap();
    let said = rest(socket);
    assert!(String::from_utf8_lossy(&said).contains("53300"), "{said:?}");
    drop(held);
    let end = Instant::now() + Duration::from_secs(20);
    while server.connections() > 0 {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(10));
    }
    works(port);
}

/// What `hostile.py` says of itself when it does `what`.
fn python(port: u16, what: &str) -> Command {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/hostile.py");
    let mut command = Command::new("/usr/bin/python3");
    command.args([program, &port.to_string(), what]);
    command
}

fn fine(mut command: Command) {
    let output = command.output().expect("apt-get install python3-psycopg");
    let (said, errors) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(said.ends_with(b": fine\n"), "{}{errors}", String::from_utf8_lossy(&said));
}

/// The most memory this process, which is the server, ever had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn alone(server: &Server) {
    let end = Instant::now() + Duration::from_secs(30);
    while server.connections() > 0 {
        assert!(Instant::now() < end, "{} connections are left", server.connections());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_huge_result_costs_no_memory_however_slowly_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), 1000, |options| options.write_stall = Duration::from_secs(2));
    let port = server.address().port();
    let before = peak_bytes();
    // A gigabyte to one that reads it, at last, and to one that reads nothing of it.
    let mut never = python(port, "never").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut sent = [0; 1];
    never.stdout.as_mut().unwrap().read_exact(&mut sent).unwrap();
    works(port);
    fine(python(port, "slow"));
    // Other tests share this process.
    let more = peak_bytes() - before;
    assert!(more < 150 << 20, "{more} bytes");
    // Who reads nothing is cut off, though it is still there.
    alone(&server);
    assert!(never.try_wait().unwrap().is_none());
    never.kill().unwrap();
    never.wait().unwrap();
}

#[test]
fn guessing_passwords_has_to_wait_and_others_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), 1000, |_| {});
    let port = server.address().port();
    let ask = |user: &str, password: &str| {
        let place = format!("host=localhost port={port} user={user} dbname=erp");
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", &place, "-c", "SELECT 1"]).env("PGPASSWORD", password);
        let output = command.output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let guesses: Vec<_> = std::thread::scope(|scope| {
        let guess = |_| scope.spawn(|| ask(B, "pencil"));
        let all: Vec<_> = (0..10).map(guess).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(guesses.iter().all(|said| said.contains("password authentication failed")));
    assert!(ask(B, PASSWORD).contains("wait a minute"), "the right one too");
    assert_eq!(ask(A, PASSWORD), "1\n");
}

#[test]
fn a_cursor_that_stands_still_for_too_long_ends_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server =
        serve(dir.path(), 1000, |options| options.cursor_rest = Duration::from_millis(500));
    fine(python(server.address().port(), "idle"));
    alone(&server);
}

#[test]
fn messages_with_wrong_insides_end_that_connection_only() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), 1000, |_| {});
    let port = server.address().port();
    fine(python(port, "garbled"));
    alone(&server);
    works(port);
}
