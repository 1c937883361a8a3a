// Socket.IO on Node.js, as its documentation has it.
import { createServer } from "node:http";
import { Server } from "socket.io";

const httpServer = createServer();
const io = new Server(httpServer);

io.on("connection", (socket) => {
  socket.on("echo", (arg) => socket.emit("echo", arg));
  socket.on("bcast", (arg) => io.emit("bcast", arg));
});

httpServer.listen(Number(process.argv[2]), "127.0.0.1");
