// Usage: node trusts.mjs <url> <name> <root.pem> <transport>
//
// Connects to a server whose certificate is of that name and signed by that root, and
// prints what it says to 1 + 2.
import { readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { io } from 'socket.io-client';

const [url, name, root, transport] = process.argv.slice(2);
const agent = new Agent({ ca: readFileSync(root), servername: name });
const socket = io(url, { transports: [transport], agent, reconnection: false });
const end = (code, text) => {
  console.log(text);
  process.exit(code);
};
setTimeout(() => end(1, 'nothing has come in time'), 15_000);
socket.on('connect_error', (err) => end(1, `${err} ${err.description?.message ?? err.description}`));
socket.on('connect', async () => end(0, await socket.emitWithAck('add', 1, 2)));
