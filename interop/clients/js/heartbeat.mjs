// Against a server with -ping-interval 300ms -ping-timeout 200ms.
import assert from 'node:assert/strict';
import { ask, record, same, waitFor } from './harness.mjs';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export const cases = {
  'stays-connected': async (t) => {
    const s = await t.settled(await t.connect());
    const id = s.id;
    let pings = 0;
    s.io.on('ping', () => pings++);
    const ends = record(s, 'disconnect');
    await pause(1600); // more than three intervals with their timeouts
    assert.ok(pings >= 3, `${pings} pings`);
    same([await ask(s, 'echo', 1), s.id, ends], [[1], id, []]);
  },
  'peer-without-pongs': async (t) => {
    const s = await t.settled(await t.connect());
    const watcher = await t.connect();
    await ask(watcher, 'watch', s.id);
    const { engine } = s.io;
    const send = engine._sendPacket.bind(engine);
    const reason = waitFor(watcher, 'gone');
    const closed = waitFor(s, 'disconnect');
    const start = performance.now();
    engine._sendPacket = (type, ...rest) => type !== 'pong' && send(type, ...rest);
    same((await reason)[1], 'ping timeout');
    assert.ok(performance.now() - start > 150, 'sooner than the timeout');
    same((await closed)[0], 'transport close');
  },
};
