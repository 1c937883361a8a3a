// A server for cmd/sockeye-load, as the documentation of Socket.IO has it: echoes, broadcasts,
// and a namespace that lets nobody in. It prints its port, and ends with its input.
import { createServer } from "node:http";
import { Server } from "socket.io";

const server = createServer();
const io = new Server(server);
for (const nsp of [io.of("/"), io.of("/custom")]) {
  nsp.on("connection", (socket) => {
    socket.on("echo", (text, ack) => (ack ? ack(text) : socket.emit("echo", text)));
    socket.on("bcast", (text) => nsp.emit("bcast", { from: socket.id, text }));
    socket.on("others", (text) => socket.broadcast.emit("others", text, Buffer.from("x")));
  });
}
io.of("/refused").use((socket, next) => next(new Error("not today")));
process.stdin.on("end", () => process.exit()).resume();
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
