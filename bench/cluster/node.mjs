// A Socket.IO server of Node's on Redis: node node.mjs <folder of node_modules> <adapter> <URL>
// It writes its address, and ends with its input.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [folder, adapter, url] = process.argv.slice(2);
const require = createRequire(resolve(folder) + "/");
const { Server } = require("socket.io");
const { createClient } = require("redis");

async function client() {
  const path = url.startsWith("unix://") ? { socket: { path: url.slice("unix://".length) } } : { url };
  const c = createClient(path);
  c.on("error", () => {});
  await c.connect();
  return c;
}

const adapters = {
  classic: async () => require("@socket.io/redis-adapter").createAdapter(await client(), await client()),
  sharded: async () => require("@socket.io/redis-adapter").createShardedAdapter(await client(), await client()),
  streams: async () => require("@socket.io/redis-streams-adapter").createAdapter(await client()),
};

const server = createServer();
const io = new Server(server, { adapter: await adapters[adapter]() });
io.on("connection", (socket) => socket.on("bcast", (arg) => io.emit("bcast", arg)));
server.listen(0, "127.0.0.1", () => console.log("127.0.0.1:" + server.address().port));
process.stdin.on("data", async () => console.log(await io.of("/").adapter.serverCount()));
process.stdin.on("end", () => process.exit(0));
