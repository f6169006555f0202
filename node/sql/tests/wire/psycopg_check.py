"""What a Python program of an ERP does: run by tests/drivers.rs with a port, fails with a trace."""
import datetime as dt, decimal, sys, threading, time
import psycopg, psycopg2

D = decimal.Decimal
where = dict(host="localhost", port=int(sys.argv[1]), user="02038490237", password="pencil case", dbname="erp", sslmode="require")

with psycopg.connect(**where) as db:
    row = db.execute("SELECT number, date, total, alarm FROM invoices WHERE id = %s", (f"{7:032x}",)).fetchone()
    assert row == ("7", dt.date(2026, 1, 8), D("7.10"), False), row
    # Exact, where floating point would give 0.30000000000000004 and lose the eighth digit.
    assert db.execute("SELECT 0.1 + 0.2").fetchone()[0] == D("0.3")
    row = db.execute("SELECT sum(total), count(*), avg(unit_price) FROM invoice_lines").fetchone()
    assert row == (D("100.00"), 2000, D("8.10000000")), row
    rows = db.execute("SELECT vat_rate, sum(taxable) FROM vat_summary GROUP BY vat_rate ORDER BY vat_rate").fetchall()
    assert rows == [(D("10.00"), D("166866.30")), (D("22.00"), D("333733.70"))], rows
    row = db.execute("SELECT content, bytes FROM originals LIMIT 1").fetchone()
    assert row[0] == b"<FatturaElettronica>\x00\xff</FatturaElettronica>", row
    row = db.execute("SELECT registered_at, notes, state FROM invoices WHERE registered_at IS NOT NULL").fetchone()
    assert row == (dt.datetime(2026, 11, 24, 12, 0, 0, 500000, dt.timezone.utc), "pagata \"in parte\", dall'ufficio", "delivered"), row
    assert db.execute("SELECT vat FROM sync_status").fetchone() == ("02038490237",)
    # Parameters of every type, in text and in binary, used many times as a prepared statement.
    for binary in (False, True):
        with db.cursor(binary=binary) as c:
            for n in range(8):
                c.execute("SELECT number::int, date, total, received_at, bytes FROM invoices WHERE date >= %s AND total < %s AND number = %s", (dt.date(2026, 1, 1), D("500.5"), str(n + 1)), prepare=True)
                assert c.fetchone() == (n + 1, dt.date(2026, 1, n + 2), D(f"{n + 1}.10"), None, 40)
    assert db.execute("SELECT count(*) FROM invoices WHERE number = ANY(%s)", (["1", "2", "x"],)).fetchone() == (2,)
    # A cursor of the server, which stands still between.
    with db.cursor(name="many") as c:
        c.itersize = 100
        c.execute("SELECT i.number, l.position FROM invoices i JOIN invoice_lines l ON l.invoice_id = i.id ORDER BY 1, 2")
        assert c.fetchmany(3) == [("1", 1), ("1", 2), ("10", 1)]
        assert sum(1 for _ in c) == 1997
    for sql, code in [
        ("INSERT INTO invoices (id) VALUES ('x')", "25006"), ("SELECT nothing FROM invoices", "42703"),
        ("SELECT * FROM nowhere", "42P01"), ("SELECT 1/0", "22012"), ("SELEC 1", "42601"),
        ("SELECT sum(number) FROM invoices", "42883"), ("SELECT 'x'::int", "22P02"),
    ]:
        try:
            db.execute(sql)
            raise AssertionError(sql)
        except psycopg.Error as error:
            assert error.sqlstate == code, (sql, error.sqlstate, error)
            db.rollback()

# A statement is stopped from outside, or by its time, and the session goes on.
forever = "SELECT count(*) FROM invoice_lines a, invoice_lines b, invoice_lines c"
with psycopg.connect(**where, autocommit=True) as db:
    threading.Timer(0.5, db.cancel).start()
    for set_up in ("SELECT 1", "SET statement_timeout = '200ms'"):
        db.execute(set_up)
        try:
            db.execute(forever)
            raise AssertionError("it ended")
        except psycopg.errors.QueryCanceled:
            pass
    assert db.execute("SELECT 1").fetchone() == (1,)

# The older driver writes parameters into the text.
db = psycopg2.connect(**where)
c = db.cursor()
c.execute("SELECT id, total, date, alarm FROM invoices WHERE number = %s AND date > %s AND alarm IN %s", ("12", dt.date(2026, 1, 1), (False, None)))
assert c.fetchone() == (f"{12:032x}", D("12.10"), dt.date(2026, 1, 13), False)
c = db.cursor("older")
c.execute("SELECT number FROM invoices ORDER BY date, id")
assert len(c.fetchmany(10)) == 10 and len(c.fetchall()) == 990
db.close()

for wrong in (dict(where, password="pencil cas"), dict(where, user="nobody")):
    try:
        psycopg.connect(**wrong)
        raise AssertionError("came in")
    except psycopg.OperationalError as error:
        assert "password authentication failed" in str(error), error
print("psycopg: fine")
