// Usage: node [--tls-...] tls.mjs <https url>
//
// What a server that speaks TLS must do for Node.js: events by both transports, and
// resumed sessions. Versions and suites are what node's own flags say.
import assert from 'node:assert/strict';
import tls from 'node:tls';
import { createRequire } from 'node:module';

const { io } = createRequire(import.meta.url)('socket.io-client');
const url = new URL(process.argv[2]);

const once = (emitter, event) => new Promise((resolve, reject) => {
  emitter.once(event, resolve);
  for (const fault of ['error', 'connect_error']) emitter.once(fault, reject);
});

const bytes = Buffer.alloc(200_000, (i) => i);
for (let i = 0; i < bytes.length; i++) bytes[i] = i * 7 + (i >> 8);

async function events(transports) {
  const open = () => io(url.href, {
    transports, forceNew: true, reconnection: false, rejectUnauthorized: false, timeout: 8000,
  });
  const [a, b] = [open(), open()];
  await Promise.all([once(a, 'connect'), once(b, 'connect')]);
  for (const s of transports.length > 1 ? [a, b] : []) {
    if (s.io.engine.transport.name !== 'websocket') await once(s.io.engine, 'upgrade');
  }
  assert.equal(a.io.engine.transport.name, transports.at(-1));
  for (let i = 0; i < 3; i++) {
    const [back, text] = await a.timeout(8000).emitWithAck('echo', bytes, 'text').then((v) => (Array.isArray(v) ? v : [v]));
    assert.ok(bytes.equals(back));
    if (text !== undefined) assert.equal(text, 'text');
  }
  const burst = await Promise.all(Array.from({ length: 200 }, (_, i) => a.timeout(8000).emitWithAck('echo', i)));
  assert.deepEqual(burst, Array.from({ length: 200 }, (_, i) => i));
  const told = [once(a, 'told'), once(b, 'told')];
  b.emit('tell', bytes);
  for (const got of await Promise.all(told)) assert.ok(bytes.equals(got));
  const gone = once(a, 'disconnect');
  a.disconnect();
  b.disconnect();
  await gone;
}

// page requests a page over a connection that ends with it.
async function page(session, query) {
  const s = tls.connect({ host: url.hostname, port: url.port, rejectUnauthorized: false, session, ALPNProtocols: ['h2', 'http/1.1'] });
  let ticket;
  s.on('session', (t) => { ticket = t; });
  await once(s, 'secureConnect');
  assert.equal(s.alpnProtocol, 'http/1.1');
  s.write(`GET /page?${query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  let text = '';
  s.on('data', (b) => { text += b; });
  await once(s, 'end'); // which is close_notify's
  assert.match(text, new RegExp(`page ${query} by `));
  return { ticket, reused: s.isSessionReused(), cipher: s.getCipher().name };
}

await Promise.all([events(['websocket']), events(['polling']), events(['polling', 'websocket'])]);
const first = await page(undefined, 'new');
assert.equal(first.reused, false);
assert.ok(first.ticket);
const second = await page(first.ticket, 'again');
assert.equal(second.reused, true);
console.log('served');
process.exit(0);
