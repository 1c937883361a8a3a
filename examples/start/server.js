const { createServer } = require("node:http");
const { readFileSync } = require("node:fs");
const { Server } = require("socket.io");

const server = createServer((req, res) => {
  res.end(readFileSync(req.url === "/socket.io.min.js" ? "public/socket.io.min.js" : "public/index.html"));
});
const io = new Server(server);

io.use((socket, next) => {
  const name = socket.handshake.auth.name;
  if (!name) return next(new Error("what is your name?"));
  socket.data.name = name;
  next();
});
io.on("connection", (socket) => {
  socket.on("join", async (room, ack) => {
    socket.join(room);
    ack((await io.in(room).fetchSockets()).length);
  });
  socket.on("say", (room, text) => {
    io.to(room).emit("say", { name: socket.data.name, text });
  });
  socket.on("disconnect", (reason) => {
    console.log(socket.data.name, "has gone:", reason);
  });
});
server.listen(process.env.PORT ?? 3000);
