// Node's own server with @socket.io/admin-ui, to compare with. It prints its port.
import { instrument } from '@socket.io/admin-ui';
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer();
const io = new Server(http);
instrument(io, { auth: { type: 'basic', username: 'admin', password: process.argv[2] }, mode: process.argv[3], readonly: process.argv[4] === 'true' });
io.on('connection', (s) => {
  s.on('join', (room) => s.join(room));
  s.on('ask', (...args) => s.emit('answer', ...args));
});
http.listen(0, '127.0.0.1', () => console.log(http.address().port));
process.stdin.on('end', () => process.exit()).resume();
