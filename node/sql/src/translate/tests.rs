//! What translated statements return, and what is refused before it runs.

use std::sync::Arc;

use rusqlite::types::Value;

use super::*;
use crate::{
    reader::{Outside, Reader, Status, Watch},
    shelf::Shelf,
    statement::{Statement, parse},
};

struct Nothing;

impl Outside for Nothing {
    fn original(&self, _: &str, _: &str) -> Option<Vec<u8>> {
        None
    }
    fn attachment(&self, _: &[u8], _: usize, _: usize) -> Option<Vec<u8>> {
        None
    }
    fn status(&self) -> Status {
        Status::default()
    }
}

fn made(text: &str) -> Result<Translated, SqlError> {
    match parse(text)?.remove(0) {
        Statement::Query(query) => translate(&query, &[]),
        other => panic!("{other:?}"),
    }
}

/// All rows as text, `|` between columns and `;` between rows.
fn ask(reader: &Reader, text: &str) -> Result<String, SqlError> {
    let made = made(text)?;
    let mut prepared = reader
        .db
        .prepare(&made.sql)
        .unwrap_or_else(|error| panic!("{text}\n{}\n{error}", made.sql));
    let mut rows = prepared.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let mut values = Vec::new();
        for (n, column) in made.columns.iter().enumerate() {
            let mut out = Vec::new();
            column.ty.write_text(row.get_ref(n)?, &mut out);
            values.push(String::from_utf8(out).unwrap());
        }
        all.push(values.join("|"));
    }
    Ok(all.join(";"))
}

fn reader(dir: &std::path::Path) -> Reader {
    let path = dir.join("x.sqlite");
    drop(Shelf::open(&path).unwrap());
    Reader::open(&path, "erp", "base", Arc::new(Nothing), Arc::new(Watch::default())).unwrap()
}

#[test]
fn expressions_mean_what_postgresql_means_by_them() {
    let dir = tempfile::tempdir().unwrap();
    let reader = reader(dir.path());
    for (sql, answer) in [
        ("0.1 + 0.2, 1.10 * 3, 10 / 4, 10 / 4.0, 7 % 3", "0.3|3.30|2|2.5|1"),
        (
            "round(2.345, 2), round(-2.5), trunc(2.99, 1), ceil(1.2), abs(-3.50)",
            "2.35|-3|2.9|2|3.50",
        ),
        ("'12.5'::numeric(10,1), 12.345::numeric(6,2), '7'::int + 1, 3.7::int", "12.5|12.35|8|4"),
        ("10 < 9.5, 22 = 22.00, '2' < '10', 9.0 BETWEEN 8 AND 10, 2.0 IN (1, 2)", "f|t|f|t|t"),
        (
            "date '2026-01-31' + interval '1 month', date '2026-03-01' - date '2026-02-01'",
            "2026-02-28 00:00:00|28",
        ),
        (
            "date '2026-01-31' + 1, timestamp '2026-01-01 10:00' - interval '90 minutes'",
            "2026-02-01|2026-01-01 08:30:00",
        ),
        (
            "extract(year from date '2026-05-01'), date_trunc('month', timestamp '2026-05-17 08:00')",
            "2026|2026-05-01 00:00:00",
        ),
        (
            "date_trunc('Quarter', date '2026-05-17')::date, date_trunc('week', date '2026-05-17'), date_trunc('hour', date '2026-05-17')",
            "2026-04-01|2026-05-11 00:00:00+00|2026-05-17 00:00:00+00",
        ),
        (
            "to_char(date '2026-05-01', 'DD/MM/YYYY'), to_char(1234.5, 'FM9,990.00')",
            "01/05/2026|1,234.50",
        ),
        (
            "'Perù' ILIKE 'perÙ', 'a_c' LIKE 'a\\_c', 'Ab' LIKE 'ab', 'abc' ~ '^a.c$', 'ABC' ~* 'b'",
            "t|t|f|t|t",
        ),
        (
            "upper('perù'), left('abc', -1), lpad('7', 3, '0'), split_part('a-b-c', '-', 2), length('perù')",
            "PERÙ|ab|007|b|4",
        ),
        (
            "coalesce(null, 'x'), nullif(1, 1), greatest(1, null, 3), case when 1 > 2 then 'a' else 'b' end",
            "x||3|b",
        ),
        ("null = 1, null is null, true and null, not false, 1 is distinct from null", "|t||t|t"),
        ("'x' || 1 || true, concat('a', null, 2), concat_ws(',', 'a', null, 'b')", "x1true|a2|a,b"),
        ("1 = ANY('{1,2}'), 'a' <> ALL (ARRAY['b','c']), ('{a,b}'::text[])[2]", "t|t|b"),
        ("current_user, current_database(), current_schema()", "erp|base|public"),
    ] {
        assert_eq!(ask(&reader, &format!("SELECT {sql}")).as_deref(), Ok(answer), "{sql}");
    }
}

#[test]
fn queries_return_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let reader = reader(dir.path());
    let t = "(VALUES (1, 'a', 1.5), (2, 'b', 10), (3, NULL, 9.25)) AS t(n, s, d)";
    for (sql, answer) in [
        ("SELECT n, s FROM {t} ORDER BY s", "1|a;2|b;3|"),
        ("SELECT n FROM {t} ORDER BY s DESC", "3;2;1"),
        ("SELECT d FROM {t} ORDER BY d", "1.5;9.25;10"),
        (
            "SELECT max(d), min(d), sum(d), avg(n), count(s), count(*) FROM {t}",
            "10|1.5|20.75|2|2|3",
        ),
        ("SELECT n FROM {t} WHERE d > 9.5", "2"),
        (
            "SELECT sum(d) OVER (ORDER BY n), row_number() OVER (ORDER BY d DESC) FROM {t} ORDER BY n",
            "1.5|3;11.5|1;20.75|2",
        ),
        (
            "SELECT sum(n), count(*) FROM (VALUES (22.0, 1), (22, 2), (4.00, 3), (NULL, 4), (-22, 5)) AS r(rate, n) GROUP BY rate ORDER BY rate",
            "5|1;3|1;3|2;4|1",
        ),
        (
            "SELECT r, sum(r) OVER (PARTITION BY r) FROM (VALUES (22.0), (22), (4)) AS t(r) ORDER BY 2, r",
            "4|4;22.0|44.0;22|44.0",
        ),
        (
            "SELECT sum(x) FROM (VALUES (0.001), (-0.01), (123456789012345678901)) AS t(x)",
            "123456789012345678900.991",
        ),
        ("SELECT sum(x) FROM (VALUES (79228162514264337593543950335), (1)) AS t(x)", "22003"),
        ("SELECT avg(x), sum(x) FROM (SELECT 1.5 AS x WHERE 1 = 2) t", "|"),
        ("SELECT DISTINCT d FROM (SELECT 22 AS d UNION ALL SELECT 22.00) x", "22"),
        (
            "SELECT s AS label, count(*) FROM {t} GROUP BY label HAVING count(*) > 0 ORDER BY 1",
            "a|1;b|1;|1",
        ),
        ("SELECT a.n, b.n FROM {t} LEFT JOIN (SELECT 1 AS n) b ON b.n = t.n ORDER BY 1", "42P01"),
        ("SELECT t.n, b.n FROM {t} LEFT JOIN (SELECT 1 AS n) b USING (n) ORDER BY 1", "1|1;2|;3|"),
        ("WITH x AS (SELECT n FROM {t}) SELECT count(*) FROM x a JOIN x b ON a.n < b.n", "3"),
        ("SELECT (SELECT max(u.n) FROM {t2} WHERE u.n < t.n) FROM {t} ORDER BY t.n", ";1;2"),
        ("SELECT n FROM {t} UNION SELECT 9 ORDER BY 1 DESC LIMIT 2", "9;3"),
        ("SELECT n FROM {t} ORDER BY n LIMIT ALL OFFSET 1", "2;3"),
        ("SELECT string_agg(s, ',' ORDER BY s DESC) FROM {t}", "b,a"),
        ("SELECT generate_series FROM generate_series(1, 3)", "1;2;3"),
        (
            "SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relname = 'payments'",
            "CREATE UNIQUE INDEX payments_pkey ON public.payments USING btree (invoice_id, position)",
        ),
        (
            "SELECT pg_get_constraintdef(o.oid) FROM pg_constraint o JOIN pg_class a ON a.oid = o.conrelid WHERE a.relname = 'payments'",
            "PRIMARY KEY (invoice_id, position)",
        ),
        ("SELECT n, n FROM {t} FETCH FIRST 1 ROW ONLY", "1|1"),
    ] {
        let sql = sql.replace("{t2}", &t.replace("AS t", "AS u")).replace("{t}", t);
        match ask(&reader, &sql) {
            Ok(found) => assert_eq!(found, answer, "{sql}"),
            Err(error) => assert_eq!(error.code, answer, "{sql}: {error}"),
        }
    }
}

#[test]
fn what_is_wrong_has_the_code_programs_look_for() {
    let dir = tempfile::tempdir().unwrap();
    let reader = reader(dir.path());
    for (sql, code) in [
        ("SELECT nothing FROM invoices", "42703"),
        ("SELECT i.number FROM invoices", "42P01"),
        ("SELECT id FROM invoices a, invoices b", "42702"),
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT * FROM sqlite_master", "42P01"),
        ("SELECT * FROM _head", "42P01"),
        ("SELECT nofunction(1)", "42883"),
        ("SELECT load_extension('x')", "42883"),
        ("SELECT 1 / 0", "22012"),
        ("SELECT 1.0 / 0", "22012"),
        ("SELECT 'x'::int", "22P02"),
        ("SELECT date '2026-02-30'", "22P02"),
        ("SELECT 79228162514264337593543950335 * 10.0", "22003"),
        ("SELECT number + 1 FROM invoices", "42804"),
        ("SELECT 1 FROM invoices FOR UPDATE", "25006"),
        ("WITH x AS (DELETE FROM invoices RETURNING *) SELECT * FROM x", "25006"),
        ("SELECT * INTO y FROM invoices", "25006"),
        ("SELECT 'a' COLLATE \"it_IT\"", "42704"),
        ("SELECT 1 UNION SELECT 1, 2", "42601"),
    ] {
        match ask(&reader, sql) {
            Ok(found) => panic!("{sql}: {found}"),
            Err(error) => assert_eq!(error.code, code, "{sql}: {error}"),
        }
    }
}

#[test]
fn parameters_take_the_type_of_what_they_meet() {
    let text =
        "SELECT $2::text FROM invoices WHERE date > $1 AND total < $3 AND number = $4 LIMIT $5";
    let made = made(text).unwrap();
    assert_eq!(made.parameters, [Ty::Date, Ty::Text, Ty::Numeric, Ty::Text, Ty::Int8]);
    assert_eq!(made.columns[0].ty, Ty::Text);
}

/// No text or name of a client is ever read by SQLite as SQL.
#[test]
fn texts_and_names_stay_texts_and_names() {
    let dir = tempfile::tempdir().unwrap();
    let reader = reader(dir.path());
    let nasty = "x'); ATTACH 'y' AS z; --\" ]`";
    let sql =
        format!("SELECT '{}' AS \"{}\"", nasty.replace('\'', "''"), nasty.replace('"', "\"\""));
    assert_eq!(ask(&reader, &sql).as_deref(), Ok(nasty));
    assert_eq!(made(&sql).unwrap().columns[0].name, nasty);
    // And should the translator err, SQLite refuses by itself.
    for sql in [
        "ATTACH 'x' AS y",
        "PRAGMA query_only = OFF",
        "DELETE FROM invoices",
        "CREATE TEMP TABLE x (a)",
    ] {
        let refused = reader.db.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("not authorized"), "{sql}: {refused}");
    }
    let read: Value =
        reader.db.query_row("SELECT count(*) FROM invoices", [], |row| row.get(0)).unwrap();
    assert_eq!(read, Value::Integer(0));
}

#[test]
fn only_what_is_a_matter_of_the_rows_is_worked_out_for_all() {
    for (text, sums) in [
        ("SELECT count(*) FROM invoices", true),
        ("SELECT direction FROM invoices GROUP BY direction", true),
        ("SELECT * FROM (SELECT sum(total) AS s FROM invoices) t WHERE s > 0", true),
        ("SELECT number FROM invoices", false),
        ("SELECT count(*), current_user FROM invoices", false),
        ("SELECT count(*) FROM invoices WHERE date < current_date", false),
        ("SELECT count(*), max(now()) FROM invoices", false),
        ("SELECT sum(behind) FROM sync_status", false),
        ("SELECT count(content) FROM originals", false),
    ] {
        assert_eq!(made(text).unwrap().sums, sums, "{text}");
    }
    // Whatever function of ours is not pure must be in the list.
    let impure = |db: &rusqlite::Connection| -> Vec<String> {
        let sql = "SELECT DISTINCT name FROM pragma_function_list WHERE NOT flags & 0x800";
        let mut found = db.prepare(sql).unwrap();
        found.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let db = rusqlite::Connection::open_in_memory().unwrap();
    let sqlites = impure(&db);
    crate::functions::register(&db, "erp", "base", Arc::new(Nothing)).unwrap();
    let ours: Vec<_> = impure(&db).into_iter().filter(|name| !sqlites.contains(name)).collect();
    assert!(ours.len() > 3, "{ours:?}");
    for name in ours.iter().filter(|name| *name != "database_name") {
        assert!(MOMENTARY.contains(&format!("{name}(").as_str()), "{name}");
    }
}
