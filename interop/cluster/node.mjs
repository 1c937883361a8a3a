// A Socket.IO server with one of the reference's adapters, driven by lines of JSON:
//
//   node node.mjs <adapter> <bus URL> [options as JSON]
//
// It writes {"url": ...} when it is ready, then for each line {"id", "op", ...} that it reads
// one line {"id", "result"} or {"id", "error"}. Binary is {"$bin": <base64>}. It ends with
// its input. far.go is the other end.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Server } from "socket.io";

const [, , adapter, bus, optionsText] = process.argv;
// recovery is for how many ms sockets may be away; the other options are the adapter's.
const { recovery, ...options } = JSON.parse(optionsText || "{}") ?? {};
const io = new Server(recovery ? { connectionStateRecovery: { maxDisconnectionDuration: recovery } } : {});

const adapters = {
  async classic() {
    const { createAdapter } = await import("@socket.io/redis-adapter");
    const [pub, sub] = await redisClients(2);
    return createAdapter(pub, sub, options);
  },
  async sharded() {
    const { createShardedAdapter } = await import("@socket.io/redis-adapter");
    const [pub, sub] = await redisClients(2);
    return createShardedAdapter(pub, sub, options);
  },
  async streams() {
    const { createAdapter } = await import("@socket.io/redis-streams-adapter");
    const [client] = await redisClients(1);
    return createAdapter(client, options);
  },
  async postgres() {
    const { createAdapter } = await import("@socket.io/postgres-adapter");
    const pg = await import("pg");
    const pool = new pg.default.Pool({ connectionString: bus });
    pool.on("error", () => {});
    await pool.query(
      "CREATE TABLE IF NOT EXISTS socket_io_attachments (id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea)",
    );
    return createAdapter(pool, options);
  },
};

async function redisClients(n) {
  const { createClient } = await import("redis");
  const list = [];
  for (let i = 0; i < n; i++) {
    const c = createClient({ url: bus });
    c.on("error", () => {});
    await c.connect();
    list.push(c);
  }
  return list;
}

// pack and unpack translate binary.
function pack(v) {
  if (v instanceof ArrayBuffer || ArrayBuffer.isView(v)) {
    return { $bin: Buffer.from(v.buffer ?? v, v.byteOffset ?? 0, v.byteLength).toString("base64") };
  }
  if (Array.isArray(v)) return v.map(pack);
  if (v && typeof v === "object") {
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, pack(x)]));
  }
  return v;
}

function unpack(v) {
  if (Array.isArray(v)) return v.map(unpack);
  if (v && typeof v === "object") {
    if (typeof v.$bin === "string") return Buffer.from(v.$bin, "base64");
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, unpack(x)]));
  }
  return v;
}

// A namespace's sockets join, leave and keep data as their clients ask; what servers send
// each other is kept.
const namespaces = new Map();

function prepare(nsp) {
  if (namespaces.has(nsp.name)) return nsp;
  const events = [];
  namespaces.set(nsp.name, events);
  nsp.on("connection", (socket) => {
    socket.on("join", (room, done) => {
      socket.join(room);
      done();
    });
    socket.on("leave", (room, done) => {
      socket.leave(room);
      done();
    });
    socket.on("data", (data, done) => {
      socket.data = data;
      done();
    });
  });
  for (const event of ["hello", "ask", "mute"]) {
    nsp.on(event, (...args) => {
      const ack = typeof args[args.length - 1] === "function" ? args.pop() : undefined;
      events.push({ event, args: pack(args) });
      if (ack && event === "ask") ack({ node: args[0] });
    });
  }
  return nsp;
}

const of = (name) => prepare(io.of(name ?? "/"));

function target(cmd) {
  let op = of(cmd.nsp);
  if (cmd.rooms?.length) op = op.to(cmd.rooms);
  if (cmd.except?.length) op = op.except(cmd.except);
  if (cmd.volatile) op = op.volatile;
  if (cmd.local) op = op.local;
  return op;
}

const ops = {
  of: (cmd) => void of(cmd.nsp),
  emit: (cmd) => void target(cmd).emit(cmd.event, ...unpack(cmd.args ?? [])),
  async call(cmd) {
    return new Promise((resolve) => {
      target(cmd)
        .timeout(cmd.timeout)
        .emit(cmd.event, ...unpack(cmd.args ?? []), (err, answers) => {
          resolve({ answers: pack(answers ?? []), missing: err ? String(err.message) : "" });
        });
    });
  },
  async fetch(cmd) {
    const list = await target(cmd).fetchSockets();
    return list.map((s) => ({ id: s.id, rooms: [...s.rooms], data: pack(s.data), address: s.handshake.address }));
  },
  join: (cmd) => void target(cmd).socketsJoin(cmd.names),
  leave: (cmd) => void target(cmd).socketsLeave(cmd.names),
  disconnect: (cmd) => void target(cmd).disconnectSockets(cmd.close),
  serverEmit: (cmd) => void of(cmd.nsp).serverSideEmit(cmd.event, ...unpack(cmd.args ?? [])),
  async serverCall(cmd) {
    return new Promise((resolve) => {
      of(cmd.nsp).serverSideEmit(cmd.event, ...unpack(cmd.args ?? []), (err, answers) => {
        resolve({ answers: pack(answers ?? []), missing: err ? String(err.message) : "" });
      });
    });
  },
  serverEvents: (cmd) => {
    of(cmd.nsp);
    return namespaces.get(cmd.nsp ?? "/");
  },
  servers: (cmd) => of(cmd.nsp).adapter.serverCount(),
  rooms: (cmd) => [...(of(cmd.nsp).sockets.get(cmd.socket)?.rooms ?? [])],
};

// The emitter of the bus, which is no server.
const emitters = {
  async redis() {
    const { Emitter } = await import("@socket.io/redis-emitter");
    const [client] = await redisClients(1);
    return { make: () => new Emitter(client, options), sent: () => client.ping() };
  },
  async postgres() {
    const { Emitter } = await import("@socket.io/postgres-emitter");
    const pg = await import("pg");
    const pool = new pg.default.Pool({ connectionString: bus, max: 1 });
    const ping = () => pool.query("SELECT 1");
    // An attachment takes two queries, the second after the first.
    return { make: () => new Emitter(pool), sent: () => ping().then(ping) };
  },
};

ops.emitter = async (cmd) => {
  emitting ??= emitters[adapter === "postgres" ? "postgres" : "redis"]();
  const { make, sent } = await emitting;
  let e = make().of(cmd.nsp ?? "/");
  const [first] = [e];
  if (cmd.rooms?.length) e = e.to(cmd.rooms);
  if (cmd.except?.length) e = e.except(cmd.except);
  if (cmd.volatile) e = e.volatile;
  switch (cmd.what) {
    case "emit":
      e.emit(cmd.event, ...unpack(cmd.args ?? []));
      break;
    case "join":
      e.socketsJoin(cmd.names);
      break;
    case "leave":
      e.socketsLeave(cmd.names);
      break;
    case "disconnect":
      e.disconnectSockets(cmd.close);
      break;
    case "serverEmit":
      first.serverSideEmit(cmd.event, ...unpack(cmd.args ?? []));
      break;
    default:
      throw new Error(`no ${cmd.what}`);
  }
  await sent();
};
let emitting;

io.adapter(await adapters[adapter]());
of("/");
io.of((name, auth, next) => next(null, true)).on("connection", () => {});
io.on("new_namespace", prepare);
const server = createServer();
io.attach(server);
server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` }));
});

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const cmd = JSON.parse(line);
    try {
      if (!ops[cmd.op]) throw new Error(`no ${cmd.op}`);
      console.log(JSON.stringify({ id: cmd.id, result: (await ops[cmd.op](cmd)) ?? null }));
    } catch (e) {
      console.log(JSON.stringify({ id: cmd.id, error: String(e?.message ?? e) }));
    }
  })
  .on("close", () => process.exit(0));
