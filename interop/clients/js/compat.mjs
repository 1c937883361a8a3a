// What every version of the client can do, by the means that all of them have.
import assert from 'node:assert/strict';
import { collect, exchange, record, same, waitFor } from './harness.mjs';

const unicode = 'é ß ñ Привет 你好 \u{1f600} \u2028 "quoted" \\ \n\t';
const bytes = Buffer.from([0, 1, 2, 127, 128, 254, 255, 0x1e, 10, 13]);

function ask(s, event, ...args) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer to "${event}"`)), 8_000);
    s.emit(event, ...args, (...answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
  });
}

function echoes(...args) {
  return async (t) => {
    const s = await t.connect();
    // Version 1 encodes text twice on long-polling, and decodes it twice: what it
    // sends there and gets back on the WebSocket is another text. The Node server
    // cannot help it, either.
    if (t.client?.endsWith('-1')) await t.settled(s);
    same(await exchange(s, 'echo', args), args);
    same(await ask(s, 'echo', ...args), args);
    await t.settled(s);
    same(await exchange(s, 'echo', args), args);
  };
}

export const cases = {
  identity: async (t) => {
    const s = await t.connect();
    const [who] = await ask(s, 'whoami');
    same([who.id, who.namespace], [s.id, '/']);
    await t.settled(s);
    assert.equal(s.io.engine.transport.name, t.mode === 'polling' ? 'polling' : 'websocket');
    same((await ask(s, 'whoami'))[0].transport, s.io.engine.transport.name);
  },
  'echo-text': echoes('hello', ''),
  'echo-unicode': echoes(unicode, { [unicode]: unicode }),
  'echo-json': echoes(null, true, 0, -1.5, 2 ** 40, [], {}, { a: { b: [null, { c: '' }] } }),
  'echo-100000-characters': echoes('x'.repeat(50_000) + 'é'.repeat(50_000)),
  'echo-binary': echoes(bytes),
  'echo-binary-nested': echoes({ a: bytes, b: [bytes, { c: Buffer.from('deep') }] }, unicode, Buffer.from('last')),
  'ack-to-server': async (t) => {
    const s = await t.connect();
    s.on('question', (...args) => args.pop()('answer', ...args));
    same(await exchange(s, 'ask', [1, bytes], 'answered'), ['answer', 1, bytes]);
    same(await ask(s, 'ask-and-wait', 2), ['answer', 2]);
  },
  'burst-across-upgrade': async (t) => {
    const s = await t.connect();
    const sent = Array.from({ length: 300 }, (_, i) => (i % 10 === 0 ? { at: i, data: Buffer.from([i & 255]) } : i));
    const all = collect(s, 'echo', sent.length);
    for (const x of sent) s.emit('echo', x);
    same(await all, sent);
  },
  'rooms-and-broadcast': async (t) => {
    const [a, b] = await Promise.all([t.connect(), t.connect()]);
    const got = [a, b].map((s) => record(s, 'room'));
    await ask(a, 'join', 'compat');
    b.emit('room', 'compat', { bytes });
    await ask(b, 'echo', 'marker');
    await ask(a, 'echo', 'marker');
    same(got, [[[{ bytes }]], []]);
    same(await waitFor(a, 'bcast', () => b.emit('bcast', 'to all')), ['to all']);
  },
  namespace: async (t) => {
    const s = await t.connect();
    const other = await t.ready(s.io.socket('/custom', {}));
    const [who] = await ask(other, 'whoami');
    // version 1 takes the session's id for all of its sockets
    assert.ok(who.id.endsWith(other.id) && who.namespace === '/custom');
    same(await exchange(other, 'echo', [bytes]), [bytes]);
    other.disconnect();
    same(await ask(s, 'echo', 'still here'), ['still here']);
  },
  'middleware-refuses': async (t) => {
    const s = await t.connect();
    // connect_error since version 3
    const refused = s.io.socket('/refused', {});
    const [e] = await Promise.race([waitFor(refused, 'connect_error'), waitFor(refused, 'error')]);
    same(e.data ?? e, { code: 401, hint: 'say please' });
    same(await ask(s, 'echo', 'still here'), ['still here']);
  },
  'server-disconnects': async (t) => {
    const s = await t.settled(await t.connect());
    same((await waitFor(s, 'disconnect', () => s.emit('kick', true)))[0], 'io server disconnect');
  },
  'reconnects-after-cut': async (t) => {
    const s = await t.settled(await t.connect('/', { url: t.via, reconnection: true, reconnectionDelay: 10 }));
    const before = s.id;
    await waitFor(s, 'connect', () => t.cut());
    assert.notEqual(s.id, before);
    same(await exchange(s, 'echo', ['again', bytes]), ['again', bytes]);
  },
};
