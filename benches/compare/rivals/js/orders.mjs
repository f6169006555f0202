// Reads orders, one JSON a line, and answers each in turn; what is not known is said.
import { createInterface } from "node:readline";
import { createReadStream } from "node:fs";

export function serve(orders) {
  let turn = Promise.resolve();
  createInterface({ input: process.stdin }).on("line", (line) => {
    const order = JSON.parse(line);
    turn = turn.then(async () => {
      try {
        const does = orders[order.do];
        if (!does) throw new Error(`there is no order ${order.do}`);
        say((await does(order)) ?? {});
      } catch (error) {
        say({ failed: String(error?.stack ?? error) });
      }
      if (order.do === "stop") process.exit(0);
    });
  }).on("close", () => turn.then(() => process.exit(0)));
}

export const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");

// The monotonic clock of the machine, the same in every process.
export const nowMs = () => Number(process.hrtime.bigint() / 1000n) / 1000;

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export async function* documents(file, count) {
  let n = 0;
  for await (const line of createInterface({ input: createReadStream(file) })) {
    if (n++ >= count) break;
    yield JSON.parse(line);
  }
}

// A status change as the SdI tells it: what was delivered, when, under which number.
export const outcome = (k) => ({
  tipo: "RC",
  sdi: String(10000000000 + k * 900 + ((k * 7919) % 900)),
  at: 1760000000000 + k * 7000 + ((k * 104729) % 7000),
});
