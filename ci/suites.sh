#!/usr/bin/env bash
# The public test suites of the protocols, out of a checkout of socketio/socket.io:
# Engine.IO 3 and 4, Socket.IO 5. They run from a copy, against interop/server on a
# port of the kernel's.
. "$(dirname "$0")/lib.sh"

from=${SUITES:-}
[ -n "$from" ] || die "usage: make suites SUITES=<checkout of socketio/socket.io>"
command -v node >/dev/null && command -v npm >/dev/null || die "install Node.js and npm first"

scratch=$(mktemp -d)
server=
finish() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	rm -rf "$scratch"
}
trap finish EXIT
go build -o "$scratch/server" ./interop/server

# suite runs the suite of a folder against a server with these flags.
suite() {
	local dir=$1 name address first
	shift
	[ -f "$from/docs/$dir/test-suite.js" ] || die "$from/docs/$dir is not there"
	name=${dir/-test-suite/}
	step "suite: $name"
	mkdir -p "$scratch/$dir"
	cp "$from/docs/$dir"/{*.js,package*.json} "$scratch/$dir"
	(cd "$scratch/$dir" && npm ci --loglevel=error --no-audit --no-fund >&2)

	exec 3< <(exec "$scratch/server" -addr 127.0.0.1:0 -ping-interval 300ms -ping-timeout 200ms "$@")
	server=$!
	read -r -u 3 first
	address=${first#listening on }
	sed -i "s|http://localhost:3000|http://$address|" "$scratch/$dir/test-suite.js"
	grep -q "$address" "$scratch/$dir/test-suite.js" || die "the suite of $name has no address to replace"
	# The suite of version 3 listens for the handshake after "open": too late for one
	# that comes with the 101. Those of the later versions keep what came before.
	sed -i -z -E 's|await waitFor\(socket, "open"\);\s+(await waitFor\(socket, "message"\); // handshake)|\1|g' "$scratch/$dir/test-suite.js"
	(cd "$scratch/$dir" && timeout 300 npx --no-install mocha test-suite.js) || failed+=("$name")
	kill "$server"
	cat <&3 >/dev/null # until it has ended
	exec 3<&-
	server=
}

failed=()
suite engine.io-protocol/v3-test-suite -eio-path /engine.io/ -eio3
suite engine.io-protocol/v4-test-suite -eio-path /engine.io/
suite socket.io-protocol/v5-test-suite
[ ${#failed[@]} = 0 ] || die "failed: ${failed[*]}"
