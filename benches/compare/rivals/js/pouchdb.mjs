// PouchDB with LevelDB at both ends; the server speaks CouchDB's protocol (express-pouchdb).
// A status change is a small document of its own, as CouchDB's guides advise for what grows.
import express from "express";
import expressPouchDB from "express-pouchdb";
import PouchDB from "pouchdb";
import { mkdirSync } from "node:fs";
import { documents, nowMs, outcome, say, serve, sleep } from "./orders.mjs";

// Documented settings of replication: larger batches than the default 100 are quicker.
const BATCHES = { batch_size: 1000, batches_limit: 10 };
let db, remote, syncing;

const held = async () => {
  const total = (await db.info()).doc_count;
  const changes = (await db.allDocs({ startkey: "esito/", endkey: "esito/\ufff0" })).rows.length;
  return { documents: total - changes, changes };
};
const change = (k) => ({ _id: `esito/${String(k).padStart(7, "0")}`, ...outcome(k) });

serve({
  async open({ dir, connect }) {
    mkdirSync(dir, { recursive: true });
    const Local = PouchDB.defaults({ prefix: dir + "/", adapter: "leveldb" });
    db = new Local("fatture");
    await db.info();
    if (connect) {
      remote = `http://${connect}/fatture`;
      return {};
    }
    const app = express();
    app.use("/", expressPouchDB(Local, {
      mode: "minimumForPouchDB", inMemoryConfig: true, logPath: dir + "/log.txt",
    }));
    const listener = await new Promise((done) => {
      const listener = app.listen(0, "127.0.0.1", () => done(listener));
    });
    return { port: listener.address().port };
  },
  async write({ file, count }) {
    let batch = [];
    for await (const document of documents(file, count)) {
      // CouchDB keeps names that begin with _ for itself; the XML has none.
      batch.push(document);
      if (batch.length === 1000) await db.bulkDocs(batch.splice(0));
    }
    await db.bulkDocs(batch);
  },
  async change({ first, count }) {
    await db.bulkDocs(Array.from({ length: count }, (_, k) => change(first + k)));
  },
  async sync(wanted) {
    // One pass each way, as a client that comes back makes.
    await db.sync(new PouchDB(remote), BATCHES);
    const here = (await db.info()).doc_count;
    if (here !== wanted.documents + wanted.changes) throw new Error(`only ${here} came`);
  },
  held,
  async watch({ first, count }) {
    const seen = new Array(count);
    let left = count;
    syncing = db.sync(new PouchDB(remote), { live: true, retry: true, ...BATCHES });
    db.changes({ since: "now", live: true }).on("change", ({ id }) => {
      const k = id.startsWith("esito/") ? Number(id.slice(6)) - first : -1;
      if (k < 0 || k >= count || seen[k] !== undefined) return;
      seen[k] = nowMs();
      if (--left === 0) say({ at_ms: seen });
    });
    await sleep(500);
  },
  async live({ first, count, every_ms }) {
    const said = [];
    for (let k = 0; k < count; k++) {
      said.push(nowMs());
      await db.put(change(first + k));
      await sleep(every_ms);
    }
    return { at_ms: said };
  },
  async stop() {
    syncing?.cancel();
    await db.close();
  },
});
