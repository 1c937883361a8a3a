"""Runs cases one after the other and prints one JSON object a line for each:
{"case": name, "ok": true} or {"case": name, "ok": false, "why": text}.

Cases are plain functions that work on Peers. A Peer is python-socketio's client
with threads ("sync": requests and websocket-client) or the one with asyncio
("async": aiohttp); cases do not see which.
"""

import asyncio
import json
import queue
import socket
import threading
import time
import traceback

import engineio.payload
import socketio

DEADLINE = 8  # seconds, for each single wait

# The client refuses an answer to a poll that has more than 16 packets, whatever
# the server. Its documentation has users raise that for bursts.
engineio.payload.Payload.max_decode_packets = 10_000

TRANSPORTS = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": ["polling", "websocket"]}


class Peer:
    """One client: what it receives waits in a queue for each event."""

    def __init__(self, case, namespace, options):
        self.case = case
        self.namespace = namespace
        self.queues = {}
        self.lock = threading.Lock()
        serializer = getattr(case, "serializer", "default")
        self.client = self.make(reconnection=False, handle_sigint=False, serializer=serializer, **options)
        self.hear(namespace)

    def hear(self, namespace):
        self.client.on("*", lambda event, *args: self.queue(event, namespace).put(args), namespace=namespace)
        for event in ("connect", "disconnect", "connect_error"):
            self.client.on(event, lambda *args, e=event: self.queue(e, namespace).put(args), namespace=namespace)

    def answer(self, event, function):
        """Has function called for an event; what it returns is the acknowledgement."""
        self.client.on(event, function, namespace=self.namespace)

    def queue(self, event, namespace=None):
        with self.lock:
            return self.queues.setdefault((namespace or self.namespace, event), queue.Queue())

    def next(self, event, namespace=None, seconds=DEADLINE):
        """Waits for an event and returns its arguments."""
        try:
            return self.queue(event, namespace).get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f'no "{event}" within {seconds} s') from None

    def count(self, event):
        return self.queue(event).qsize()

    def connect(self, url=None, auth=None, namespaces=None):
        for namespace in namespaces or []:
            self.hear(namespace)
        self.await_(self.client.connect(
            url or self.case.url, auth=auth, transports=TRANSPORTS[self.case.mode],
            namespaces=namespaces or [self.namespace], wait_timeout=DEADLINE))
        return self

    def emit(self, event, *args, namespace=None):
        self.await_(self.client.emit(event, args, namespace=namespace or self.namespace))

    def ask(self, event, *args, namespace=None):
        """Emits an event and returns all arguments of its acknowledgement."""
        got = queue.Queue()
        self.await_(self.client.emit(
            event, args, namespace=namespace or self.namespace, callback=lambda *answer: got.put(answer)))
        try:
            return got.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f'no answer to "{event}" within {DEADLINE} s') from None

    def exchange(self, event, *args, back=None):
        self.emit(event, *args)
        return self.next(back or event)

    def marker(self):
        """Returns when everything that was sent to the peer before has arrived."""
        same(self.ask("echo", "marker"), ("marker",))

    @property
    def sid(self):
        return self.client.get_sid(self.namespace)

    def disconnect(self):
        # A client that is told to disconnect while it is sending says nothing
        # to the server: a race of its own.
        end = time.monotonic() + DEADLINE
        while self.client.connected and self.sends() and time.monotonic() < end:
            time.sleep(0.001)
        self.await_(self.client.shutdown())

    def close(self):
        try:
            self.disconnect()
        except Exception:  # noqa: BLE001 - it may be in any state
            pass


class SyncPeer(Peer):
    def make(self, **options):
        client = socketio.Client(**options)
        # The client starts a thread for each message, which loses the order
        # that is being tested here. One thread for all keeps it.
        trigger = client.eio._trigger_event
        messages = queue.Queue()

        def in_order(event, *args, **options):
            return messages.put(args) if event == "message" else trigger(event, *args, **options)

        def deliver():
            while True:
                trigger("message", *messages.get(), run_async=False)

        threading.Thread(target=deliver, daemon=True).start()
        client.eio._trigger_event = in_order
        return client

    def await_(self, value):
        return value

    def sends(self):
        return not self.client.eio.queue.not_empty._waiters


class AsyncPeer(Peer):
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def make(self, **options):
        async def make():
            return socketio.AsyncClient(**options)

        return self.await_(make())

    def await_(self, value):
        return asyncio.run_coroutine_threadsafe(value, self.loop).result(4 * DEADLINE)

    def sends(self):
        return not self.client.eio.queue._getters


class Case:
    """What a case is given."""

    def __init__(self, env):
        self.__dict__.update(env)
        self.peers = []

    def open(self, namespace="/", **options):
        """Makes a peer that is not connected yet."""
        kind = AsyncPeer if self.flavour == "async" else SyncPeer
        peer = kind(self, namespace, options)
        self.peers.append(peer)
        return peer

    def connect(self, namespace="/", **options):
        return self.open(namespace, **options).connect()

    def cut(self):
        """Ends every TCP connection through the proxy, at a moment without traffic."""
        host, port = self.control.split(":")
        with socket.create_connection((host, int(port)), timeout=DEADLINE) as c:
            c.recv(1)

    def close(self):
        for peer in self.peers:
            peer.close()


def same(got, want):
    if got != want:
        raise AssertionError(f"got {shortened(got)}, want {shortened(want)}")


def shortened(v):
    text = repr(v)
    return text if len(text) < 300 else f"{text[:200]}... ({len(text)} characters)"


def run(cases, env):
    for name, body in cases.items():
        case = Case(env)
        line = {"case": name, "ok": True}
        try:
            body(case)
        except BaseException:  # noqa: BLE001 - every failure is reported
            line = {"case": name, "ok": False, "why": "; ".join(traceback.format_exc().strip().split("\n")[-5:])}
        case.close()
        print(json.dumps(line), flush=True)
