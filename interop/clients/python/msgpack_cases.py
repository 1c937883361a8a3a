"""Events with serializer='msgpack'."""

from events_cases import cases as events

NAMES = [
    "connect-auth", "connect-no-auth", "echo-text", "echo-unicode", "echo-json", "echo-100000-characters", "echo-binary",
    "echo-binary-nested", "ack-from-server", "ack-binary", "ack-to-server", "rooms", "broadcast", "middleware-refuses",
]

cases = {name: events[name] for name in NAMES}
