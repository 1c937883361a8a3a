"""Usage: python tls.py <host:port> <TLSv1_2 or TLSv1_3> [socketio]

What a server that speaks TLS must do for Python's ssl: raw requests, the end of a
stream from either side, resumed sessions; and for python-socketio, if it is told to.
"""

import asyncio
import http.client
import socket
import ssl
import sys

where, version = sys.argv[1:3]
host, port = where.rsplit(":", 1)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
context.set_alpn_protocols(["h2", "http/1.1"])
POLL = "/socket.io/?EIO=4&transport=polling"


def connect(session=None):
    raw = socket.create_connection((host, int(port)), timeout=10)
    return context.wrap_socket(raw, server_hostname="localhost", session=session)


def ask(s, path, body=None):
    """A request over a connection that stays."""
    head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: localhost\r\n"
    if body:
        head += f"Content-Length: {len(body)}\r\n"
    s.sendall(head.encode() + b"\r\n" + (body or b""))
    answer = http.client.HTTPResponse(s)
    answer.begin()
    assert answer.status == 200, answer.status
    return answer.read()


def keep():
    """One connection, the loop's and net/http's by turns, ended by close_notify."""
    for last in (POLL, "/page?last"):
        s = connect()
        assert s.selected_alpn_protocol() == "http/1.1"
        for path in (POLL, "/page?a", POLL, "/page?b", last):
            got = ask(s, path)
            assert got.startswith(b'0{"sid"' if path == POLL else b"page "), got
        assert ask(s, "/sum", b"0123456789" * 30_000).startswith(b"sum 300000 ")
        assert len(ask(s, "/large/300000")) == 300_000
        ask(s, last)
        s.unwrap().close()  # close_notify, and waits for the server's


def split():
    """A request whose records have one byte each, and one of many in one write."""
    s = connect()
    for b in b"GET /page?slow HTTP/1.1\r\nHost: localhost\r\n\r\n":
        s.sendall(bytes([b]))
    answer = http.client.HTTPResponse(s)
    answer.begin()
    assert answer.read().startswith(b"page slow by ")
    s.close()  # without close_notify
    s = connect()
    s.sendall(f"GET {POLL} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 20)
    reader = s.makefile("rb")
    for _ in range(20):
        assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
        length = 0
        while (line := reader.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        assert reader.read(length).startswith(b'0{"sid"')
    s.unwrap().close()


def resume():
    s = connect()
    ask(s, "/page?new")
    session = s.session
    assert not s.session_reused
    s.unwrap().close()
    s = connect(session)
    assert s.session_reused
    ask(s, "/page?again")
    s.sendall(b"GET /page?end HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    text = b""
    while got := s.recv(10_000):  # raises unless close_notify comes
        text += got
    assert b"page end by " in text, text
    s.unwrap().close()


async def events(transports):
    import aiohttp
    import socketio

    # The client with asyncio. That with threads (socketio.Client) is not sure over TLS, with
    # any server: its reader and its writer use one SSLSocket at once, of which Python 3.11
    # makes a false end or a broken record; it handles each message in a thread of its own, so
    # that an attachment can overtake its packet; and websocket-client checks UTF-8 in Python,
    # which takes seconds for 200 kB on a busy machine.
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:
        client = socketio.AsyncClient(http_session=session, reconnection=False, handle_sigint=False)
        told = asyncio.Event()
        text, binary = "0123456789abcdef" * 12_800, bytes(range(256)) * 800
        client.on("told", lambda *data: data == (text, binary) and told.set())
        await client.connect(f"https://{where}", transports=transports)
        assert client.transport() == transports[-1], client.transport()
        for sent in (text, binary, text):
            assert await client.call("echo", sent, timeout=10) == sent
        await client.emit("tell", (text, binary))
        await asyncio.wait_for(told.wait(), 10)
        await client.disconnect()


import warnings

warnings.simplefilter("ignore")
keep()
split()
resume()
if "socketio" in sys.argv[3:]:
    for transports in (["websocket"], ["polling"], ["polling", "websocket"]):
        asyncio.run(events(transports))
print("served")
