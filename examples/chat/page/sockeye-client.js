// A small Socket.IO client for browsers: protocol v5 over Engine.IO v4, by
// WebSocket with a fall-back to long-polling, with acknowledgements and
// reconnection. It is written for this example: text only, one namespace.
//
//   const socket = new SockeyeClient({ auth: { name: "Ann" } });
//   socket.on("connect", () => ...);               // also disconnect, connect_error, transport, reconnecting
//   socket.on("say", (message) => ...);            // the server's events
//   const answer = await socket.ask("say", "hi");  // with acknowledgement
//   socket.emit("typing", true);
"use strict";

const SEPARATOR = "\x1e"; // between the packets of a polling payload

class SockeyeClient {
  // transports: "polling" (with upgrade), "polling-only" or "websocket".
  constructor({ path = "/socket.io/", auth = {}, transport = "polling", maxDelay = 5000 } = {}) {
    Object.assign(this, { path, auth, transport, maxDelay });
    this.handlers = {};
    this.connected = false;
    this.attempt = 0;
    this.nextAck = 0;
    this.acks = new Map();
    this.unsent = []; // emitted while disconnected: {packet, id of its ack}
    this.open();
  }

  on(event, handler) {
    (this.handlers[event] ??= []).push(handler);
    return this;
  }

  // emit sends an event; while disconnected it waits.
  emit(event, ...args) {
    this.message("2" + JSON.stringify([event, ...args]));
  }

  // ask sends an event and resolves with the server's answer. While disconnected
  // it waits. An event that was sent when the connection was lost may have
  // arrived or not: it is rejected with an error whose property lost is true.
  ask(event, ...args) {
    return new Promise((resolve, reject) => {
      const id = this.nextAck++;
      this.acks.set(id, { resolve, reject });
      this.message("2" + id + JSON.stringify([event, ...args]), id);
    });
  }

  message(packet, id) {
    if (this.connected) return this.engine.send("4" + packet);
    if (this.unsent.length < 100) return this.unsent.push({ packet, id });
    this.acks.get(id)?.reject(new Error("too much is waiting for the connection"));
    this.acks.delete(id);
  }

  close() {
    this.ended = true;
    clearTimeout(this.timer);
    this.engine?.send("41");
    this.engine?.close("closed by this page");
  }

  fire(event, ...args) {
    for (const h of this.handlers[event] ?? []) h(...args);
  }

  open() {
    const webSocket = typeof WebSocket !== "undefined" && this.transport !== "polling-only";
    this.engine = new Engine(this.path, {
      first: this.transport === "websocket" && webSocket ? "websocket" : "polling",
      upgrade: webSocket,
      onopen: () => this.engine.send("40" + JSON.stringify(this.auth)),
      onmessage: (text) => this.receive(text),
      ontransport: (name) => this.fire("transport", name),
      onclose: (reason) => this.lost(reason),
    });
  }

  // receive handles one Socket.IO packet.
  receive(text) {
    const [, type, id, json] = /^(\d)(\d*)([\s\S]*)$/.exec(text) ?? [];
    const data = json ? JSON.parse(json) : undefined;
    switch (type) {
      case "0": {
        this.connected = true;
        this.attempt = 0;
        this.id = data.sid;
        this.fire("connect", data.sid);
        const waiting = this.unsent;
        this.unsent = [];
        for (const { packet, id } of waiting) this.message(packet, id);
        break;
      }
      case "1":
        this.engine.close("disconnected by the server");
        break;
      case "2":
        this.fire(...data);
        break;
      case "3": {
        const ack = this.acks.get(Number(id));
        this.acks.delete(Number(id));
        if (ack) data[0]?.error ? ack.reject(new Error(data[0].error)) : ack.resolve(data[0]);
        break;
      }
      case "4":
        this.fire("connect_error", data);
        break;
    }
  }

  lost(reason) {
    const was = this.connected;
    this.connected = false;
    const waiting = new Set(this.unsent.map((u) => u.id));
    for (const [id, { reject }] of this.acks) {
      if (waiting.has(id)) continue;
      this.acks.delete(id);
      reject(Object.assign(new Error("the connection was lost"), { lost: true }));
    }
    if (was) this.fire("disconnect", reason);
    if (this.ended) return;
    // Backoff with jitter, so that a restarted server is not met by all at once.
    const delay = Math.min(this.maxDelay, 500 * 2 ** this.attempt++) * (0.5 + Math.random() / 2);
    this.fire("reconnecting", delay, this.attempt);
    this.timer = setTimeout(() => this.open(), delay);
  }
}

// Engine is one Engine.IO session.
class Engine {
  constructor(path, options) {
    Object.assign(this, options);
    this.path = path;
    this.queue = []; // packets that wait to be POSTed
    if (this.first === "websocket") this.openWebSocket();
    else this.poll();
  }

  url(transport) {
    const sid = this.sid ? "&sid=" + encodeURIComponent(this.sid) : "";
    return `${this.path}?EIO=4&transport=${transport}${sid}`;
  }

  packet(p) {
    this.heard();
    switch (p[0]) {
      case "0": {
        const { sid, upgrades, pingInterval, pingTimeout } = JSON.parse(p.slice(1));
        this.sid = sid;
        this.patience = pingInterval + pingTimeout;
        this.heard();
        this.ontransport(this.ws ? "websocket" : "polling");
        this.onopen();
        if (!this.ws && this.upgrade && upgrades.includes("websocket")) this.probe();
        break;
      }
      case "1":
        this.close("closed by the server");
        break;
      case "2":
        this.send("3");
        break;
      case "4":
        this.onmessage(p.slice(1));
        break;
    }
  }

  // heard puts off the moment at which the server counts as gone.
  heard() {
    clearTimeout(this.silence);
    if (!this.closed) this.silence = setTimeout(() => this.close("ping timeout"), this.patience ?? 20000);
  }

  send(p) {
    if (this.ws) this.ws.send(p);
    else {
      this.queue.push(p);
      this.post();
    }
  }

  // post sends what is queued, one request at a time; not while an upgrade is
  // being completed.
  async post() {
    if (this.posting || this.upgrading || this.queue.length === 0 || this.closed) return;
    this.posting = true;
    const body = this.queue.splice(0).join(SEPARATOR);
    try {
      const r = await fetch(this.url("polling"), { method: "POST", body });
      if (!r.ok) throw new Error(r.status);
    } catch {
      this.close("transport error");
    }
    this.posting = false;
    this.post();
    this.completeUpgrade();
  }

  async poll() {
    if (this.closed || this.ws) return;
    this.polling = true;
    try {
      const r = await fetch(this.url("polling"), { cache: "no-store" });
      if (!r.ok) throw new Error(r.status);
      const payload = await r.text();
      this.polling = false;
      for (const p of payload.split(SEPARATOR)) this.packet(p);
    } catch {
      this.polling = false;
      return this.close("transport error");
    }
    if (this.upgrading) this.completeUpgrade();
    else this.poll();
  }

  // probe tries a WebSocket; polling goes on until the server has answered.
  probe() {
    const ws = new WebSocket(this.url("websocket"));
    this.probing = ws;
    ws.onopen = () => ws.send("2probe");
    ws.onmessage = ({ data }) => {
      if (data !== "3probe") return ws.close();
      this.upgrading = true; // no further poll is sent, and no further POST
      this.completeUpgrade();
    };
    ws.onclose = () => (this.probing = undefined);
  }

  // completeUpgrade moves to the WebSocket when no request is under way.
  completeUpgrade() {
    const ws = this.probing;
    if (!this.upgrading || !ws || this.polling || this.posting || this.closed) return;
    this.upgrading = false;
    ws.send("5");
    this.useWebSocket(ws);
    this.ontransport("websocket");
    for (const p of this.queue.splice(0)) ws.send(p);
  }

  openWebSocket() {
    this.useWebSocket(new WebSocket(this.url("websocket")));
    this.heard();
  }

  useWebSocket(ws) {
    this.ws = ws;
    this.probing = undefined;
    ws.onmessage = ({ data }) => this.packet(data);
    ws.onclose = () => this.close("transport close");
    ws.onerror = () => {};
  }

  close(reason) {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.silence);
    this.probing?.close();
    this.ws?.close();
    this.onclose(reason);
  }
}
