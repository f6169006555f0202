//! What people and ERPs connect with.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::house::{A, B, PASSWORD, serve};

fn run(command: &mut Command, package: &str, input: &str) -> String {
    let named = format!("{command:?}");
    let spawned =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child =
        spawned.unwrap_or_else(|error| panic!("{named}: {error}: apt-get install {package}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    format!("{text}{errors}")
}

fn psql(port: u16, user: &str, ssl: &str, arguments: &[&str]) -> String {
    let place = format!("host=localhost port={port} user={user} dbname=erp sslmode={ssl}");
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", &place]).args(arguments).env("PGPASSWORD", PASSWORD);
    run(&mut command, "postgresql-client", "")
}

#[test]
fn psql_sees_tables_columns_and_rows() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), 1000, |_| {});
    let port = server.address().port();
    let ask = |sql: &str| psql(port, A, "require", &["-c", sql]);
    assert_eq!(ask("\\dt").lines().count(), 10);
    assert!(ask("\\dt").contains("public|invoices|table|"), "{}", ask("\\dt"));
    let shown = ask("\\d invoices");
    for line in [
        "id|text||not null|",
        "date|date|||",
        "total|numeric|||",
        "received_at|timestamp with time zone|||",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    for meta in [
        "\\d",
        "\\d+ payments",
        "\\di",
        "\\dn+",
        "\\l",
        "\\du",
        "\\dT",
        "\\df",
        "\\dv",
        "\\dp",
        "\\dx",
        "\\db",
        "\\conninfo",
    ] {
        let shown = ask(meta);
        assert!(!shown.contains("ERROR"), "{meta}: {shown}");
    }
    for (sql, rows) in [
        ("SELECT number, date, total FROM invoices WHERE number = '7'", "7|2026-01-08|7.10\n"),
        (
            "SELECT date_trunc('month', i.date)::date m, v.vat_rate, sum(v.taxable), sum(v.tax), count(*) FROM vat_summary v JOIN invoices i ON i.id = v.invoice_id GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 2",
            "2026-01-01|10.00|11418.00|3.00|30\n2026-01-01|22.00|23931.20|6.20|62\n",
        ),
        (
            "SELECT state, notes FROM invoices WHERE registered_at::date = date '2026-11-24'",
            "delivered|pagata \"in parte\", dall'ufficio\n",
        ),
        (
            "SELECT vat, as_of, connected, pending, behind FROM sync_status",
            "02038490237|2026-11-24 12:00:00+00|t|3|1\n",
        ),
        (
            "SELECT encode(content, 'hex') FROM attachments WHERE invoice_id LIKE '%003'",
            "6174746163686d656e742031206f6620626f64792031\n",
        ),
        (
            "SHOW server_version; SET statement_timeout TO '5s'; SHOW statement_timeout",
            "15.0\nSET\n5s\n",
        ),
        (
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n) FROM t",
            "15\n",
        ),
        (
            "BEGIN; DECLARE c CURSOR FOR SELECT number FROM invoices ORDER BY date, number; FETCH 2 FROM c; MOVE 1 IN c; FETCH c; COMMIT",
            "BEGIN\nDECLARE CURSOR\n365\n730\nMOVE 1\n366\nCOMMIT\n",
        ),
    ] {
        assert_eq!(ask(sql), rows, "{sql}");
    }
    // What a tool such as DBeaver asks when it shows a tree of tables.
    let asked = include_str!("dbeaver.sql");
    for sql in asked.split(";\n").filter(|sql| !sql.trim().is_empty()) {
        let shown = ask(sql);
        assert!(!shown.contains("ERROR"), "{sql}: {shown}");
    }
}

#[test]
fn a_user_sees_its_own_tenant_and_nobody_writes() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), 1000, |_| {});
    let port = server.address().port();
    let count = |user, ssl| {
        psql(
            port,
            user,
            ssl,
            &["-c", "SELECT count(*), min(supplier_vat), current_database() FROM invoices"],
        )
    };
    assert_eq!(count(A, "require"), format!("1000|IT{A}|{A}\n"));
    assert_eq!(count(B, "disable"), format!("3|IT{B}|{B}\n"), "without TLS on loopback");
    let other = psql(
        port,
        B,
        "require",
        &["-c", "SELECT * FROM \"02038490237\".invoices", "-c", "SELECT * FROM sqlite_master"],
    );
    assert_eq!(other.matches("does not exist").count(), 2, "{other}");
    assert!(
        psql(port, "nobody", "require", &["-c", "SELECT 1"])
            .contains("password authentication failed")
    );
    for sql in [
        "DROP TABLE invoices",
        "UPDATE invoices SET notes = ''",
        "CREATE TABLE x (a int)",
        "COPY invoices FROM STDIN",
        "SELECT 1; DELETE FROM invoices",
    ] {
        let refused = psql(port, A, "require", &["-v", "VERBOSITY=verbose", "-c", sql]);
        assert!(refused.contains("25006") && refused.contains("out/"), "{sql}: {refused}");
    }
    assert_eq!(count(A, "require"), format!("1000|IT{A}|{A}\n"));
}

/// Where the driver lies.
fn psqlodbc() -> String {
    let libraries =
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let mut drivers = libraries
        .iter()
        .flat_map(|dir| [format!("{dir}/odbc/psqlodbcw.so"), format!("{dir}/psqlodbcw.so")]);
    drivers
        .find(|path| Path::new(path).exists())
        .expect("no psqlodbcw.so: apt-get install odbc-postgresql")
}

#[test]
fn the_page_for_csharp_works_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), 1000, |_| {});
    let page = include_str!("../../../../docs/erp/csharp-odbc.md");
    let code = page.split("```csharp\n").nth(1).unwrap().split("```").next().unwrap();
    let (source, program) = (dir.path().join("Fatture.cs"), dir.path().join("Fatture.exe"));
    std::fs::write(&source, code).unwrap();
    let mut compile = Command::new("mcs");
    compile.arg("-r:System.Data.dll").arg(format!("-out:{}", program.display())).arg(&source);
    let said = run(&mut compile, "mono-mcs", "");
    assert!(program.exists(), "{said}");
    let place = format!(
        "Driver={};Server=localhost;Port={};Database=staffetta;SSLmode=require;Uid={A};Pwd={PASSWORD}",
        psqlodbc(),
        server.address().port(),
    );
    let mut command = Command::new("mono");
    command.arg(&program).env("STAFFETTA_ODBC", place).env("LANG", "C.UTF-8");
    let said = run(&mut command, "mono-runtime libmono-system-data4.0-cil", "");
    let (first, last) = (said.lines().next(), said.lines().next_back());
    assert_eq!(first, Some("365 2026-01-01 Società Esempio S.r.l. 365.10"), "{said:.2000}");
    // The odd numbers up to 999, and ten cents each.
    assert_eq!((said.lines().count(), last), (501, Some("in all 250050.00")));
}

#[test]
fn odbc_brings_types_dates_and_decimals() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), 1000, |_| {});
    let driver = psqlodbc();
    for cursor in ["0", "1"] {
        let source = format!(
            "[erp]\nDriver={driver}\nServername=localhost\nPort={}\nDatabase=erp\nSSLmode=require\nUseDeclareFetch={cursor}\nFetch=50\n",
            server.address().port()
        );
        let ini = dir.path().join("odbc.ini");
        std::fs::write(&ini, source).unwrap();
        let ask = |sql: &str| {
            let mut command = Command::new("isql");
            command.args(["-v", "-b", "-d|", "erp", A, PASSWORD]).env("ODBCINI", &ini);
            run(&mut command, "unixodbc", &format!("{sql}\n"))
        };
        assert_eq!(
            ask("SELECT number, date, total, alarm, notes FROM invoices WHERE number = '1'"),
            "1|2026-01-02|1.10|0|pagata \"in parte\", dall'ufficio\n"
        );
        assert_eq!(
            ask("SELECT sum(total), sum(quantity), count(*) FROM invoice_lines"),
            "100.00|246.91356000|2000\n"
        );
        assert_eq!(ask("SELECT number FROM invoices ORDER BY date, id").lines().count(), 1000);
        let tables = ask("help");
        assert!(tables.contains("public|invoice_lines|TABLE"), "{tables}");
        let columns = ask("help invoices");
        assert!(
            columns.contains("|total|2|numeric|") && columns.contains("|date|9|date|"),
            "{columns}"
        );
        assert!(ask("DELETE FROM invoices").contains("[25006]"));
    }
}

#[test]
fn jdbc_reads_data_and_the_catalogue() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), 1000, |_| {});
    let jar = "/usr/share/java/postgresql.jar";
    assert!(Path::new(jar).exists(), "no {jar}: apt-get install libpostgresql-jdbc-java");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/JdbcCheck.java");
    let mut command = Command::new("java");
    command.args(["-cp", jar, program, &server.address().port().to_string()]);
    let said = run(&mut command, "default-jdk-headless", "");
    assert!(said.ends_with("JDBC: fine\n"), "{said}");
}

#[test]
fn psycopg_reads_by_text_by_binary_and_by_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), 1000, |_| {});
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/psycopg_check.py");
    // Debian's own Python is the one its packages are for.
    let mut command = Command::new("/usr/bin/python3");
    command.args([program, &server.address().port().to_string()]);
    let said = run(&mut command, "python3-psycopg python3-psycopg2", "");
    assert!(said.ends_with("psycopg: fine\n"), "{said}");
}
