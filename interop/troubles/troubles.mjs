// What socket.io-client says: it reads a list of cases from its input, runs all of
// them at once, and prints a line for each as soon as that has failed or ended.
import { text } from "node:stream/consumers";
import { createRequire } from "node:module";

const require = createRequire(new URL("../clients/", import.meta.url));
const { io } = require("socket.io-client");

const described = (d) => (d && typeof d === "object" ? d.message ?? d.description : d);

function run({ name, url, opts, emit, bytes, parser }) {
  return new Promise((resolve) => {
    const says = (event, message, description, text) => {
      console.log(JSON.stringify({ name, event, message, description: String(description ?? ""), text: text ?? "" }));
      socket.disconnect();
      resolve();
    };
    if (parser) opts.parser = require(parser);
    const socket = io(url, { reconnection: false, forceNew: true, ...opts });
    socket.on("connect", () => {
      if (emit) socket.emit(emit, "x".repeat(bytes ?? 0));
    });
    socket.on("connect_error", (e) => says("connect_error", e.message, e.code ?? described(e.description), e.context?.responseText));
    socket.on("disconnect", (reason, d) => says("disconnect", reason, d?.message ?? described(d?.description), d?.context?.responseText));
  });
}

await Promise.all(JSON.parse(await text(process.stdin)).map(run));
process.exit();
