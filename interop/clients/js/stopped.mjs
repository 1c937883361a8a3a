// Against a server with -ping-interval 300ms -ping-timeout 200ms, which the
// cases stop and continue, or end.
import assert from 'node:assert/strict';
import { ask, same, waitFor } from './harness.mjs';

export const cases = {
  // The process stands still and goes on: clients see a ping timeout and come back.
  'server-stands-still': async (t) => {
    const s = await t.settled(await t.connect('/', { reconnection: true, reconnectionDelay: 50, timeout: 1000 }));
    try {
      const [reason] = await waitFor(s, 'disconnect', () => process.kill(t.pid, 'SIGSTOP'));
      same(reason, 'ping timeout');
    } finally {
      process.kill(t.pid, 'SIGCONT');
    }
    await t.ready(s);
    same(await ask(s, 'echo', 'again'), ['again']);
  },
  // The process ends in good order; the test starts another behind the proxy.
  'server-restarts': async (t) => {
    const s = await t.settled(await t.connect('/', { url: t.via, reconnection: true, reconnectionDelay: 50 }));
    const before = s.id;
    const [reason] = await waitFor(s, 'disconnect', () => process.kill(t.pid, 'SIGTERM'));
    // Not "io server disconnect", after which clients stay away. A polling client
    // that was between two polls finds nobody there: that is an error.
    assert.match(reason, t.mode === 'polling' ? /^transport (close|error)$/ : /^transport close$/);
    await waitFor(s, 'connect');
    same([await ask(s, 'echo', 'again'), s.id === before], [['again'], false]);
  },
};
