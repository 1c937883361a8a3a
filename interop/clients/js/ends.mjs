// How connections end, as seen from both sides, and begin again.
import assert from 'node:assert/strict';
import { ask, exchange, same, waitFor } from './harness.mjs';

// gone connects a watcher, and resolves with the reason that the server gives
// for the end of s after end() has been called.
async function gone(t, s, end) {
  const watcher = await t.connect();
  await ask(watcher, 'watch', s.id);
  const [id, reason] = await waitFor(watcher, 'gone', end);
  assert.equal(id, s.id ?? id);
  return reason;
}

// seen resolves with the server's and the client's reason.
async function seen(t, s, end) {
  const client = waitFor(s, 'disconnect');
  return [await gone(t, s, end), (await client)[0]];
}

export const cases = {
  'client-disconnects': async (t) => {
    const s = await t.settled(await t.connect());
    same(await seen(t, s, () => s.disconnect()), ['client namespace disconnect', 'io client disconnect']);
  },
  'client-disconnects-while-upgrading': async (t) => {
    const s = await t.connect();
    same(await seen(t, s, () => s.disconnect()), ['client namespace disconnect', 'io client disconnect']);
  },
  'client-closes-engine': async (t) => {
    const s = await t.settled(await t.connect());
    same(await seen(t, s, () => s.io.engine.close()), ['transport close', 'forced close']);
  },
  'server-disconnects-socket': async (t) => {
    const s = await t.settled(await t.connect());
    same(await seen(t, s, () => s.emit('kick', false)), ['server namespace disconnect', 'io server disconnect']);
    // the session lives on: the same connection takes a new socket
    await waitFor(s, 'connect', () => s.connect());
    same(await ask(s, 'echo', 'again'), ['again']);
  },
  'server-disconnects-one-of-two-namespaces': async (t) => {
    const a = await t.connect();
    const b = await t.ready(a.io.socket('/custom', {}));
    await waitFor(b, 'disconnect', () => b.emit('kick', false));
    same(await ask(a, 'echo', 'still here'), ['still here']);
  },
  'server-disconnects-session': async (t) => {
    const s = await t.settled(await t.connect());
    const other = await t.ready(s.io.socket('/custom', {}));
    const engineClosed = waitFor(s.io.engine, 'close');
    const otherGone = waitFor(other, 'disconnect');
    same(await seen(t, s, () => s.emit('kick', true)), ['server namespace disconnect', 'io server disconnect']);
    await engineClosed;
    same((await otherGone)[0], 'io server disconnect');
  },
  'last-words-before-kick': async (t) => {
    const s = await t.connect();
    const got = [];
    s.on('echo', (x) => got.push(x));
    await waitFor(s, 'disconnect', () => {
      for (let i = 0; i < 20; i++) s.emit('echo', i);
      s.emit('kick', true);
    });
    same(got, Array.from({ length: 20 }, (_, i) => i));
  },

  'connection-cut': async (t) => {
    const s = await t.settled(await t.connect('/', { url: t.via }));
    const [server, client] = await seen(t, s, () => t.cut());
    // a poll that breaks off is an error, a WebSocket that ends a close
    assert.match(server, /^transport (close|error)$/);
    assert.match(client, /^transport (close|error)$/);
  },
  'reconnects-after-cut': async (t) => {
    const s = await t.settled(await t.connect('/', { url: t.via, reconnection: true, reconnectionDelay: 10 }));
    const before = s.id;
    await waitFor(s, 'connect', () => t.cut());
    assert.notEqual(s.id, before);
    same(await exchange(s, 'echo', ['again']), ['again']);
    await t.settled(s);
    same(await ask(s, 'echo', Buffer.from([1])), [Buffer.from([1])]);
  },
  'sends-what-it-buffered-while-away': async (t) => {
    const s = await t.settled(await t.connect('/', { url: t.via, reconnection: true, reconnectionDelay: 10 }));
    await waitFor(s, 'disconnect', () => t.cut());
    const got = [];
    s.on('echo', (x) => got.push(x));
    for (let i = 0; i < 20; i++) s.emit('echo', i);
    await waitFor(s, 'connect');
    same(await ask(s, 'echo', 'after'), ['after']);
    same(got, Array.from({ length: 20 }, (_, i) => i));
  },
  'rooms-are-left': async (t) => {
    const [s, other] = await Promise.all([t.connect(), t.connect()]);
    await ask(s, 'join', 'short-lived');
    await gone(t, s, () => s.disconnect());
    other.emit('room', 'short-lived', 'into the void');
    same(await ask(other, 'echo', 'fine'), ['fine']);
  },
};
