// The page of the auth example. The token is in memory alone; the login is a cookie that
// no script sees.

import { io } from "/socket.io/socket.io.esm.min.js";

const $ = (id) => document.getElementById(id);
let token = null;
let until = 0; // of the token, in ms, by this page's clock
let life = 0;
let renewal;

const socket = io({ autoConnect: false, auth: (give) => give({ token }) });

socket.on("connect", () => show("online", socket.recovered ? "recovered" : "connected"));
socket.on("expired", () => log("the server: the token has expired"));
socket.on("disconnect", async (reason) => {
  show("offline", `disconnected: ${reason}`);
  if (reason === "io server disconnect" && token) await back(); // the client does not come back by itself then
});
socket.on("connect_error", async (error) => {
  show("offline", `refused: ${error.message}`);
  if (error.data?.expired) await back();
});

// back comes back with another token.
async function back() {
  if (await refresh()) socket.connect();
}

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

async function take(path, body) {
  const t = await (await post(path, body)).json();
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
    log(error.message);
    leave();
    return false;
  }
}

// renew gets another token, and has the connection go on by it.
async function renew() {
  if (!$("renews").checked || !(await refresh())) return;
  const error = await socket.timeout(life).emitWithAck("renew", token).catch((e) => ({ error: e.message }));
  log(error ? `not renewed: ${error.error}` : "the connection goes on");
}

function leave() {
  token = null;
  clearTimeout(renewal);
  $("session").hidden = true;
  $("login").hidden = false;
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await take("/login", { name: $("name").value });
    log("logged in");
    socket.connect();
  } catch (error) {
    log(error.message);
  }
});
$("logout").addEventListener("click", async () => {
  leave();
  socket.disconnect();
  await post("/logout");
  log("logged out");
});
$("ask").addEventListener("click", async () => {
  log(`the server: you are ${await socket.timeout(5000).emitWithAck("who am I")}`);
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
