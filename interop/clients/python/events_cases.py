"""Events, acknowledgements, rooms, namespaces."""

import random

import socketio.exceptions
from harness import same

UNICODE = "é ß ñ Привет 你好 \U0001f600 \u2028\u2029 \"quoted\" \\ \n\t\x00"
ODD_NAME = 'odd "name"\n\\ é\u2028\U0001f600'
BYTES = bytes([0, 1, 2, 127, 128, 254, 255, 0x1E, 10, 13])

cases = {}


def case(name):
    def add(function):
        cases[name] = function
        return function

    return add


def echoes(name, *args):
    def body(t):
        p = t.connect()
        same(p.exchange("echo", *args), args)
        same(p.ask("echo", *args), args)

    cases[name] = body


@case("connect-auth")
def connect_auth(t):
    p = t.open().connect(auth={"token": UNICODE, "n": 1})
    same(p.next("auth"), ({"token": UNICODE, "n": 1},))


@case("connect-no-auth")
def connect_no_auth(t):
    same(t.connect().next("auth"), ({},))


@case("identity")
def identity(t):
    p = t.connect()
    (who,) = p.ask("whoami")
    same((who["id"], who["namespace"]), (p.sid, "/"))
    assert p.client.eio.sid != p.sid, "the socket id must not be the secret session id"


@case("transport")
def transport(t):
    p = t.connect()
    want = "polling" if t.mode == "polling" else "websocket"
    same((p.ask("whoami")[0]["transport"], p.client.transport()), (want, want))


echoes("echo-text", "hello")
echoes("echo-no-arguments")
echoes("echo-empty-string", "")
echoes("echo-unicode", UNICODE, {UNICODE: UNICODE})
echoes("echo-json", None, True, False, 0, -1, 1.5, 1e21, 2**53, 5e-324, [], {}, [[[1]]], {"a": {"b": [None, {"c": ""}]}})
echoes("echo-many-arguments", *range(200))
echoes("echo-100000-characters", "x" * 50_000 + "é" * 50_000)
echoes("echo-binary", BYTES)
echoes("echo-binary-nested", {"a": BYTES, "b": [BYTES, {"c": b"deep"}]}, "between", b"last")
echoes("echo-binary-empty", b"", "x", b"")
echoes("echo-binary-10-attachments", *[bytes([i]) for i in range(10)])
echoes("echo-binary-100000-bytes", BYTES * 10_000)


@case("echo-odd-event-name")
def echo_odd_event_name(t):
    p = t.connect()
    same(p.exchange(ODD_NAME, 1), (1,))
    same(p.ask(ODD_NAME, BYTES), (BYTES,))


@case("message-back")
def message_back(t):
    p = t.connect()
    args = (1, "2", {"3": [BYTES]})
    same(p.exchange("message", *args, back="message-back"), args)


@case("ack-from-server")
def ack_from_server(t):
    p = t.connect()
    same(p.ask("message-with-ack", 1, "2", {"3": [False]}), (1, "2", {"3": [False]}))
    same(p.await_(p.client.call("message-with-ack", "one", timeout=5)), "one")
    same(p.ask("message-with-ack"), ())


@case("ack-binary")
def ack_binary(t):
    p = t.connect()
    same(p.ask("message-with-ack", BYTES, {"b": BYTES}), (BYTES, {"b": BYTES}))


@case("ack-none-times-out")
def ack_none_times_out(t):
    p = t.connect()
    try:
        p.await_(p.client.call("nobody listens", timeout=0.2))
    except socketio.exceptions.TimeoutError:
        p.marker()
        return
    raise AssertionError("answered")


@case("ack-to-server")
def ack_to_server(t):
    p = t.connect()
    p.answer("question", lambda *args: (*args, "answer"))
    same(p.exchange("ask", "q", {"deep": [UNICODE]}, back="answered"), ("q", {"deep": [UNICODE]}, "answer"))


@case("ack-to-server-binary")
def ack_to_server_binary(t):
    p = t.connect()
    p.answer("question", lambda *args: {"again": list(args)})
    same(p.exchange("ask", BYTES, back="answered"), ({"again": [BYTES]},))


@case("ack-to-server-that-waits")
def ack_to_server_that_waits(t):
    p = t.connect()
    p.answer("question", lambda *args: ("answer", *args))
    same(p.ask("ask-and-wait", 1, BYTES), ("answer", 1, BYTES))


@case("typed-handlers")
def typed_handlers(t):
    p = t.connect()
    same(p.ask("sum", 20, 22), (42,))
    same(p.ask("swap", b"a", b"b"), (b"b", b"a"))
    same(p.ask("letter", {"subject": UNICODE, "body": BYTES}), (UNICODE, BYTES))


@case("burst-500-echoes")
def burst_echoes(t):
    p = t.connect()
    for i in range(500):
        p.emit("echo", i)
    same([p.next("echo")[0] for _ in range(500)], list(range(500)))


@case("burst-500-from-server")
def burst_from_server(t):
    p = t.connect()
    p.emit("burst", 500)
    same([p.next("numbered")[0] for _ in range(500)], list(range(500)))


@case("burst-text-and-binary")
def burst_text_and_binary(t):
    p = t.connect()
    sent = [{"at": i, "data": bytes([i])} if i % 3 == 0 else i for i in range(200)]
    for x in sent:
        p.emit("echo", x)
    same([p.next("echo")[0] for _ in sent], sent)


@case("rooms")
def rooms(t):
    a, b, c = t.connect(), t.connect(), t.connect()
    a.ask("join", "red")
    b.ask("join", "red")
    same(sorted(b.ask("rooms")[0]), sorted([b.sid, "red"]))
    c.emit("room", "red", {"to": "members", "bytes": BYTES})
    c.marker()
    same([p.next("room") for p in (a, b)], 2 * [({"to": "members", "bytes": BYTES},)])
    b.ask("leave", "red")
    a.emit("room", "red", 2)
    a.emit("room", c.sid, "by id")
    same((a.next("room"), c.next("room")), ((2,), ("by id",)))
    b.marker()
    same([p.count("room") for p in (a, b, c)], [0, 0, 0])


@case("rooms-except")
def rooms_except(t):
    a, b = t.connect(), t.connect()
    for p, room in ((a, "blue"), (b, "blue"), (b, "quiet")):
        p.ask("join", room)
    b.emit("room-except", "blue", "quiet", "loud")
    same(a.next("room"), ("loud",))
    b.marker()
    same(b.count("room"), 0)


@case("broadcast")
def broadcast(t):
    a, b, elsewhere = t.connect(), t.connect(), t.connect("/custom")
    nonce = random.random()
    a.emit("bcast", {"nonce": nonce, "text": UNICODE})
    a.emit("bcast", {"nonce": nonce, "bytes": BYTES})
    for p in (a, b):
        same(p.next("bcast"), ({"nonce": nonce, "text": UNICODE},))
        same(p.next("bcast"), ({"nonce": nonce, "bytes": BYTES},))
    elsewhere.marker()
    same(elsewhere.count("bcast"), 0)


@case("broadcast-to-others")
def broadcast_to_others(t):
    a, b = t.connect(), t.connect()
    a.emit("others", "from a")
    same(b.next("others"), ("from a",))
    a.marker()
    same(a.count("others"), 0)


@case("namespaces-on-one-connection")
def namespaces_on_one_connection(t):
    p = t.open().connect(auth={"x": 1}, namespaces=["/", "/custom"])
    same((p.next("auth"), p.next("auth", "/custom")), (({"x": 1},), ({"x": 1},)))
    one, two = p.ask("whoami")[0], p.ask("whoami", namespace="/custom")[0]
    same((one["namespace"], two["namespace"]), ("/", "/custom"))
    assert one["id"] != two["id"]
    same(p.ask("echo", BYTES, namespace="/custom"), (BYTES,))


@case("namespace-alone")
def namespace_alone(t):
    p = t.open("/custom").connect(auth={"a": 1})
    same(p.ask("message-with-ack", "x", BYTES), ("x", BYTES))
    same(p.exchange("message", "y", back="message-back"), ("y",))


def refused(t, namespace):
    p = t.open(namespace)
    try:
        p.connect()
    except socketio.exceptions.ConnectionError:
        return p.next("connect_error")
    raise AssertionError("connected")


@case("namespace-unknown")
def namespace_unknown(t):
    same(refused(t, "/nowhere"), ({"message": "Invalid namespace"},))


@case("middleware-refuses")
def middleware_refuses(t):
    same(refused(t, "/refused"), ({"message": "not authorized", "data": {"code": 401, "hint": "say please"}},))


@case("middleware-lets-in")
def middleware_lets_in(t):
    p = t.open("/refused").connect(auth={"word": "please"})
    same(p.next("welcome"), ())


@case("panic-costs-that-event-only")
def panic_costs_that_event_only(t):
    p = t.connect()
    p.emit("panic")
    p.marker()


@case("unknown-event-is-ignored")
def unknown_event_is_ignored(t):
    p = t.connect()
    p.emit("nobody listens", BYTES)
    p.marker()
