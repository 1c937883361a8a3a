// Socket.IO on Node.js with eiows, a WebSocket engine in C++, in place of ws.
import { createServer } from "node:http";
import eiows from "eiows";
import { Server } from "socket.io";

const httpServer = createServer();
const io = new Server(httpServer, { wsEngine: eiows.Server });

io.on("connection", (socket) => {
  socket.on("echo", (arg) => socket.emit("echo", arg));
  socket.on("bcast", (arg) => io.emit("bcast", arg));
});

httpServer.listen(Number(process.argv[2]), "127.0.0.1");
