"""Many who ask the same at once, of two tenants: run by tests/wire/together.rs with a port; ends
when it reads a line. Each sum must be of a state between the asking and the answer."""
import sys, threading
import psycopg

port, over = int(sys.argv[1]), threading.Event()
# Every invoice beside ten: work enough that others come meanwhile.
ask = "SELECT count(*), sum(i.total) FROM invoices i, (SELECT id FROM invoices ORDER BY id LIMIT 10) x"
wrong = []


def desk(vat):
    try:
        with psycopg.connect(host="localhost", port=port, user=vat, password="pencil case", dbname="erp", autocommit=True) as db:
            one = lambda sql: db.execute(sql).fetchone()
            while not over.is_set():
                (least,), (count, total), (most,) = one(held), one(ask), one(held)
                beside = min(10, most)
                n = count // beside
                if not (least <= n <= most and count == n * beside and total * 10 == beside * (5 * n * (n + 1) + n)):
                    raise AssertionError((vat, least, count, total, most))
                if vat == "12345678903" and n != 3:
                    raise AssertionError((vat, n))
    except BaseException as error:
        wrong.append(error)


held = "SELECT number::int FROM invoices ORDER BY id DESC LIMIT 1"
desks = [threading.Thread(target=desk, args=(vat,)) for vat in ["02038490237"] * 8 + ["12345678903"] * 2]
for one in desks:
    one.start()
sys.stdin.readline()
over.set()
for one in desks:
    one.join()
assert not wrong, wrong
print("together: fine")
