"""A Socket.IO server of Python's with a message queue, driven by lines of JSON:

    python python.py socketio|asyncio|flask <Redis URL>

It writes {"url": ...} when it is ready, then for each line {"id", "op", ...} that it reads
one line {"id", "result"} or {"id", "error"}. Binary is {"$bin": <base64>}. It ends with its
input. far.go is the other end, node.mjs the same for Node.
"""

import asyncio
import base64
import json
import sys
import threading

import socketio

kind, bus = sys.argv[1:3]


def pack(v):
    if isinstance(v, (bytes, bytearray)):
        return {"$bin": base64.b64encode(v).decode()}
    if isinstance(v, (list, tuple)):
        return [pack(x) for x in v]
    if isinstance(v, dict):
        return {k: pack(x) for k, x in v.items()}
    return v


def unpack(v):
    if isinstance(v, list):
        return [unpack(x) for x in v]
    if isinstance(v, dict):
        if isinstance(v.get("$bin"), str):
            return base64.b64decode(v["$bin"])
        return {k: unpack(x) for k, x in v.items()}
    return v


def target(cmd):
    """The arguments of emit() that say who is addressed."""
    to = {"namespace": cmd.get("nsp", "/")}
    rooms, skip = cmd.get("rooms"), cmd.get("except")
    if rooms:
        to["to"] = rooms[0] if len(rooms) == 1 else rooms
    if skip:
        to["skip_sid"] = skip[0] if len(skip) == 1 else skip
    return to


def data(cmd):
    return tuple(unpack(x) for x in cmd.get("args") or [])


class Threads:
    """python-socketio with threads."""

    def __init__(self):
        self.server = self.make()
        s = self.server
        s.on("join", lambda nsp, sid, room: s.enter_room(sid, room, namespace=nsp), namespace="*")
        s.on("leave", lambda nsp, sid, room: s.leave_room(sid, room, namespace=nsp), namespace="*")

    def make(self):
        server = socketio.Server(
            client_manager=socketio.RedisManager(bus), async_mode="threading", namespaces="*"
        )
        self.app = socketio.WSGIApp(server)
        return server

    channel = "socketio"

    def emit(self, event, *args, **to):
        self.server.emit(event, *args, **to)

    def do(self, cmd):
        op, nsp = cmd["op"], cmd.get("nsp", "/")
        s = self.server
        if op == "of":
            return None
        if op == "emit":
            return self.emit(cmd["event"], data(cmd), **target(cmd))
        if op == "call":
            done, got = threading.Event(), []

            def callback(*args):
                got.extend(args)
                done.set()

            self.emit(cmd["event"], data(cmd), callback=callback, **target(cmd))
            missing = "" if done.wait(cmd["timeout"] / 1000) else "timeout"
            return {"answers": pack(got), "missing": missing}
        if op in ("join", "leave"):
            change = s.enter_room if op == "join" else s.leave_room
            for sid in cmd["rooms"]:
                for room in cmd["names"]:
                    change(sid, room, namespace=nsp)
            return None
        if op == "closeRoom":
            return self.close_room(cmd["names"][0], nsp)
        if op == "disconnect":
            for sid in cmd["rooms"]:
                self.disconnect(sid, nsp)
            return None
        if op == "rooms":
            return [r for r in s.rooms(cmd["socket"], namespace=nsp)]
        if op == "emitter":
            return emitter(self.channel, cmd)
        raise ValueError(f"no {op}")

    def close_room(self, room, nsp):
        self.server.close_room(room, namespace=nsp)

    def disconnect(self, sid, nsp):
        self.server.disconnect(sid, namespace=nsp)

    def run(self):
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log(self, *_):
                pass

        server = make_server("127.0.0.1", 0, self.app, threaded=True, request_handler=Quiet)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        reply({"url": f"http://127.0.0.1:{server.server_port}"})
        for line in sys.stdin:
            cmd = json.loads(line)
            threading.Thread(target=self.answer, args=(cmd,), daemon=True).start()

    def answer(self, cmd):
        try:
            reply({"id": cmd["id"], "result": self.do(cmd)})
        except Exception as e:
            reply({"id": cmd["id"], "error": f"{type(e).__name__}: {e}"})


class Flask(Threads):
    """Flask-SocketIO, by its own functions where it has them."""

    channel = "flask-socketio"

    def make(self):
        import flask
        import flask_socketio

        self.app = flask.Flask(__name__)
        self.flask = flask_socketio.SocketIO(
            self.app, message_queue=bus, async_mode="threading", namespaces="*"
        )
        return self.flask.server

    def emit(self, event, args, **to):
        self.flask.emit(event, args, **to)

    def close_room(self, room, nsp):
        self.flask.close_room(room, namespace=nsp)

    def disconnect(self, sid, nsp):
        import flask_socketio

        with self.app.test_request_context():
            flask_socketio.disconnect(sid, namespace=nsp)


class Asyncio:
    """python-socketio with asyncio."""

    def __init__(self):
        self.server = s = socketio.AsyncServer(
            client_manager=socketio.AsyncRedisManager(bus), async_mode="asgi", namespaces="*"
        )

        async def join(nsp, sid, room):
            await s.enter_room(sid, room, namespace=nsp)

        async def leave(nsp, sid, room):
            await s.leave_room(sid, room, namespace=nsp)

        s.on("join", join, namespace="*")
        s.on("leave", leave, namespace="*")

    async def do(self, cmd):
        op, nsp = cmd["op"], cmd.get("nsp", "/")
        s = self.server
        if op == "of":
            return None
        if op == "emit":
            return await s.emit(cmd["event"], data(cmd), **target(cmd))
        if op == "call":
            got = asyncio.get_running_loop().create_future()
            await s.emit(cmd["event"], data(cmd), callback=lambda *a: got.set_result(a), **target(cmd))
            try:
                return {"answers": pack(await asyncio.wait_for(got, cmd["timeout"] / 1000)), "missing": ""}
            except asyncio.TimeoutError:
                return {"answers": [], "missing": "timeout"}
        if op in ("join", "leave"):
            change = s.enter_room if op == "join" else s.leave_room
            for sid in cmd["rooms"]:
                for room in cmd["names"]:
                    await change(sid, room, namespace=nsp)
            return None
        if op == "closeRoom":
            return await s.close_room(cmd["names"][0], namespace=nsp)
        if op == "disconnect":
            for sid in cmd["rooms"]:
                await s.disconnect(sid, namespace=nsp)
            return None
        if op == "rooms":
            return [r for r in s.rooms(cmd["socket"], namespace=nsp)]
        if op == "emitter":
            return await asyncio.to_thread(emitter, "socketio", cmd)
        raise ValueError(f"no {op}")

    async def answer(self, cmd):
        try:
            reply({"id": cmd["id"], "result": await self.do(cmd)})
        except Exception as e:
            reply({"id": cmd["id"], "error": f"{type(e).__name__}: {e}"})

    async def main(self):
        import uvicorn

        config = uvicorn.Config(
            socketio.ASGIApp(self.server), host="127.0.0.1", port=0, log_level="critical"
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        reply({"url": f"http://127.0.0.1:{port}"})
        loop, tasks = asyncio.get_running_loop(), set()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            task = asyncio.create_task(self.answer(json.loads(line)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        serving.cancel()

    def run(self):
        asyncio.run(self.main())


def emitter(channel, cmd):
    """A process that only emits: a write-only manager."""
    manager = socketio.RedisManager(bus, channel=channel, write_only=True)
    nsp = cmd.get("nsp", "/")
    what = cmd["what"]
    if what == "emit":
        to = target(cmd)
        manager.emit(cmd["event"], data(cmd), room=to.pop("to", None), **to)
    elif what == "closeRoom":
        # close_room() of a manager without a server acts on itself first, and can
        manager.close_room(cmd["names"][0], namespace=nsp)
    elif what == "join":
        for sid in cmd["rooms"]:
            manager.enter_room(sid, nsp, cmd["names"][0])
    elif what == "leave":
        for sid in cmd["rooms"]:
            manager.leave_room(sid, nsp, cmd["names"][0])
    else:
        raise ValueError(f"no {what}")


lock = threading.Lock()


def reply(line):
    with lock:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


{"socketio": Threads, "flask": Flask, "asyncio": Asyncio}[kind]().run()
import os

os._exit(0)  # threads of the server may still run
