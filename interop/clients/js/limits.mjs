// Against a server with -max-payload 10000 -connect-timeout 300ms.
import assert from 'node:assert/strict';
import { Socket } from 'engine.io-client';
import { ask, collect, record, same, waitFor } from './harness.mjs';

export const cases = {
  'payload-below-limit': async (t) => {
    const s = await t.settled(await t.connect());
    same(await ask(s, 'echo', 'x'.repeat(9_900)), ['x'.repeat(9_900)]);
    const size = t.mode === 'polling' ? 7_000 : 9_900; // base64
    same(await ask(s, 'echo', Buffer.alloc(size, 'x')), [Buffer.alloc(size, 'x')]);
  },
  'payload-above-limit': async (t) => {
    const s = await t.settled(await t.connect());
    const other = await t.connect();
    const reason = await waitFor(s, 'disconnect', () => s.emit('echo', 'x'.repeat(10_001)));
    assert.match(reason[0], /^transport (close|error)$/);
    same(await ask(other, 'echo', 'unharmed'), ['unharmed']);
  },
  'answer-above-limit': async (t) => { // the limit is on what peers send
    const s = await t.connect();
    const all = collect(s, 'numbered', 3000);
    s.emit('burst', 3000);
    same((await all).at(-1), 2999);
  },
  'many-messages-are-split': async (t) => { // the client cuts its payloads at maxPayload
    const s = await t.connect();
    const got = record(s, 'echo');
    for (let i = 0; i < 40; i++) s.emit('echo', `${i} ${'é'.repeat(1000)}`);
    same(await ask(s, 'echo', 'last'), ['last']);
    same(got.map(([x]) => parseInt(x, 10)), Array.from({ length: 40 }, (_, i) => i));
  },
  'connect-timeout': async (t) => {
    // A session that joins no namespace is ended.
    const transports = t.mode === 'upgrade' ? ['polling', 'websocket'] : [t.mode];
    const e = new Socket(t.url, { path: '/socket.io/', transports });
    await waitFor(e, 'open');
    const start = performance.now();
    const [reason] = await waitFor(e, 'close');
    const took = performance.now() - start;
    same(reason, 'transport close');
    assert.ok(took > 200 && took < 2500, `after ${took} ms`);
  },
};
