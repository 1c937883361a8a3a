// What an admin sees and does, by the client alone: it prints each step's messages in a form
// that two servers have in common.
import { io } from 'socket.io-client';

const [url, password] = process.argv.slice(2);
setTimeout(() => {
  console.error('no end; seen:', seen.map((m) => JSON.stringify(m)).join('\n'));
  process.exit(1);
}, 20_000).unref();

const names = new Map(); // ids, by who has them
const seen = []; // and not printed yet
let wake = () => {};

// known puts words in place of what differs.
function known(v, key) {
  if (typeof v === 'string') {
    for (const [id, name] of names) if (v === id) return name;
    if (/^\d{4}-\d\d-\d\dT.*Z$/.test(v)) return 'a time';
    if (key === 'clientId' || key === 'time' || key === 'url' || key === 'serverId' || key === 'hostname') return `a ${key}`;
    if (key === 'address') return v.replace('::ffff:', '');
    return v;
  }
  if (typeof v === 'number' && ['issued', 'uptime', 'pid', 'timestamp', 'count'].includes(key)) return `a ${key}`;
  if (Array.isArray(v)) {
    const list = v.map((x) => known(x, key));
    return key === 'rooms' || key === 'namespaces' ? list.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) : list;
  }
  if (v && typeof v === 'object') {
    const keys = Object.keys(v).sort();
    if (key === 'headers' || key === 'query') return `an object with ${keys.includes('EIO') || keys.includes('user-agent') || keys.includes('host')}`;
    return Object.fromEntries(keys.map((k) => [k, known(v[k], k)]));
  }
  return v;
}

function connect(path, auth, transports = ['websocket']) {
  return io(url + path, { auth, transports, forceNew: true, reconnection: false });
}

function listen(s) {
  s.onAny((event, ...args) => {
    if (event !== 'server_stats' && event !== 'session') seen.push([event, ...args]);
    wake();
  });
}

const print = (step, v) => console.log(`${step}: ${JSON.stringify(known(v))}`);

// expect waits for messages of these kinds and prints them, in the order of kinds; the others go.
async function expect(step, ...matches) {
  const found = [];
  for (const match of matches) {
    let at;
    while ((at = seen.findIndex((m) => match(...m))) < 0) await new Promise((resolve) => { wake = resolve; });
    found.push(...seen.splice(at, 1));
  }
  for (const m of found) print(step, m);
}

const once = (s, event) => new Promise((resolve) => s.once(event, (...args) => resolve(args)));

// Who may come in.
for (const auth of [undefined, {}, { username: 'admin', password: 'wrong' }, { username: 'other', password }, { sessionId: 'ffffffffffffffff' }, { username: ['admin'], password: 'x' }]) {
  const s = connect('/admin', auth);
  print('refused', (await once(s, 'connect_error'))[0].message);
  s.disconnect();
}
const admin = connect('/admin', { username: 'admin', password });
listen(admin);
let connected = false;
admin.on('connect', () => { connected = true; names.set(admin.id, 'the admin'); });
const [session] = await once(admin, 'session');
print('session before connect', [connected, /^([0-9a-f]{16})+$/.test(session)]);
await expect('config', (e) => e === 'config');
const features = process.argv[4] === 'production';
const stats = (await once(admin, 'server_stats'))[0];
stats.aggregatedEvents = Array.isArray(stats.aggregatedEvents);
print('stats', stats);
if (features) {
  print('nothing else', seen);
  process.exit();
}
await expect('all', (e) => e === 'all_sockets');

// With the session's id.
const second = connect('/admin', { sessionId: session }, ['polling', 'websocket']);
await once(second, 'connect');
const secondID = second.id;
names.set(secondID, 'the second');
await expect('second', (e, s) => e === 'socket_connected' && s.id === secondID, (e, s) => e === 'socket_updated' && s.id === secondID && s.transport);
second.disconnect();
await expect('second', (e, n, id) => e === 'socket_disconnected' && id === secondID);

// A socket, its rooms and events.
const app = connect('/');
await once(app, 'connect');
const appID = app.id;
names.set(appID, 'the socket');
const here = (event, at = 2) => (e, ...args) => e === event && args[at - 1] === appID;
await expect('socket', (e, s) => e === 'socket_connected' && s.id === appID, here('room_joined', 3));
app.emit('join', 'blue');
await expect('join', here('event_received'), here('room_joined', 3));
const answer = once(app, 'answer');
app.emit('ask', 1, 'zwei', { three: [null, true] }, () => {});
await answer;
await expect('ask', here('event_received'), here('event_sent'));

// The buttons.
for (const filter of [app.id, 'blue', null, undefined]) {
  const got = once(app, 'hello');
  admin.emit('emit', '/', filter, 'hello', 1, { a: 'b' });
  print('emit', await got);
}
admin.emit('join', '/', 'red', app.id);
await expect('button join', here('room_joined', 3));
admin.emit('join', '/', 'green');
await expect('button join all', here('room_joined', 3));
admin.emit('leave', '/', 'red', app.id);
await expect('button leave', here('room_left', 3));
admin.emit('leave', '/', 'green');
await expect('button leave all', here('room_left', 3));
let gone = once(app, 'disconnect');
admin.emit('_disconnect', '/', false, app.id);
print('button disconnect', (await gone)[0]);
await expect('button disconnect', here('socket_disconnected'), (e, n, room, id) => e === 'room_left' && id === appID && room === 'blue', (e, n, room, id) => e === 'room_left' && id === appID && room === id);

// All sockets of a room, with their sessions.
const again = connect('/');
await once(again, 'connect');
const againID = again.id;
names.set(againID, 'again');
again.emit('join', 'blue');
await expect('again', (e, n, room) => e === 'room_joined' && room === 'blue');
gone = once(again, 'disconnect');
admin.emit('_disconnect', '/', true, 'blue');
print('button disconnect room', (await gone)[0]);
await expect('again', (e, n, id) => e === 'socket_disconnected' && id === againID);
process.exit();
