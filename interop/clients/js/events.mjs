// Events, acknowledgements, rooms, namespaces.
import assert from 'node:assert/strict';
import { ask, collect, exchange, record, same, waitFor } from './harness.mjs';

const unicode = 'é ß ñ Привет 你好 \u{1f600} \u2028\u2029 "quoted" \\ \n\t\u0000';
const oddName = 'odd "name"\n\\ é\u2028\u{1f600}';
const bytes = Buffer.from([0, 1, 2, 127, 128, 254, 255, 0x1e, 10, 13]);
const big = 'x'.repeat(50_000) + 'é'.repeat(50_000);

function echoes(...args) {
  return async (t) => {
    const s = await t.connect();
    same(await exchange(s, 'echo', args), args);
    same(await ask(s, 'echo', ...args), args);
  };
}

// marker returns when everything that was sent to s before has arrived.
async function marker(s) {
  same(await ask(s, 'echo', 'marker'), ['marker']);
}

export const cases = {
  'connect-auth': async (t) => {
    const s = t.open('/', { auth: { token: unicode, n: 1 } });
    same(await waitFor(s, 'auth'), [{ token: unicode, n: 1 }]);
  },
  'connect-no-auth': async (t) => same(await waitFor(t.open(), 'auth'), [{}]),
  identity: async (t) => {
    const s = await t.connect();
    const [who] = await ask(s, 'whoami');
    assert.equal(who.id, s.id);
    assert.equal(who.namespace, '/');
    assert.notEqual(s.id, s.io.engine.id, 'the socket id must not be the secret session id');
  },
  transport: async (t) => {
    const s = await t.settled(await t.connect());
    const [who] = await ask(s, 'whoami');
    assert.equal(who.transport, t.mode === 'polling' ? 'polling' : 'websocket');
    assert.equal(s.io.engine.transport.name, who.transport);
  },

  'echo-text': echoes('hello'),
  'echo-no-arguments': echoes(),
  'echo-empty-string': echoes(''),
  'echo-unicode': echoes(unicode, { [unicode]: unicode }),
  'echo-json': echoes(null, true, false, 0, -1, 1.5, 1e21, 2 ** 53, 5e-324, [], {}, [[[1]]], { a: { b: [null, { c: '' }] } }),
  'echo-many-arguments': echoes(...Array.from({ length: 200 }, (_, i) => i)),
  'echo-100000-characters': echoes(big),
  'echo-binary': echoes(bytes),
  'echo-binary-nested': echoes({ a: bytes, b: [bytes, { c: Buffer.from('deep') }] }, 'between', Buffer.from('last')),
  'echo-binary-empty': echoes(Buffer.alloc(0), 'x', Buffer.alloc(0)),
  'echo-binary-10-attachments': echoes(...Array.from({ length: 10 }, (_, i) => Buffer.from([i]))),
  'echo-binary-100000-bytes': echoes(Buffer.alloc(100_000, bytes)),
  'echo-typed-arrays': async (t) => {
    const s = await t.connect();
    const back = await exchange(s, 'echo', [new Uint8Array([1, 2, 3]), new Uint8Array([9]).buffer]);
    same(back, [Buffer.from([1, 2, 3]), Buffer.from([9])]);
  },
  'echo-placeholder-lookalike': echoes({ _placeholder: true, num: 0 }, { _placeholder: 'x' }),
  'echo-undefined-is-null': async (t) => {
    const s = await t.connect();
    same(await exchange(s, 'echo', [undefined, { a: undefined }]), [null, {}]);
  },
  'echo-odd-event-name': async (t) => {
    const s = await t.connect();
    same(await exchange(s, oddName, [1]), [1]);
    same(await ask(s, oddName, bytes), [bytes]);
  },
  'message-back': async (t) => {
    const s = await t.connect();
    same(await exchange(s, 'message', [1, '2', { 3: [bytes] }], 'message-back'), [1, '2', { 3: [bytes] }]);
    same(await waitFor(s, 'message-back', () => s.send('sent')), ['sent']);
  },

  'ack-from-server': async (t) => {
    const s = await t.connect();
    same(await ask(s, 'message-with-ack', 1, '2', { 3: [false] }), [1, '2', { 3: [false] }]);
    same(await s.emitWithAck('message-with-ack', 'promise'), 'promise');
    same(await ask(s, 'message-with-ack'), []);
  },
  'ack-binary': async (t) => {
    const s = await t.connect();
    same(await ask(s, 'message-with-ack', bytes, { b: bytes }), [bytes, { b: bytes }]);
  },
  'ack-100-at-once': async (t) => {
    const s = await t.connect();
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => ask(s, 'message-with-ack', i)));
    same(answers, Array.from({ length: 100 }, (_, i) => [i]));
  },
  'ack-none-times-out': async (t) => {
    const s = await t.connect();
    await assert.rejects(s.timeout(200).emitWithAck('nobody listens'), /timed out/);
    await marker(s);
  },
  'ack-to-server': async (t) => {
    const s = await t.connect();
    s.on('question', (...args) => args.pop()(...args, 'answer'));
    same(await exchange(s, 'ask', ['q', { deep: [unicode] }], 'answered'), ['q', { deep: [unicode] }, 'answer']);
  },
  'ack-to-server-binary': async (t) => {
    const s = await t.connect();
    s.on('question', (...args) => args.pop()({ again: args }));
    same(await exchange(s, 'ask', [bytes], 'answered'), [{ again: [bytes] }]);
  },
  'ack-to-server-that-waits': async (t) => {
    const s = await t.connect();
    s.on('question', (...args) => args.pop()('answer', ...args));
    same(await ask(s, 'ask-and-wait', 1, bytes), ['answer', 1, bytes]);
  },
  'ack-to-server-twice-is-ignored': async (t) => {
    const s = await t.connect();
    const answered = record(s, 'answered');
    s.on('question', (answer) => {
      answer('first');
      // the client refuses to answer twice: this is what a broken one would send
      s.io._packet({ type: 3, nsp: '/', id: 0, data: ['second'] });
      s.io._packet({ type: 3, nsp: '/', id: 4711, data: ['never asked'] });
    });
    await exchange(s, 'ask', [], 'answered');
    await marker(s);
    same(answered, [['first']]);
  },
  'typed-handlers': async (t) => {
    const s = await t.connect();
    same(await ask(s, 'sum', 20, 22), [42]);
    same(await ask(s, 'swap', Buffer.from('a'), Buffer.from('b')), [Buffer.from('b'), Buffer.from('a')]);
    same(await ask(s, 'letter', { subject: unicode, body: bytes }), [unicode, bytes]);
  },
  'typed-handler-wrong-type': async (t) => {
    const s = await t.connect();
    s.emit('sum', 'twenty', {});
    same(await ask(s, 'sum', 1, 2), [3]);
  },

  'burst-500-echoes': async (t) => {
    const s = await t.connect();
    const all = collect(s, 'echo', 500);
    for (let i = 0; i < 500; i++) s.emit('echo', i);
    same(await all, Array.from({ length: 500 }, (_, i) => i));
  },
  'burst-500-from-server': async (t) => {
    const s = await t.connect();
    const all = collect(s, 'numbered', 500);
    s.emit('burst', 500);
    same(await all, Array.from({ length: 500 }, (_, i) => i));
  },
  'burst-text-and-binary': async (t) => {
    const s = await t.connect();
    const sent = Array.from({ length: 200 }, (_, i) => (i % 3 === 0 ? { at: i, data: Buffer.from([i]) } : i));
    const all = collect(s, 'echo', sent.length);
    for (const x of sent) s.emit('echo', x);
    same(await all, sent);
  },
  'burst-across-upgrade': Object.assign(async (t) => {
    const s = await t.connect('/', { upgrade: false });
    const got = [];
    s.on('echo', (i) => got.push(i));
    s.on('numbered', (i) => got.push(`n${i}`));
    let sent = 0;
    const timer = setInterval(() => s.emit('echo', sent++), 0);
    s.emit('burst', 1000);
    await waitFor(s.io.engine, 'upgrade', () => s.io.engine._probe('websocket'));
    for (let i = 0; i < 50; i++) s.emit('echo', sent++);
    await marker(s);
    clearInterval(timer);
    await marker(s);
    assert.ok(sent > 50, 'nothing was sent while the upgrade was under way');
    same(got.filter((x) => typeof x === 'number'), Array.from({ length: sent }, (_, i) => i));
    same(got.filter((x) => typeof x === 'string'), Array.from({ length: 1000 }, (_, i) => `n${i}`));
    assert.equal((await ask(s, 'whoami'))[0].transport, 'websocket');
  }, { modes: ['upgrade'] }),

  rooms: async (t) => {
    const [a, b, c] = await Promise.all([t.connect(), t.connect(), t.connect()]);
    const got = [a, b, c].map((s) => record(s, 'room'));
    await ask(a, 'join', 'red');
    await ask(b, 'join', 'red');
    same((await ask(b, 'rooms'))[0].sort(), [b.id, 'red'].sort());
    c.emit('room', 'red', { to: 'members', bytes });
    await marker(c);
    await Promise.all([marker(a), marker(b)]);
    same(got, [[[{ to: 'members', bytes }]], [[{ to: 'members', bytes }]], []]);
    await ask(b, 'leave', 'red');
    a.emit('room', 'red', 2);
    a.emit('room', c.id, 'by id');
    await marker(a);
    await Promise.all([marker(b), marker(c)]);
    same([got[0].length, got[1].length, got[2]], [2, 1, [['by id']]]);
  },
  'rooms-except': async (t) => {
    const [a, b] = await Promise.all([t.connect(), t.connect()]);
    const got = [a, b].map((s) => record(s, 'room'));
    await Promise.all([ask(a, 'join', 'blue'), ask(b, 'join', 'blue'), ask(b, 'join', 'quiet')]);
    await ask(b, 'join', 'blue'); // joining again changes nothing
    b.emit('room-except', 'blue', 'quiet', 'loud');
    await marker(b);
    await marker(a);
    same(got, [[['loud']], []]);
  },
  broadcast: async (t) => {
    const [a, b, elsewhere] = await Promise.all([t.connect(), t.connect(), t.connect('/custom')]);
    const got = [a, b, elsewhere].map((s) => record(s, 'bcast'));
    const nonce = Math.random();
    a.emit('bcast', { nonce, text: unicode });
    a.emit('bcast', { nonce, bytes });
    await marker(a);
    await Promise.all([marker(b), marker(elsewhere)]);
    const mine = (list) => list.filter(([x]) => x?.nonce === nonce);
    const all = [[{ nonce, text: unicode }], [{ nonce, bytes }]];
    same([mine(got[0]), mine(got[1]), got[2]], [all, all, []]);
  },
  'broadcast-to-others': async (t) => {
    const [a, b] = await Promise.all([t.connect(), t.connect()]);
    const got = [a, b].map((s) => record(s, 'others'));
    a.emit('others', 'from a');
    await marker(a);
    await marker(b);
    same(got, [[], [['from a']]]);
  },

  'namespaces-on-one-connection': async (t) => {
    const a = await t.connect();
    const b = a.io.socket('/custom', { auth: { nsp: 'custom' } });
    same(await waitFor(b, 'auth'), [{ nsp: 'custom' }]);
    assert.notEqual(a.id, b.id);
    const [[one], [two]] = await Promise.all([ask(a, 'whoami'), ask(b, 'whoami')]);
    same([one.namespace, one.id, two.namespace, two.id], ['/', a.id, '/custom', b.id]);
    same(await exchange(b, 'echo', [bytes, 'x']), [bytes, 'x']);
    b.disconnect();
    await marker(a);
    assert.ok(!b.connected && a.connected);
    await waitFor(b, 'connect', () => b.connect());
    await marker(b);
  },
  'namespace-alone': async (t) => {
    const s = await t.connect('/custom', { auth: { a: 1 } });
    same(await ask(s, 'message-with-ack', 'x', bytes), ['x', bytes]);
    same(await exchange(s, 'message', ['y'], 'message-back'), ['y']);
  },
  'namespace-unknown': async (t) => {
    const [e] = await waitFor(t.open('/nowhere'), 'connect_error');
    assert.equal(e.message, 'Invalid namespace');
  },
  'middleware-refuses': async (t) => {
    const main = await t.connect();
    const s = main.io.socket('/refused', {});
    const [e] = await waitFor(s, 'connect_error');
    assert.equal(e.message, 'not authorized');
    same(e.data, { code: 401, hint: 'say please' });
    await marker(main);
  },
  'middleware-lets-in': async (t) => {
    const s = t.open('/refused', { auth: { word: 'please' } });
    same(await waitFor(s, 'welcome'), []);
  },

  'panic-costs-that-event-only': async (t) => {
    const s = await t.connect();
    s.emit('panic');
    await marker(s);
  },
  'unknown-event-is-ignored': async (t) => {
    const s = await t.connect();
    s.emit('nobody listens', bytes);
    await marker(s);
  },
  'emit-before-connect': async (t) => {
    const s = t.open();
    same(await exchange(s, 'echo', ['early']), ['early']);
  },
  'volatile-emit': async (t) => {
    const s = await t.settled(await t.connect());
    await marker(s);
    s.volatile.emit('echo', 'perhaps'); // may be dropped, must do no harm
    await marker(s);
  },
};
