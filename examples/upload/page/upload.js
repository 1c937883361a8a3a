// The page of the upload example.

import { io } from "/socket.io/socket.io.esm.min.js";

const pieceSize = 128 << 10;
const connection = document.getElementById("connection");
const drop = document.getElementById("drop");
const choose = document.getElementById("choose");

const socket = io({ ackTimeout: 10000, retries: 0 });
socket.on("connect", () => (connection.textContent = "online"));
socket.on("disconnect", () => (connection.textContent = "offline"));

// connected waits for a connection.
function connected() {
  return socket.connected ? Promise.resolve() : new Promise((resolve) => socket.once("connect", resolve));
}

choose.addEventListener("change", () => {
  for (const file of choose.files) add(file);
  choose.value = "";
});
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") for (const file of event.dataTransfer.files) add(file);
  });
}

let queue = Promise.resolve(); // one file after the other

function add(file) {
  const e = document.getElementById("file").content.cloneNode(true).firstElementChild;
  e.querySelector(".name").textContent = file.name;
  e.querySelector(".size").textContent = size(file.size);
  e.querySelector("progress").setAttribute("aria-label", file.name);
  document.getElementById("files").append(e);
  queue = queue.then(() => send(file, e)).catch((error) => say(e, "failed", error.message));
}

class Refused extends Error {}

// send sends a file: anew if the server has forgotten it, because it was restarted, or has
// waited for too long.
async function send(file, e) {
  for (let tries = 1; ; tries++) {
    const id = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
    let { have } = await ask(e, "begin", id, file.size);
    try {
      return say(e, "done", await verdict(file, await pieces(file, e, id, have)));
    } catch (error) {
      if (!(error instanceof Refused) || tries === 3) throw error;
    }
  }
}

// pieces sends a file's pieces from one on, and returns the SHA-256 of what is there.
async function pieces(file, e, id, have) {
  for (;;) {
    const piece = await file.slice(have, have + pieceSize).arrayBuffer();
    const answer = await ask(e, "piece", id, have, piece);
    have = answer.have;
    e.querySelector("progress").value = have / file.size;
    say(e, "sends", `${Math.floor((100 * have) / file.size)} %`);
    if (answer.sha256) return answer.sha256;
  }
}

// ask asks until there is an answer. What is asked twice is done once: the server tells a
// piece that it has by its place.
async function ask(e, event, ...args) {
  for (;;) {
    await connected();
    let answer;
    try {
      answer = await socket.emitWithAck(event, ...args);
    } catch {
      say(e, "waits", "cut; goes on when the server is back");
      continue;
    }
    if (answer.error) throw new Refused(answer.error);
    return answer;
  }
}

// verdict compares what is there with the file. Pages without TLS cannot compute it.
async function verdict(file, sha256) {
  if (!crypto.subtle) return `there, SHA-256 ${sha256.slice(0, 16)}…`;
  const own = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  const same = [...own].map((b) => b.toString(16).padStart(2, "0")).join("") === sha256;
  return same ? `there, and the same: SHA-256 ${sha256.slice(0, 16)}…` : "there, but not the same";
}

function say(e, state, text) {
  e.className = state;
  e.querySelector(".state").textContent = text;
}

function size(n) {
  return n < 1e3 ? n + " B" : n < 1e6 ? (n / 1e3).toFixed(1) + " kB" : (n / 1e6).toFixed(1) + " MB";
}
