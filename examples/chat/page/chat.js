// The page of the chat example. All text of people is set as textContent.
"use strict";

const $ = (id) => document.getElementById(id);
const params = new URLSearchParams(location.search); // ?name=Ann&room=lobby&transport=polling-only
let socket, room, name;
let ready = false; // connected, and in the room
const typists = new Map(); // id -> {name, timer}

// --- the door ---

const hello = $("hello");
hello.addEventListener("cancel", (e) => e.preventDefault());
hello.querySelector("form").addEventListener("submit", (e) => {
  if (e.target.name.value.trim()) enter(e.target.name.value);
  else e.preventDefault(); // spaces are no name: it stays open
});
function enter(chosen) {
  name = chosen.trim();
  localStorage.setItem("name", name);
  $("rename").name.value = name;
  socket = new SockeyeClient({
    auth: { name, room: params.get("room") ?? "lobby" },
    transport: params.get("transport") ?? "polling",
  });
  listen(socket);
}

function listen(s) {
  s.on("connect", async () => {
    measure();
    try {
      showRoom(await s.ask("join", room ?? s.auth.room));
    } catch (e) {
      if (e.lost) return;
      note(e);
      showRoom("lobby"); // where the server puts those without a room
      for (const key of outbox.keys()) settle(key, e); // it was meant for others
    }
    showOnline(true);
    for (const key of outbox.keys()) send(key);
  });
  s.on("disconnect", () => {
    showOnline(false);
    $("transport").textContent = "offline";
    $("transport").className = "badge off";
  });
  s.on("reconnecting", countdown);
  s.on("connect_error", (e) => banner("Not let in: " + e.message));
  s.on("transport", (t) => {
    $("transport").textContent = t;
    $("transport").className = "badge " + t;
  });
  s.on("say", showMessage);
  s.on("typing", showTyping);
  s.on("people", showPeople);
  s.on("rooms", showRooms);
}

// --- what is shown ---

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function hue(name) {
  let h = 0;
  for (const c of name) h = (h * 31 + c.codePointAt(0)) % 360;
  return h;
}

function avatar(p) {
  const a = element("span", "avatar", [...p.name][0].toUpperCase());
  a.style.setProperty("--hue", hue(p.name));
  return a;
}

// The log stays at its end, whatever happens to its size, unless it was scrolled up.
const log = $("log");
let atEnd = true;
const toEnd = () => atEnd && (log.scrollTop = log.scrollHeight);
log.addEventListener("scroll", () => (atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80));
new ResizeObserver(toEnd).observe(log);

function append(item) {
  log.append(item);
  while (log.children.length > 500) log.firstChild.remove();
  toEnd();
}

const written = (key) => [...log.children].find((li) => li.dataset.key === key);

function messageItem(m, own) {
  const li = element("li", own ? "message own" : "message");
  li.dataset.key = m.key;
  const body = element("div", "body");
  const head = element("div", "head");
  head.append(element("b", "", m.name), element("time"));
  body.append(head, element("p", "", m.text));
  li.append(avatar(m), body);
  return li;
}

// stamp marks a message as sent at a time.
function stamp(li, at) {
  li.classList.remove("pending");
  const time = li.querySelector("time");
  time.textContent = new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  time.dateTime = at;
}

function showMessage(m) {
  typists.delete(m.id);
  renderTyping();
  const li = written(m.key) ?? messageItem(m, m.id === socket.id);
  if (li.dataset.id) return; // was shown before: it was sent again, to a server that was restarted
  li.dataset.id = m.id;
  stamp(li, m.at);
  if (li !== log.lastElementChild) append(li); // in the order of all
}

function note(text) {
  append(element("li", "note", text.message ?? text));
}

function showRoom(r) {
  if (room === r) return;
  room = r;
  $("room").textContent = "# " + r;
  document.title = "#" + r + " · Sockeye chat";
  typists.clear();
  renderTyping();
  note("You are in #" + r);
  socket.auth.room = r; // for a reconnection
  for (const b of $("rooms").querySelectorAll("button")) markRoom(b);
}

function markRoom(b) {
  b.classList.toggle("current", b.dataset.room === room);
  b.ariaCurrent = b.dataset.room === room ? "true" : null;
}

function join(wanted) {
  if ($("side").matches(":popover-open")) $("side").hidePopover();
  socket.ask("join", wanted).then(showRoom, note);
}

function showRooms(rooms, online) {
  $("online").textContent = online + " online";
  const focused = document.activeElement.dataset.room;
  $("rooms").replaceChildren(
    ...rooms.map(({ name, people }) => {
      const b = element("button", "", "# " + name);
      b.dataset.room = name;
      b.append(element("span", "count", people || ""));
      b.onclick = () => join(name);
      markRoom(b);
      const li = element("li");
      li.append(b);
      return li;
    }),
  );
  if (focused) [...$("rooms").querySelectorAll("button")].find((b) => b.dataset.room === focused)?.focus();
}

function showPeople(people, count) {
  $("here").textContent = count;
  $("people").replaceChildren(
    ...people.map((p) => {
      const li = element("li", "", "");
      li.append(avatar(p), element("span", "", p.name + (p.id === socket.id ? " (you)" : "")));
      return li;
    }),
  );
}

function showTyping(p, on) {
  clearTimeout(typists.get(p.id)?.timer);
  typists.delete(p.id);
  if (on) {
    const timer = setTimeout(() => showTyping(p, false), 4000);
    typists.set(p.id, { name: p.name, timer });
  }
  renderTyping();
}

function renderTyping() {
  const names = [...typists.values()].map((t) => t.name);
  $("typing").textContent =
    names.length === 0 ? "" : names.length > 3 ? "Several people are typing…" : names.join(", ") + (names.length > 1 ? " are" : " is") + " typing…";
}

// showOnline tells whether the rooms can be used, and what is shown of them is true.
function showOnline(on) {
  ready = on;
  for (const id of ["rooms", "new-room", "people", "rename"]) $(id).inert = !on;
  if (on) return banner();
  for (const id of ["online", "here", "latency"]) $(id).textContent = "";
  for (const t of typists.values()) clearTimeout(t.timer);
  typists.clear();
  renderTyping();
  typing = false;
}

function banner(text) {
  const said = $("banner").firstElementChild;
  if (said.textContent !== (text ?? "")) said.textContent = text ?? ""; // once to who hears it
  $("countdown").textContent = "";
  $("banner").hidden = !text;
}

let ticking;
function countdown(delay) {
  clearInterval(ticking);
  const end = Date.now() + delay;
  banner("You are offline. What you write is sent when the connection is back.");
  const show = () => {
    const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
    if (socket?.connected) return clearInterval(ticking);
    $("countdown").textContent = left ? `Reconnecting in ${left} s…` : "Reconnecting…";
  };
  ticking = setInterval(show, 250);
  show();
}

// measure shows how long an acknowledgement takes.
async function measure() {
  const id = socket.id;
  while (socket.connected && socket.id === id) {
    const start = performance.now();
    try {
      await socket.ask("time");
    } catch {
      return;
    }
    $("latency").textContent = Math.max(1, Math.round(performance.now() - start)) + " ms";
    await new Promise((r) => setTimeout(r, 3000));
  }
}

// --- what is sent ---

// outbox is the texts that the server has not answered for, by key. What was sent
// when the connection was lost is sent again: the server knows it by its key.
const outbox = new Map();

const say = $("say");
say.addEventListener("submit", (e) => {
  e.preventDefault();
  const text = say.text.value.trim();
  if (!text) return;
  say.text.value = "";
  stopTyping();
  const key = Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("-");
  const li = messageItem({ key, name, text }, true);
  li.classList.add("pending");
  li.querySelector("time").textContent = "not sent yet";
  atEnd = true;
  append(li);
  outbox.set(key, text);
  send(key);
});

async function send(key) {
  if (!ready) return;
  try {
    await socket.ask("say", outbox.get(key), key);
    settle(key);
  } catch (e) {
    if (!e.lost) settle(key, e);
  }
}

function settle(key, fault) {
  outbox.delete(key);
  const li = written(key);
  if (!li) return;
  if (!li.dataset.id) stamp(li, new Date().toISOString());
  if (fault && !li.dataset.id) li.querySelector("time").textContent = "not sent: " + fault.message;
  li.classList.toggle("failed", Boolean(fault && !li.dataset.id));
}

let typing = false;
let typingTimer;
say.text.addEventListener("input", () => {
  clearTimeout(typingTimer);
  typingTimer = setTimeout(stopTyping, 2500);
  if (!typing && socket?.connected) socket.emit("typing", (typing = true));
});
function stopTyping() {
  clearTimeout(typingTimer);
  if (typing && socket.connected) socket.emit("typing", false);
  typing = false;
}

$("new-room").addEventListener("submit", (e) => {
  e.preventDefault();
  const wanted = e.target.room.value.trim();
  e.target.reset();
  if (wanted) join(wanted);
});

$("rename").addEventListener("submit", (e) => {
  e.preventDefault();
  e.target.name.blur();
});
$("rename").elements.name.addEventListener("change", (e) => {
  socket.ask("rename", e.target.value).then(
    (n) => {
      name = socket.auth.name = e.target.value = n;
      localStorage.setItem("name", n);
    },
    (err) => {
      e.target.value = name;
      note(err);
    },
  );
});

// A side that is open on a phone is no more when the window becomes wide.
matchMedia("(max-width: 46rem)").addEventListener("change", () => $("side").matches(":popover-open") && $("side").hidePopover());

showOnline(false);
if (params.get("name")?.trim()) enter(params.get("name"));
else {
  hello.showModal();
  hello.querySelector("input").value = localStorage.getItem("name") ?? "";
}
