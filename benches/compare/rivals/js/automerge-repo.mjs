// automerge-repo, with its websocket server and its storage in files. A status change is one more
// entry of a list in the invoice's document. The names of the documents are given to the client
// for nothing, through a file.
import { ImmutableString, Repo } from "@automerge/automerge-repo";
import { WebSocketClientAdapter, WebSocketServerAdapter } from "@automerge/automerge-repo-network-websocket";
import { NodeFSStorageAdapter } from "@automerge/automerge-repo-storage-nodefs";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { WebSocketServer } from "ws";
import { documents, nowMs, outcome, say, serve, sleep } from "./orders.mjs";

let repo, names, connect;
let handles = [];
// What nobody edits letter by letter is no collaborative text.
const fixed = (value) =>
  typeof value === "string" ? new ImmutableString(value)
  : Array.isArray(value) ? value.map(fixed)
  : value && typeof value === "object"
    ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, fixed(inner)]))
    : value;
const urls = () => (existsSync(names) ? JSON.parse(readFileSync(names)) : []);
const esiti = (handle) => handle?.isReady() ? handle.doc()?.esiti : undefined;
const change = (k) => handles[k % handles.length].change((d) => { d.esiti.push(fixed(outcome(k))); });

async function find() {
  const known = urls();
  // A hundred at a time: a thousand at once took more than seven times as long as five hundred.
  while (handles.length < known.length) {
    const next = known.slice(handles.length, handles.length + 100);
    handles.push(...await Promise.all(next.map((url) => repo.find(url).catch(() => null))));
  }
}

serve({
  async open(order) {
    mkdirSync(order.dir, { recursive: true });
    ({ names, connect } = order);
    const storage = new NodeFSStorageAdapter(order.dir);
    if (connect) {
      repo = new Repo({ storage, network: [], sharePolicy: async () => true });
      // What is stored is loaded at opening, as an application does that shows a list.
      if (order.dir && existsSync(order.dir + "/.synced")) await find();
      repo.dir = order.dir;
      return {};
    }
    const wss = new WebSocketServer({ port: 0, host: "127.0.0.1", maxPayload: 1 << 30 });
    await new Promise((done) => wss.on("listening", done));
    repo = new Repo({ storage, network: [new WebSocketServerAdapter(wss)], sharePolicy: async () => true });
    return { port: wss.address().port };
  },
  async write({ file, count }) {
    for await (const { _id, ...rest } of documents(file, count)) {
      handles.push(repo.create({ ...fixed({ _id, ...rest }), esiti: [] }));
    }
    writeFileSync(names, JSON.stringify(handles.map((handle) => handle.url)));
    await repo.flush();
  },
  async change({ first, count }) {
    for (let k = first; k < first + count; k++) change(k);
    await repo.flush();
  },
  async sync({ documents, changes }) {
    repo.networkSubsystem.addNetworkAdapter(new WebSocketClientAdapter(`ws://${connect}`));
    await repo.networkSubsystem.whenReady();
    if (handles.length < documents) await find();
    for (;;) {
      let held = 0, seen = 0;
      for (const handle of handles) {
        const list = esiti(handle);
        if (list) { held += 1; seen += list.length; }
      }
      if (held >= documents && seen >= changes) break;
      await sleep(20);
    }
    await repo.flush();
    writeFileSync(repo.dir + "/.synced", "");
  },
  async held() {
    if (handles.length === 0) {
      const known = urls();
      const wait = AbortSignal.timeout(30_000);
      handles = await Promise.all(known.map((url) => repo.find(url, { signal: wait }).catch(() => null)));
    }
    const lists = handles.map(esiti).filter(Boolean);
    return { documents: lists.length, changes: lists.reduce((sum, list) => sum + list.length, 0) };
  },
  async watch({ first, count }) {
    const seen = new Array(count);
    let left = count;
    const numbers = new Map(Array.from({ length: count }, (_, k) => [outcome(first + k).sdi, k]));
    for (let k = 0; k < Math.min(count, handles.length); k++) {
      handles[(first + k) % handles.length].on("change", ({ doc }) => {
        const at = nowMs();
        for (const { sdi } of doc.esiti) {
          const n = numbers.get(String(sdi));
          if (n === undefined || seen[n] !== undefined) continue;
          seen[n] = at;
          if (--left === 0) say({ at_ms: seen });
        }
      });
    }
    await sleep(500);
  },
  async live({ first, count, every_ms }) {
    const said = [];
    for (let k = 0; k < count; k++) {
      said.push(nowMs());
      change(first + k);
      await sleep(every_ms);
    }
    return { at_ms: said };
  },
  async stop() {
    await repo.flush();
  },
});
