// The page of the cursors example.

import { io } from "/socket.io/socket.io.esm.min.js";

const name = [...(new URLSearchParams(location.search).get("name") ?? "")].slice(0, 24).join(""); // what the server takes
const board = document.getElementById("board");
const others = document.getElementById("others");
const connection = document.getElementById("connection");

const socket = io({ auth: { name } });
socket.on("connect", () => show("online"));
socket.on("disconnect", () => {
  show("offline");
  for (const id of cursors.keys()) forget(id);
});

// A page that is left may be kept by the browser, with its connection.
addEventListener("pagehide", () => socket.disconnect());
addEventListener("pageshow", (event) => event.persisted && socket.connect());

function show(state) {
  connection.textContent = state;
}

// --- this page's pointer ---

let x = 0.5;
let y = 0.5;
let due = false;

// tell sends the place 30 times a second at most, and only what can be sent at once.
function tell() {
  if (due) return;
  due = true;
  setTimeout(() => {
    due = false;
    socket.volatile.emit("move", x, y);
  }, 33);
}

function place(event) {
  const box = board.getBoundingClientRect();
  x = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  y = Math.min(1, Math.max(0, (event.clientY - box.top) / box.height));
}

board.addEventListener("pointermove", (event) => {
  place(event);
  tell();
});
board.addEventListener("pointerdown", (event) => {
  place(event);
  mark();
});

// mark is for now: what is clicked without a connection is not sent later.
function mark() {
  if (socket.connected) socket.emit("mark", x, y);
}

const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
board.addEventListener("keydown", (event) => {
  const step = steps[event.key];
  if (step) {
    x = Math.min(1, Math.max(0, x + step[0] / 50));
    y = Math.min(1, Math.max(0, y + step[1] / 50));
    tell();
  } else if (event.key === "Enter") {
    mark();
  } else {
    return;
  }
  event.preventDefault();
});

// --- the others' ---

const cursors = new Map(); // elements by socket
const shown = 20; // names

socket.on("moved", (cursor) => move(cursor));
socket.on("gone", forget);

// hue is a socket's colour: the same on all pages.
function hue(id) {
  let h = 0;
  for (const c of id) h = (h * 31 + c.charCodeAt(0)) % 360;
  return h;
}

function move(cursor) {
  let e = cursors.get(cursor.id);
  if (!e) {
    e = document.createElement("div");
    e.className = "cursor";
    e.style.setProperty("--hue", hue(cursor.id));
    e.innerHTML = '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M1 1l5 14 2-6 6-2z"/></svg><b></b>';
    e.querySelector("b").textContent = cursor.name;
    board.append(e);
    cursors.set(cursor.id, e);
    count();
  }
  e.style.left = 100 * cursor.x + "%";
  e.style.top = 100 * cursor.y + "%";
}

function forget(id) {
  cursors.get(id)?.remove();
  cursors.delete(id);
  count();
}

function count() {
  const names = [...cursors.values()].slice(0, shown).map((e) => e.textContent).sort();
  if (cursors.size > shown) names.push(`${cursors.size - shown} more`);
  others.textContent = names.length ? "Here, too: " + names.join(", ") : "Nobody else is here. Open this page once more.";
}

socket.on("marked", (cursor) => {
  if (cursor.id !== socket.id) move(cursor);
  const e = document.createElement("i");
  e.className = "mark";
  e.style.setProperty("--hue", hue(cursor.id));
  e.style.left = 100 * cursor.x + "%";
  e.style.top = 100 * cursor.y + "%";
  board.append(e);
  setTimeout(() => e.remove(), 4000);
});
