"""Usage: python driver.py <group> <url> <mode> flavour=<sync|async> [via=<url>] [control=<host:port>]

group is a file of cases; mode is websocket, polling or upgrade. via is the same
server behind a proxy, control the proxy's control port.
"""

import importlib
import os
import sys

from harness import run

group, url, mode, *rest = sys.argv[1:]
run(importlib.import_module(f"{group}_cases").cases, {"url": url, "mode": mode, **dict(a.split("=", 1) for a in rest)})
sys.stdout.flush()
os._exit(0)  # threads of failed cases must not keep the process
