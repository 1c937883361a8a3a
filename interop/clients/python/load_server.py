"""A server for cmd/sockeye-load, as the documentation of Flask-SocketIO has it: echoes,
broadcasts, and a namespace that lets nobody in. It prints its port, and ends with its input."""

import os
import socket
import sys
import threading

from flask import Flask
from flask_socketio import ConnectionRefusedError, SocketIO, emit

app = Flask(__name__)
socketio = SocketIO(app, async_mode="threading")


def register(namespace):
    @socketio.on("echo", namespace=namespace)
    def echo(text):
        return text

    @socketio.on("bcast", namespace=namespace)
    def bcast(text):
        emit("bcast", {"text": text}, broadcast=True)

    @socketio.on("others", namespace=namespace)
    def others(text):
        emit("others", (text, b"x"), broadcast=True, include_self=False)


register("/")
register("/custom")


@socketio.on("connect", namespace="/refused")
def refuse(auth):
    raise ConnectionRefusedError("not today")


def end_with_input():
    sys.stdin.read()
    os._exit(0)


with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
threading.Thread(target=end_with_input, daemon=True).start()
threading.Timer(0.1, lambda: print(port, flush=True)).start()
socketio.run(app, host="127.0.0.1", port=port, allow_unsafe_werkzeug=True)
