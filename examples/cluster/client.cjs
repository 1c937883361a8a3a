// Pages of the hall: node client.cjs <folder of node_modules> <URL>
// Every second one polls for good, and none keeps an HTTP connection: the kernel gives each
// request to any process. It reads lines of JSON: {op: "open", n}, {op: "say", by, text}, {op: "view"},
// and answers each by one.
const { createRequire } = require("node:module");
const { createInterface } = require("node:readline");
const [folder, url] = process.argv.slice(2);
const { io } = createRequire(folder + "/")("socket.io-client");

const pages = [];

function open(i) {
  const transports = [["polling"], ["polling", "websocket"], ["polling"], ["websocket"]][i % 4];
  const socket = io(url, { transports, auth: { name: "page " + i }, forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 500 });
  const page = { socket, heard: [], connects: 0, view: { processes: [], people: [] } };
  socket.on("connect", () => page.connects++);
  socket.on("connect_error", (e) => (page.error = String(e.message)));
  socket.on("say", (m) => page.heard.push(m.text));
  socket.on("cluster", (view) => (page.view = view));
  pages.push(page);
}

const ops = {
  open: ({ n }) => {
    for (let i = 0; i < n; i++) open(i);
  },
  // say sends until it has been answered, as the page does.
  say: async ({ by, text }) => {
    for (;;) {
      try {
        return await pages[by].socket.timeout(5000).emitWithAck("say", text, "key of " + text);
      } catch {}
    }
  },
  view: () =>
    pages.map(({ socket, heard, connects, view, error }) => ({
      connected: socket.connected, heard, connects, error, online: view.online, processes: view.processes,
      on: view.people.find((p) => p.id === socket.id)?.pid ?? 0,
    })),
};

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const cmd = JSON.parse(line);
    console.log(JSON.stringify((await ops[cmd.op](cmd)) ?? null));
  })
  .on("close", () => process.exit(0));
