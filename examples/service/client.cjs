// A shop's page: node client.cjs <folder of node_modules> <URL> <transports>
// It prints a line for each thing that happens.
const { createRequire } = require("node:module");
const [folder, url, transports] = process.argv.slice(2);
const { io } = createRequire(folder + "/")("socket.io-client");
const fail = (why) => {
  console.log("failed:", String(why));
  process.exit(1);
};
setTimeout(fail, 25000, "timeout");
const socket = io(url, { transports: transports.split("+"), reconnection: false, rejectUnauthorized: false });
socket.on("connect_error", fail);
socket.on("order", (order) => console.log("order", order.id, order.status));
socket.on("disconnect", (reason) => {
  console.log("disconnect", reason);
  process.exit(0);
});
socket.on("connect", async () => {
  await socket.timeout(10000).emitWithAck("follow", "7");
  if (transports === "polling+websocket" && socket.io.engine.transport.name !== "websocket") {
    await new Promise((done) => socket.io.engine.once("upgrade", done));
  }
  console.log("follows");
});
