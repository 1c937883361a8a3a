// Runs cases one after the other and prints one JSON object a line for each:
// {"case": name, "ok": true} or {"case": name, "ok": false, "why": text}.
import assert from 'node:assert/strict';
import net from 'node:net';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

const caseDeadline = 20_000; // ms; a case takes far less unless something hangs
const eventDeadline = 8_000; // ms

const transports = {
  websocket: ['websocket'],
  polling: ['polling'],
  upgrade: ['polling', 'websocket'],
};

// Case is what a case is given: the server's address, and sockets that are
// closed when the case is over.
export class Case {
  constructor(env) {
    Object.assign(this, env);
    this.sockets = [];
    // Versions 1 and 2 export the function itself.
    const lib = require(env.client ?? 'socket.io-client');
    this.io = lib.io ?? lib;
  }

  // open makes a socket with a connection of its own, and does not wait.
  open(namespace = '/', options = {}) {
    const { url = this.url, ...rest } = options;
    const s = this.io(url + namespace, {
      transports: transports[this.mode], forceNew: true, reconnection: false,
      ...(this.parser && { parser: require(this.parser) }),
      ...(this.deflate && { perMessageDeflate: { threshold: 0 } }), ...rest,
    });
    this.sockets.push(s);
    return s;
  }

  // connect makes a socket and waits until it is connected.
  async connect(namespace, options) {
    return this.ready(this.open(namespace, options));
  }

  async ready(s) {
    if (s.connected) return s;
    await new Promise((resolve, reject) => {
      s.once('connect', resolve);
      s.once('connect_error', (e) => reject(new Error(`connect_error: ${e.message} ${e.description ?? ''}`)));
    });
    return s;
  }

  // settled waits until a socket is on the transport that the mode ends with.
  async settled(s) {
    const engine = s.io.engine;
    if (this.mode === 'upgrade' && engine.transport.name !== 'websocket') {
      await waitFor(engine, 'upgrade');
    }
    return s;
  }

  // cut ends every TCP connection through the proxy, at a moment without traffic.
  async cut() {
    const [host, port] = this.control.split(':');
    const c = net.connect(Number(port), host);
    await waitFor(c, 'close', () => c.resume());
  }

  close() {
    for (const s of this.sockets) {
      s.io.reconnection(false);
      s.disconnect();
    }
  }
}

// waitFor resolves with the arguments of an emitter's next event. start, if
// given, is called once the listener is there.
export function waitFor(emitter, event, start) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no "${event}" within ${eventDeadline} ms`)), eventDeadline);
    emitter.once(event, (...args) => {
      clearTimeout(timer);
      resolve(args);
    });
    start?.();
  });
}

// exchange emits an event and resolves with the arguments of the answer event.
export function exchange(s, event, args, answer = event) {
  return waitFor(s, answer, () => s.emit(event, ...args));
}

// ask emits an event and resolves with all arguments of its acknowledgement.
export function ask(s, event, ...args) {
  return new Promise((resolve, reject) => {
    s.timeout(eventDeadline).emit(event, ...args, (err, ...answer) => (err ? reject(err) : resolve(answer)));
  });
}

// collect gathers the first argument of an event until there are n.
export function collect(s, event, n) {
  const got = [];
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${got.length} of ${n} "${event}" within ${eventDeadline} ms`)), eventDeadline);
    s.on(event, (arg) => {
      got.push(arg);
      if (got.length === n) {
        clearTimeout(timer);
        resolve(got);
      }
    });
  });
}

// record gathers an event's arguments for as long as the socket lives.
export function record(s, event) {
  const got = [];
  s.on(event, (...args) => got.push(args));
  return got;
}

// same compares deeply; all kinds of binary count as equal when their bytes are.
export function same(got, want) {
  assert.deepEqual(plain(got), plain(want));
}

function plain(v) {
  if (v instanceof ArrayBuffer) v = Buffer.from(v);
  if (ArrayBuffer.isView(v)) return { bytes: Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString('hex') };
  if (Array.isArray(v)) return v.map(plain);
  if (v !== null && typeof v === 'object') return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, plain(x)]));
  return v;
}

// reason is an error's message, shortened, and where in the cases it arose.
function reason(e) {
  const lines = String(e?.stack ?? e).split('\n');
  const place = lines.find((l) => l.includes('/clients/js/') && !l.includes('harness.mjs'));
  return [...lines.filter((l) => !/^ +at /.test(l)).slice(0, 16), place?.trim() ?? ''].join('\n');
}

// run runs the cases that fit the mode. cases maps names to functions; one that
// has a `modes` property is for these modes only.
export async function run(cases, env) {
  for (const [name, body] of Object.entries(cases)) {
    if (body.modes && !body.modes.includes(env.mode)) continue;
    const t = new Case(env);
    let timer;
    let line = { case: name, ok: true };
    try {
      await Promise.race([body(t), new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not done within ${caseDeadline} ms`)), caseDeadline);
      })]);
    } catch (e) {
      line = { case: name, ok: false, why: reason(e) };
    }
    clearTimeout(timer);
    t.close();
    console.log(JSON.stringify(line));
  }
}
