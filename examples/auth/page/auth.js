// The page of the auth example. The token is in memory alone; the login is a cookie that
// no script sees.

import { io } from "/socket.io/socket.io.esm.min.js";

const $ = (id) => document.getElementById(id);
let token = null;
let until = 0; // of the token, in ms, by this page's clock
let life = 0;
let renewal;
let visit = 0; // one more with each logout

const socket = io({ autoConnect: false, auth: (give) => give({ token }) });

socket.on("connect", () => show("online", socket.recovered ? "recovered" : "connected"));
socket.on("expired", () => log("the server: the token has expired"));
socket.on("disconnect", async (reason) => {
  show("offline", `disconnected: ${reason}`);
  if (reason === "io server disconnect" && token) await back(); // the client does not come back by itself then
});
socket.on("connect_error", async (error) => {
  show("offline", `refused: ${error.message}`);
  if (error.data) await back(); // the token has expired, or is of the server before a restart
});

// back comes back with another token.
async function back() {
  if (await refresh()) socket.connect();
}

const unreachable = (error) => error instanceof TypeError; // by fetch

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

async function take(path, body) {
  const mine = visit;
  const t = await (await post(path, body)).json();
  if (mine !== visit) throw new Error("logged out meanwhile");
  token = t.token;
  life = t.lifeMs;
  until = Date.now() + life;
  $("who").textContent = t.name;
  $("session").hidden = false;
  $("login").hidden = true;
  clearTimeout(renewal);
  renewal = setTimeout(renew, (2 / 3) * life);
}

// refresh gets another token by the cookie.
async function refresh() {
  try {
    await take("/refresh");
    log("a new token");
    return true;
  } catch (error) {
    log(unreachable(error) ? "the server cannot be reached" : error.message);
    if (!unreachable(error)) leave();
    else if (token) renewal = setTimeout(renew, 2000);
    return false;
  }
}

// renew gets another token, and has the connection go on by it.
async function renew() {
  if (!$("renews").checked || !(await refresh())) return;
  if (!socket.active) return socket.connect(); // it was sent away meanwhile
  const error = await socket.timeout(life).emitWithAck("renew", token).catch((e) => ({ error: e.message }));
  log(error ? `not renewed: ${error.error}` : "the connection goes on");
}

function leave() {
  token = null;
  visit++;
  clearTimeout(renewal);
  $("session").hidden = true;
  $("login").hidden = false;
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true; // one login by two clicks
  try {
    await take("/login", { name: $("name").value });
    log("logged in");
    socket.connect();
  } catch (error) {
    log(error.message);
  }
  button.disabled = false;
});
$("logout").addEventListener("click", async () => {
  leave();
  socket.disconnect();
  await post("/logout").then(() => log("logged out"), (error) => log(`not logged out: ${error.message}`));
});
$("ask").addEventListener("click", async () => {
  const name = await socket.timeout(5000).emitWithAck("who am I").catch(() => null);
  log(name === null ? "the server does not answer" : `the server: you are ${name}`);
});

function show(state, text) {
  $("connection").textContent = state;
  log(text);
}

function log(text) {
  const e = document.createElement("li");
  e.textContent = text;
  $("log").append(e);
  while ($("log").children.length > 50) $("log").firstChild.remove();
  e.scrollIntoView({ block: "nearest" });
}

setInterval(() => {
  const left = Math.max(0, until - Date.now());
  $("left").textContent = `${Math.ceil(left / 1000)} s`;
  $("life").value = life ? left / life : 0;
}, 200);

// A page that is opened again is still logged in, if its login is.
await take("/refresh").then(() => socket.connect(), () => {});
