"""Flask-SocketIO on gevent."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

from flask import Flask  # noqa: E402
from flask_socketio import SocketIO, emit  # noqa: E402

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent")


@socketio.on("echo")
def echo(arg):
    emit("echo", arg)


@socketio.on("bcast")
def bcast(arg):
    emit("bcast", arg, broadcast=True)


socketio.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_output=False)
