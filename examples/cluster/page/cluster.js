// The page of the cluster example. All text of people is set as textContent.
"use strict";

const $ = (id) => document.getElementById(id);
const params = new URLSearchParams(location.search); // ?name=Ann&transport=polling-only
let socket;
let name;
let mine; // the process that this page is on

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
  socket = new SockeyeClient({ auth: { name }, transport: params.get("transport") ?? "polling", maxDelay: 2000 });
  socket.on("connect", () => {
    for (const key of outbox.keys()) send(key);
  });
  socket.on("disconnect", () => {
    $("transport").textContent = "offline";
    $("transport").className = "badge off";
    $("summary").textContent = mine ? label(mine) + " has gone; looking for another one…" : "offline";
    note(mine ? `The connection to ${label(mine)} was lost` : "The connection was lost");
    mine = undefined;
  });
  socket.on("connect_error", (e) => note("Not let in: " + e.message));
  socket.on("transport", (t) => {
    $("transport").textContent = t;
    $("transport").className = "badge " + t;
  });
  socket.on("cluster", showCluster);
  socket.on("say", showMessage);
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

const processKey = (p) => p.host + " " + p.pid;
const processHue = (p) => (hue(p.host) + p.number * 137) % 360;
let hosts = 1;
const label = (p) => `process ${p.number}` + (hosts > 1 ? ` of ${p.host}` : "");

function avatar(p) {
  const a = element("span", "avatar", [...p.name][0].toUpperCase());
  a.style.setProperty("--hue", hue(p.name));
  a.title = p.name;
  return a;
}

function showCluster({ processes, people, online }) {
  hosts = new Set(processes.map((p) => p.host)).size;
  const on = people.find((p) => p.id === socket.id);
  if (on && (!mine || processKey(on) !== processKey(mine))) note(`You are on ${label(on)}, pid ${on.pid}`);
  mine = on ?? mine;
  $("summary").textContent = `${online} online, on ${processes.length} ${processes.length > 1 ? "processes behind one port" : "process"}`;
  $("processes").replaceChildren(
    ...processes.map((p) => {
      const li = element("li", "process");
      li.style.setProperty("--hue", processHue(p));
      li.dataset.pid = p.pid;
      const here = people.filter((x) => processKey(x) === processKey(p));
      if (mine && processKey(mine) === processKey(p)) {
        li.classList.add("mine");
        li.ariaCurrent = "true";
      }
      const head = element("h2", "", label(p));
      head.append(element("span", "", li.ariaCurrent ? "you" : ""));
      const pid = element("p", "", "");
      pid.append("pid ", element("code", "", p.pid), `, ${p.forwarded} passed on`);
      const list = element("div", "people");
      for (const x of here.slice(0, 12)) {
        const a = avatar(x);
        a.classList.toggle("me", x.id === socket.id);
        list.append(a);
      }
      if (p.sockets > here.slice(0, 12).length) list.append(element("p", "", "+" + (p.sockets - Math.min(12, here.length))));
      li.append(head, list, pid);
      return li;
    }),
  );
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

const note = (text) => append(element("li", "note", text));
const written = (key) => [...log.children].find((li) => li.dataset.key === key);

function messageItem(m, own) {
  const li = element("li", own ? "message own" : "message");
  li.dataset.key = m.key;
  const body = element("div", "body");
  const head = element("div", "head");
  head.append(element("b", "", m.name), element("span", "from"), element("time"));
  body.append(head, element("p", "", m.text));
  li.append(avatar(m), body);
  return li;
}

function showMessage(m) {
  const li = written(m.key) ?? messageItem(m, m.id === socket.id);
  if (li.dataset.id) return; // was shown before
  li.dataset.id = m.id;
  li.classList.remove("pending");
  const by = li.querySelector(".from");
  by.textContent = label(m);
  by.style.setProperty("--hue", processHue(m));
  const time = li.querySelector("time");
  time.textContent = new Date(m.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  time.dateTime = m.at;
  append(li); // in the order of all
}

// --- what is sent ---

// outbox is the texts that no process has answered for, by key. What was sent when the
// connection was lost is sent again, to whichever process is there.
const outbox = new Map();

$("say").addEventListener("submit", (e) => {
  e.preventDefault();
  const text = e.target.text.value.trim();
  if (!text || !socket) return;
  e.target.text.value = "";
  const key = Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("-");
  const li = messageItem({ key, name, text }, true);
  li.classList.add("pending");
  li.querySelector("time").textContent = "not sent yet";
  atEnd = true;
  append(li);
  outbox.set(key, text);
  if (socket.connected) send(key);
});

async function send(key) {
  try {
    await socket.ask("say", outbox.get(key), key);
    outbox.delete(key);
    written(key)?.classList.remove("pending"); // also if its own event was lost
  } catch (e) {
    if (e.lost) return;
    outbox.delete(key);
    const li = written(key);
    li?.classList.add("failed");
    if (li) li.querySelector("time").textContent = "not sent: " + e.message;
  }
}

if (params.get("name")?.trim()) enter(params.get("name"));
else {
  hello.showModal();
  hello.querySelector("input").value = localStorage.getItem("name") ?? "";
}
