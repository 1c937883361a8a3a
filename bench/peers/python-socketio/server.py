"""python-socketio, asyncio on uvicorn with uvloop and httptools."""

import sys

import socketio
import uvicorn

sio = socketio.AsyncServer(async_mode="asgi")


@sio.event
async def echo(sid, arg):
    await sio.emit("echo", arg, to=sid)


@sio.event
async def bcast(sid, arg):
    await sio.emit("bcast", arg)


uvicorn.run(socketio.ASGIApp(sio), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
