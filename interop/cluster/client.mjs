// A Socket.IO client with connection state recovery, driven by lines of JSON as node.mjs is:
//
//   node client.mjs <URL> [options as JSON]
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [, , url, optionsText] = process.argv;
const socket = io(url, { reconnectionDelay: 5, reconnectionDelayMax: 50, randomizationFactor: 0, ...JSON.parse(optionsText || "{}") });
const got = [];
socket.onAny((...args) => {
  if (socket._pid) args.pop(); // the offset
  got.push(JSON.stringify(args.map((a) => (ArrayBuffer.isView(a) ? [...a] : a))));
});

const ops = {
  state: ({ from = 0 }) => ({ id: socket.id ?? "", connected: socket.connected, recovered: socket.recovered, got: got.slice(from) }),
  ask: ({ event, args }) => socket.timeout(10000).emitWithAck(event, ...args),
};

console.log(JSON.stringify({ url }));
createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const cmd = JSON.parse(line);
    try {
      console.log(JSON.stringify({ id: cmd.id, result: (await ops[cmd.op](cmd)) ?? null }));
    } catch (e) {
      console.log(JSON.stringify({ id: cmd.id, error: String(e?.message ?? e) }));
    }
  })
  .on("close", () => process.exit(0));
