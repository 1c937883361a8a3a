"""How connections end, as seen from both sides, and begin again."""

import socketio.packet
from harness import same

cases = {}


def case(name):
    def add(function):
        cases[name] = function
        return function

    return add


def server_reason(t, p, end):
    """The reason that the server gives for the end of p after end()."""
    watcher = t.connect()
    sid = p.sid
    watcher.ask("watch", sid)
    end()
    gone, reason = watcher.next("gone")
    same(gone, sid)
    return reason


@case("client-disconnects")
def client_disconnects(t):
    p = t.connect()
    # The client may close its WebSocket before its DISCONNECT packet is sent.
    reason = server_reason(t, p, p.disconnect)
    assert reason in ("client namespace disconnect", "transport close"), reason
    same(p.next("disconnect"), ("client disconnect",))


@case("client-leaves-namespace")
def client_leaves_namespace(t):
    p = t.connect()
    leave = socketio.packet.Packet(socketio.packet.DISCONNECT, namespace="/")
    reason = server_reason(t, p, lambda: p.await_(p.client._send_packet(leave)))
    same(reason, "client namespace disconnect")


@case("server-disconnects-socket")
def server_disconnects_socket(t):
    p = t.connect()
    same(server_reason(t, p, lambda: p.emit("kick", False)), "server namespace disconnect")
    same(p.next("disconnect"), ("server disconnect",))


@case("server-disconnects-one-of-two-namespaces")
def server_disconnects_one_of_two(t):
    p = t.open().connect(namespaces=["/", "/custom"])
    p.emit("kick", False, namespace="/custom")
    same(p.next("disconnect", "/custom"), ("server disconnect",))
    p.marker()


@case("server-disconnects-session")
def server_disconnects_session(t):
    p = t.connect()
    same(server_reason(t, p, lambda: p.emit("kick", True)), "server namespace disconnect")
    (reason,) = p.next("disconnect")
    # With threads, the client may notice the end of the connection before it
    # handles the packet that came before it.
    assert reason == "server disconnect" or t.flavour == "sync" and reason == "transport error", reason


@case("last-words-before-kick")
def last_words_before_kick(t):
    p = t.connect()
    for i in range(20):
        p.emit("echo", i)
    p.emit("kick", True)
    p.next("disconnect")
    same([p.next("echo", seconds=1)[0] for _ in range(20)], list(range(20)))


@case("connection-cut")
def connection_cut(t):
    p = t.open().connect(url=t.via)
    reason = server_reason(t, p, t.cut)
    assert reason in ("transport close", "transport error"), reason
    same(p.next("disconnect"), ("transport error",))


@case("reconnects-after-cut")
def reconnects_after_cut(t):
    p = t.open()
    p.client.reconnection = True
    p.client.reconnection_delay = 0.05
    p.client.randomization_factor = 0
    p.connect(url=t.via)
    before = p.sid
    p.next("connect")
    t.cut()
    p.next("disconnect")
    p.next("connect")
    same(p.exchange("echo", "again"), ("again",))
    assert p.sid != before
