#!/bin/sh
# Compares Sockeye with other servers; README.md tells what this needs, and
# main.go the flags.
set -eu
cd "$(dirname "$0")"
bin=${XDG_CACHE_HOME:-$HOME/.cache}/sockeye-peers/peers
mkdir -p "$(dirname "$bin")"
go build -o "$bin" .
exec "$bin" -root ../.. "$@" # not go run: a signal has to reach it
