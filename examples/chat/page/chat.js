// The page of the chat example. All text of people is set as textContent.
"use strict";

const $ = (id) => document.getElementById(id);
const params = new URLSearchParams(location.search); // ?name=Ann&room=lobby&transport=polling-only
let socket, room, name;
const typists = new Map(); // id -> {name, timer}

// --- the door ---

const hello = $("hello");
hello.addEventListener("cancel", (e) => e.preventDefault());
hello.querySelector("form").addEventListener("submit", (e) => enter(e.target.name.value));
if (params.get("name")) enter(params.get("name"));
else {
  hello.showModal();
  hello.querySelector("input").value = localStorage.getItem("name") ?? "";
}

function enter(chosen) {
  name = chosen.trim();
  if (!name) return;
  localStorage.setItem("name", name);
  $("rename").name.value = name;
  socket = new SockeyeClient({
    auth: { name, room: params.get("room") ?? "lobby" },
    transport: params.get("transport") ?? "polling",
  });
  listen(socket);
}

function listen(s) {
  s.on("connect", () => {
    banner();
    if (room) s.ask("join", room).then(showRoom, note); // after a reconnection
    else showRoom(s.auth.room);
    measure();
  });
  s.on("disconnect", (reason) => {
    note("Connection lost: " + reason);
    $("transport").textContent = "offline";
    $("transport").className = "badge off";
    $("latency").textContent = "";
  });
  s.on("reconnecting", (delay, attempt) => countdown(delay, attempt));
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

function hue(id) {
  let h = 0;
  for (const c of id) h = (h * 31 + c.codePointAt(0)) % 360;
  return h;
}

function avatar(p) {
  const a = element("span", "avatar", [...p.name][0].toUpperCase());
  a.style.setProperty("--hue", hue(p.id));
  return a;
}

function append(item) {
  const log = $("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  log.append(item);
  while (log.children.length > 500) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function showMessage(m) {
  typists.delete(m.id);
  renderTyping();
  const li = element("li", m.id === socket.id ? "message own" : "message");
  const body = element("div", "body");
  const head = element("div", "head");
  const at = new Date(m.at);
  const time = element("time", "", at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = m.at;
  head.append(element("b", "", m.name), time);
  body.append(head, element("p", "", m.text));
  li.append(avatar(m), body);
  append(li);
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
  for (const b of $("rooms").querySelectorAll("button")) b.classList.toggle("current", b.dataset.room === r);
}

function showRooms(rooms, online) {
  $("online").textContent = online + " online";
  $("rooms").replaceChildren(
    ...rooms.map(({ name, people }) => {
      const b = element("button", name === room ? "current" : "", "# " + name);
      b.dataset.room = name;
      b.append(element("span", "count", people || ""));
      b.onclick = () => socket.ask("join", name).then(showRoom, note);
      const li = element("li");
      li.append(b);
      return li;
    }),
  );
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

function banner(text) {
  $("banner").textContent = text ?? "";
  $("banner").hidden = !text;
}

let ticking;
function countdown(delay, attempt) {
  clearInterval(ticking);
  const end = Date.now() + delay;
  const show = () => {
    const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
    if (socket.connected) return clearInterval(ticking);
    banner(left ? `Reconnecting in ${left} s (attempt ${attempt})…` : `Reconnecting (attempt ${attempt})…`);
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

const say = $("say");
say.addEventListener("submit", (e) => {
  e.preventDefault();
  const text = say.text.value.trim();
  if (!text) return;
  say.text.value = "";
  stopTyping();
  socket.ask("say", text).catch(note);
});

let typing = false;
let typingTimer;
say.text.addEventListener("input", () => {
  clearTimeout(typingTimer);
  typingTimer = setTimeout(stopTyping, 2500);
  if (!typing && socket?.connected) socket.emit("typing", (typing = true));
});
function stopTyping() {
  clearTimeout(typingTimer);
  if (typing) socket.emit("typing", (typing = false));
}

$("new-room").addEventListener("submit", (e) => {
  e.preventDefault();
  const wanted = e.target.room.value.trim();
  e.target.reset();
  if (wanted) socket.ask("join", wanted).then(showRoom, note);
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
