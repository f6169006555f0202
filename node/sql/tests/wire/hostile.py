"""Clients that mean harm: run by tests/wire/hostile.rs with a port and what to do."""
import os, random, select, struct, sys, time
import psycopg
from psycopg import pq

port, what = int(sys.argv[1]), sys.argv[2]
where = f"host=localhost port={port} user=02038490237 password='pencil case' dbname=erp sslmode=disable"
huge = b"SELECT repeat('x', 1000000) FROM invoices"


def connect():
    found = pq.PGconn.connect(where.encode())
    assert found.status == pq.ConnStatus.OK, found.error_message
    return found


def never():
    db = connect()
    db.send_query(huge)
    print("!", flush=True)
    time.sleep(600)


def slow():
    db = connect()
    db.send_query(huge)
    db.set_single_row_mode()
    time.sleep(1)
    rows = 0
    while result := db.get_result():
        if result.status == pq.ExecStatus.SINGLE_TUPLE:
            assert len(result.get_value(0, 0)) == 1_000_000
            rows += 1
        else:
            assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
    assert rows == 1000, rows


def idle():
    db = psycopg.connect(where)
    cursor = db.cursor("c")
    cursor.execute("SELECT id FROM invoices")
    assert cursor.fetchone()
    time.sleep(2)
    try:
        cursor.fetchone()
        raise AssertionError("it went on")
    except psycopg.OperationalError as error:
        assert "stood still" in str(error) or "closed" in str(error), error
    # Without a cursor a client may wait.
    db = psycopg.connect(where)
    db.execute("SELECT 1")
    time.sleep(2)
    db.execute("SELECT 1")


def text(string):
    return string.encode() + b"\0"


def message(kind, body):
    return kind + struct.pack(">i", len(body) + 4) + body


# What a driver sends for one prepared query, from Parse to Sync.
WHOLE = [
    (b"P", text("s") + text("SELECT number FROM invoices WHERE id = $1 LIMIT 3") + struct.pack(">hi", 1, 25)),
    (b"D", b"S" + text("s")),
    (b"B", text("p") + text("s") + struct.pack(">hhhi", 1, 0, 1, 2) + b"17" + struct.pack(">hh", 1, 1)),
    (b"D", b"P" + text("p")),
    (b"E", text("p") + struct.pack(">i", 2)),
    (b"C", b"P" + text("p")),
    (b"S", b""),
]


def garbled():
    dice = random.Random(20261124)
    ends = set()
    for _ in range(120):
        db = connect()
        sent = bytearray(b"".join(message(*one) for one in WHOLE))
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(sent))
            if dice.random() < 0.7:
                sent[at] = dice.randrange(256)
            elif dice.random() < 0.5:
                del sent[at]
            else:
                sent.insert(at, dice.choice(b"\0\xff\x7fQPBES"))
        os.write(db.socket, sent)
        said = b""
        # It answers, or waits for the rest of what was said to be longer.
        while select.select([db.socket], [], [], 0.05)[0]:
            try:
                more = os.read(db.socket, 65536)
            except ConnectionResetError:
                more = b""
            said += more
            if not more:
                break
        ends |= {code for code in (b"C08P01", b"C42601", b"C26000", b"C34000") if code in said}
        assert b"CXX000" not in said, (bytes(sent), said)
        db.finish()
    assert b"C08P01" in ends and len(ends) > 2, ends


globals()[what]()
print(what + ": fine")
