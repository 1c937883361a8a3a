// Sessions of the official client behind a balancer that gives each request to another
// server: polling, the upgrade, text and binary both ways.
//
//	node forward.mjs URL SESSIONS
import assert from 'node:assert/strict';
import { io } from 'socket.io-client';

const [url, sessions] = process.argv.slice(2);

function within(ms, what, promise) {
  return Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error(`${what}: nothing in time`)), ms).unref())]);
}

async function session(i) {
  const s = io(url, { forceNew: true, reconnection: false, transports: i % 4 === 3 ? ['polling'] : ['polling', 'websocket'] });
  const upgraded = new Promise((resolve) => s.io.engine.once('upgrade', resolve));
  const failed = new Promise((_, reject) => {
    s.on('connect_error', reject);
    s.on('disconnect', (reason, details) => reject(new Error(`session ${i}: ${reason} ${details?.description ?? ''}`)));
  });
  failed.catch(() => {});
  const work = async () => {
    await new Promise((resolve) => s.on('connect', resolve));
    const ask = async (...args) => {
      const [answer] = [await s.emitWithAck('echo', ...args)];
      assert.deepEqual(answer, args);
    };
    await ask(`session ${i}`, Buffer.alloc(3000, i));
    if (i % 4 !== 3) await upgraded;
    for (let k = 0; k < 5; k++) await ask({ k, i }, Buffer.alloc(20_000 * k, k));
    const got = [];
    const all = new Promise((resolve) => s.on('one', (k) => got.push(k) === 50 && resolve()));
    s.emit('many', 50);
    await all;
    assert.deepEqual(got, [...Array(50).keys()]);
  };
  await within(60_000, `session ${i}`, Promise.race([work(), failed]));
  s.removeAllListeners('disconnect');
  s.disconnect();
}

const results = await Promise.allSettled([...Array(Number(sessions)).keys()].map(session));
const faults = results.filter((r) => r.status === 'rejected');
for (const r of faults.slice(0, 5)) console.error(r.reason);
console.log(`${results.length - faults.length} of ${results.length}`);
process.exit(faults.length ? 1 : 0);
