// A client of npm's: node client.cjs <folder of node_modules> <URL> <transports>
const { createRequire } = require("node:module");
const [folder, url, transports] = process.argv.slice(2);
const { io } = createRequire(folder + "/")("socket.io-client");
const socket = io(url, { transports: transports.split("+"), reconnection: false });
const fail = (why) => {
  console.error(String(why));
  process.exit(1);
};
setTimeout(fail, 20000, "timeout");
socket.on("connect_error", fail);
socket.on("connect", async () => {
  for (const v of ["x", "y".repeat(100000)]) {
    if ((await socket.timeout(10000).emitWithAck("echo", v)) !== v) fail("another answer");
  }
  if (transports === "polling+websocket" && socket.io.engine.transport.name !== "websocket") {
    await new Promise((done) => socket.io.engine.once("upgrade", done));
  }
  socket.disconnect();
  process.exit(0);
});
