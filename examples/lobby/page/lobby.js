// @ts-check
// The page of the lobby example. Its types are those of contract.d.ts, which the server's
// handlers have written: tsc --strict says if an event is sent, or heard, that there is not.

import { io } from "/socket.io/socket.io.esm.min.js";

/** @typedef {import("./contract").State} State */
/** @typedef {import("./contract").Listing} Listing */
/** @typedef {import("./contract").Mark} Mark */
/** @typedef {import("./contract").AckError} AckError */

/**
 * $ is the element with an ID, of a class.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
function $(id, type) {
  const e = document.getElementById(id);
  if (!(e instanceof type)) throw new Error("no #" + id);
  return e;
}

/**
 * @param {string} tag
 * @param {string} className
 * @param {string} [text]
 */
function element(tag, className, text) {
  const e = document.createElement(tag);
  e.className = className;
  e.textContent = text ?? "";
  return e;
}

const nameInput = $("name", HTMLInputElement);
const problem = $("problem", HTMLElement);
const board = $("board", HTMLElement);
const ask = $("ask", HTMLDialogElement);
const signs = { x: "✕", o: "◯", "": "" };

nameInput.value = new URLSearchParams(location.search).get("name") ?? localStorage.getItem("name") ?? "";
nameInput.addEventListener("change", () => localStorage.setItem("name", nameInput.value));

/** @param {AckError | Error | undefined} error */
function complain(error) {
  problem.textContent = !error ? "" : "error" in error ? error.error : error.message;
  problem.hidden = !error;
}

/**
 * cut is the answer of a connection that was lost.
 * @returns {AckError}
 */
const cut = () => ({ error: "the connection was lost" });

// --- the lobby: the namespace "/" ---

/** @type {import("./contract").Socket} */
const lobby = io();
/** @type {Listing[]} */
let games = [];

lobby.on("connect", () => showConnection("online"));
lobby.on("disconnect", () => showConnection("offline"));
lobby.on("games", (all) => {
  games = all;
  showGames();
});

/** @param {string} text */
function showConnection(text) {
  $("connection", HTMLElement).textContent = text;
}

function showGames() {
  const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.game : undefined;
  $("no-games", HTMLElement).hidden = games.length > 0;
  $("games", HTMLElement).replaceChildren(
    ...games.map((g) => {
      const li = document.createElement("li");
      const button = element("button", g.name === current?.name ? "current" : "");
      button.dataset.game = g.name;
      button.append(element("b", "", g.title), element("span", "", g.phase === "waiting" ? `${g.players} of 2` : g.phase));
      button.addEventListener("click", () => enter(g.name));
      li.append(button);
      return li;
    }),
  );
  if (focused) [...$("games", HTMLElement).querySelectorAll("button")].find((b) => b.dataset.game === focused)?.focus();
}

let creating = false; // one game by two clicks
$("create", HTMLFormElement).addEventListener("submit", async (e) => {
  e.preventDefault();
  const title = $("title", HTMLInputElement);
  if (!lobby.connected) return complain(cut());
  if (creating) return;
  creating = true;
  const answer = await lobby.emitWithAck("create", title.value).catch(cut);
  creating = false;
  if (typeof answer !== "string") return complain(answer);
  title.value = "";
  enter(answer);
});

// --- a game: a namespace of its own ---

/** @type {{ name: string, by: string, socket: import("./contract").GameSocket, state?: State, mark: Mark } | undefined} */
let current;

/** @param {string} name */
function enter(name) {
  complain(undefined);
  if (!nameInput.value.trim()) {
    nameInput.focus();
    return complain({ error: "say who you are first" });
  }
  if (name === current?.name && nameInput.value === current.by) return; // going out and in again would end the game
  current?.socket.disconnect();
  /** @type {import("./contract").GameSocket} */
  const socket = io(name, { auth: { name: nameInput.value } });
  /** @type {NonNullable<typeof current>} */
  const game = { name, by: nameInput.value, socket, mark: "" };
  current = game;
  $("log", HTMLElement).replaceChildren();
  socket.on("connect", async () => {
    game.mark = ""; // after a lost connection, the server has given the seat away
    const seat = await socket.emitWithAck("sit").catch(cut);
    if (typeof seat === "string") game.mark = seat; // else both are taken, and one watches
    if (game === current && game.state) showState(game.state);
  });
  socket.on("connect_error", (error) => {
    if (game === current && !socket.active) { // it was refused, and not only cut
      leave();
      complain(error);
    }
  });
  socket.on("disconnect", (reason) => {
    if (game !== current) return;
    $("status", HTMLElement).textContent = "No connection.";
    if (reason !== "io server disconnect") return;
    leave();
    complain({ error: "there is no such game" });
  });
  socket.on("state", (state) => game === current && showState((game.state = state)));
  socket.on("said", (remark) => {
    if (game !== current) return;
    const li = document.createElement("li");
    li.append(element("b", "", remark.by), ": ", remark.text);
    const log = $("log", HTMLElement);
    log.append(li);
    while (log.children.length > 200) log.firstChild?.remove();
    li.scrollIntoView({ block: "nearest" });
  });
  socket.on("again?", (by, ack) => {
    if (game !== current) return ack(false);
    $("ask-text", HTMLElement).textContent = by + " wants to play again. Do you?";
    ask.returnValue = "no";
    ask.addEventListener("close", () => ack(ask.returnValue === "yes"), { once: true });
    if (!ask.open) ask.showModal(); // it has been asked twice
  });
  showGames();
}

function leave() {
  current?.socket.disconnect();
  current = undefined;
  $("game", HTMLElement).hidden = true;
  $("nothing", HTMLElement).hidden = false;
  showGames();
}

// A browser may keep a page that was left, and its connection, to show it again: its seat
// is free all the same.
addEventListener("pagehide", leave);

/** @param {State} s */
function statusOf(s) {
  const mine = current?.mark ?? "";
  const names = s.seats.map((seat) => seat.name ?? "?");
  const nameOf = (/** @type {Mark} */ m) => names[m === "x" ? 0 : 1] ?? "?";
  switch (s.phase) {
    case "waiting":
      return "Waiting for a second player.";
    case "playing":
      return s.turn === mine ? "It is your turn." : `It is ${nameOf(s.turn)}’s turn.`;
    case "over":
      if (s.winner === null) return "Nobody has won.";
      return s.winner === mine ? "You have won." : `${nameOf(s.winner)} has won.`;
  }
}

/** @param {State} s */
function showState(s) {
  if (!current) return;
  const mine = current.mark;
  if (s.phase !== "over") ask.close(s.phase === "playing" ? "yes" : "no"); // it has begun, or who has asked has gone
  $("nothing", HTMLElement).hidden = true;
  $("game", HTMLElement).hidden = false;
  $("game-title", HTMLElement).textContent = s.title;
  $("watches", HTMLElement).textContent = s.watches ? `${s.watches} watching` : "";
  $("status", HTMLElement).textContent = statusOf(s);
  $("seats", HTMLElement).replaceChildren(
    ...s.seats.map((seat) => {
      const turn = s.phase === "playing" && s.turn === seat.mark;
      return element("li", "seat-" + seat.mark + (turn ? " turn" : ""), (seat.name ?? "free") + (seat.mark === mine ? " (you)" : ""));
    }),
  );
  const free = s.phase === "playing" && s.turn === mine;
  if (!board.children.length) {
    for (let i = 0; i < 9; i++) {
      const cell = element("button", "");
      cell.addEventListener("click", (e) => {
        if (e.detail < 2 && current?.socket.connected) current.socket.emit("move", i, complain); // not twice by a double click, nor later
      });
      board.append(cell);
    }
  }
  s.board.forEach((m, i) => {
    const cell = /** @type {HTMLElement} */ (board.children[i]);
    cell.className = m;
    cell.textContent = signs[m];
    cell.ariaLabel = `cell ${i + 1}: ${m || "free"}`;
    cell.ariaDisabled = String(!free || m !== "");
  });
  $("sit", HTMLElement).hidden = mine !== "" || s.phase !== "waiting";
  $("again", HTMLElement).hidden = mine === "" || s.phase !== "over";
}

$("sit", HTMLElement).addEventListener("click", async () => {
  const game = current;
  const seat = await game?.socket.emitWithAck("sit").catch(cut);
  if (!game || game !== current || seat === undefined) return;
  if (typeof seat !== "string") return complain(seat);
  game.mark = seat;
  if (game.state) showState(game.state);
});

let asking = false;
$("again", HTMLElement).addEventListener("click", async () => {
  if (asking) return;
  asking = true;
  const game = current;
  const yes = await game?.socket.emitWithAck("again").catch(cut);
  asking = false;
  if (game !== current) return;
  if (typeof yes === "object") complain(yes);
  else if (yes === false) complain({ error: "the other one does not want to" });
});

$("say", HTMLFormElement).addEventListener("submit", (e) => {
  e.preventDefault();
  const text = $("text", HTMLInputElement);
  current?.socket.emit("say", text.value, complain);
  text.value = "";
});
