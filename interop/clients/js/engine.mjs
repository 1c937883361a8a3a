// The bare Engine.IO echo on /engine.io/, with the JavaScript Engine.IO client.
import assert from 'node:assert/strict';
import { Socket } from 'engine.io-client';
import { collect, same, waitFor } from './harness.mjs';

const transports = { websocket: ['websocket'], polling: ['polling'], upgrade: ['polling', 'websocket'] };

async function connect(t, options) {
  const e = new Socket(t.url, { path: '/engine.io/', transports: transports[t.mode], ...options });
  t.sockets.push({ io: { reconnection() {} }, disconnect: () => e.close() });
  await waitFor(e, 'open');
  return e;
}

async function settled(t, e) {
  if (t.mode === 'upgrade' && e.transport.name !== 'websocket') await waitFor(e, 'upgrade');
  return e;
}

export const cases = {
  text: async (t) => {
    const e = await connect(t);
    for (const text of ['hello', 'Привет \u{1f600}\n"', 'x'.repeat(100_000)]) {
      same(await waitFor(e, 'message', () => e.send(text)), [text]);
    }
    same(await waitFor(e, 'message', () => e.send('')), [undefined]); // the client's way to show an empty message
  },
  binary: async (t) => {
    const e = await connect(t);
    for (const b of [Buffer.from([0, 1, 254, 255, 0x1e]), Buffer.alloc(0), Buffer.alloc(100_000, 7)]) {
      same(await waitFor(e, 'message', () => e.send(b)), [b]);
    }
  },
  'binary-settled': async (t) => {
    const e = await settled(t, await connect(t));
    same(await waitFor(e, 'message', () => e.send(Buffer.from([4]))), [Buffer.from([4])]);
    assert.equal(e.transport.name, t.mode === 'polling' ? 'polling' : 'websocket');
  },
  'burst-text-and-binary': async (t) => {
    const e = await connect(t);
    const sent = Array.from({ length: 300 }, (_, i) => (i % 2 ? Buffer.from([i % 256]) : String(i)));
    const all = collect(e, 'message', sent.length);
    for (const x of sent) e.send(x);
    same(await all, sent);
  },
  handshake: async (t) => {
    const e = new Socket(t.url, { path: '/engine.io/', transports: transports[t.mode] });
    const [h] = await waitFor(e, 'handshake');
    same(Object.keys(h), ['sid', 'upgrades', 'pingInterval', 'pingTimeout', 'maxPayload']);
    same(h.upgrades, t.mode === 'websocket' ? [] : ['websocket']);
    e.close();
  },
  'close-while-upgrading': async (t) => {
    const e = await connect(t);
    e.send('last');
    e.close();
    same((await waitFor(e, 'close'))[0], 'forced close');
  },
  'unknown-session': async (t) => {
    const answer = await fetch(`${t.url}/engine.io/?EIO=4&transport=polling&sid=unknown`);
    same([answer.status, await answer.json()], [400, { code: 1, message: 'Session ID unknown' }]);
  },
};
