// The page of the dashboard example.

import { io } from "/socket.io/socket.io.esm.min.js";

const kept = 120; // values that a plot shows
const board = document.getElementById("board");
const connection = document.getElementById("connection");
const cards = new Map(); // by the figure's id

const socket = io();
socket.on("connect", () => (connection.textContent = "online"));
socket.on("disconnect", () => (connection.textContent = "offline"));

// The server tells its figures after each connect: rooms are joined again, and what was
// missed comes by the answers.
socket.on("figures", (figures) => {
  for (const figure of figures) {
    if (!cards.has(figure.id)) cards.set(figure.id, card(figure));
    if (cards.get(figure.id).live.checked) look(figure.id);
  }
});
socket.on("value", (id, value) => {
  const c = cards.get(id);
  c.values.push(value);
  draw(c);
});

async function look(id) {
  const c = cards.get(id);
  try {
    c.values = await socket.emitWithAck("look", id);
    draw(c);
  } catch {} // cut: the next figures have it asked again
}

function card(figure) {
  const e = document.getElementById("card").content.cloneNode(true).firstElementChild;
  const c = { e, values: [], live: e.querySelector("input") };
  e.id = figure.id;
  e.querySelector("h2").textContent = figure.title;
  e.querySelector(".unit").textContent = figure.unit;
  c.live.setAttribute("aria-label", figure.title + " live");
  c.live.addEventListener("change", () => {
    e.classList.toggle("away", !c.live.checked);
    if (c.live.checked) look(figure.id);
    else socket.emit("look away", figure.id);
  });
  board.append(e);
  return c;
}

function draw(c) {
  c.values = c.values.slice(-kept);
  if (c.values.length === 0) return;
  const most = Math.max(...c.values, 1e-9);
  const x = (i) => 120 - (120 * (c.values.length - 1 - i)) / (kept - 1);
  const y = (v) => 38 - (34 * v) / most;
  const line = c.values.map((v, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`).join("");
  c.e.querySelector(".line").setAttribute("d", line);
  c.e.querySelector(".area").setAttribute("d", `${line}V40H${x(0).toFixed(1)}Z`);
  const last = show(c.values.at(-1));
  c.e.querySelector(".value").textContent = last;
  const name = c.e.querySelector("h2").textContent;
  c.e.querySelector("svg").setAttribute("aria-label", `${name} in the last ${c.values.length} seconds: at most ${show(most)}, now ${last}`);
}

function show(v) {
  return Number(v.toFixed(v >= 100 ? 0 : v >= 10 ? 1 : 2)).toString();
}

// A page that is left may be kept by the browser, with its connection.
addEventListener("pagehide", () => socket.disconnect());
addEventListener("pageshow", (event) => event.persisted && socket.connect());
