import os

from flask import Flask, request, session
from flask_socketio import ConnectionRefusedError, SocketIO, emit, join_room

app = Flask(__name__, static_folder="public", static_url_path="")
app.secret_key = os.urandom(16)
socketio = SocketIO(app)
people = {}  # of each room


@app.get("/")
def page():
    return app.send_static_file("index.html")


@socketio.on("connect")
def connect(auth):
    if not (auth or {}).get("name"):
        raise ConnectionRefusedError("what is your name?")
    session["name"] = auth["name"]


@socketio.on("join")
def join(room):
    join_room(room)
    people.setdefault(room, set()).add(request.sid)
    return len(people[room])


@socketio.on("say")
def say(room, text):
    emit("say", {"name": session["name"], "text": text}, to=room)


@socketio.on("disconnect")
def disconnect(reason):
    for room in people.values():
        room.discard(request.sid)
    print(session["name"], "has gone:", reason)


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 3000)), allow_unsafe_werkzeug=True)
