"""A client of PyPI's: python client.py <URL> <transports>"""
import sys

import socketio

url, transports = sys.argv[1:]
client = socketio.SimpleClient()
client.connect(url, transports=transports.split("+"), wait_timeout=10)
for v in ("x", "y" * 100000):
    assert client.call("echo", v, timeout=10) == v
if transports == "polling+websocket":
    assert client.transport == "websocket", client.transport
client.disconnect()
