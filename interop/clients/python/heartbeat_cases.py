"""Against a server with -ping-interval 300ms -ping-timeout 200ms."""

import time

from harness import same

cases = {}


def stays_connected(t):
    p = t.connect()
    sid = p.sid
    time.sleep(1.6)  # more than three intervals with their timeouts
    same((p.ask("echo", 1), p.sid, p.count("disconnect")), ((1,), sid, 0))


def peer_without_pongs(t):
    p, watcher = t.connect(), t.connect()
    watcher.ask("watch", p.sid)
    receive = p.client.eio._receive_packet
    if t.flavour == "async":
        async def deaf(packet):
            if packet.packet_type != 2:
                await receive(packet)
    else:
        def deaf(packet):
            if packet.packet_type != 2:
                receive(packet)
    p.client.eio._receive_packet = deaf
    same(watcher.next("gone")[1], "ping timeout")
    p.next("disconnect")


cases["stays-connected"] = stays_connected
cases["peer-without-pongs"] = peer_without_pongs
