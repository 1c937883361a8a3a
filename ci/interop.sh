#!/usr/bin/env bash
# The tests with real clients: JavaScript, Python, a WebSocket conformance suite,
# a browser. Nothing may be skipped here; what takes long is conformance.sh's.
. "$(dirname "$0")/lib.sh"

ci/clients.sh
command -v cc >/dev/null || debian gcc libc6-dev
export SOCKEYE_INTEROP=1
ci/cluster.sh
step "interop: JavaScript, Python, Autobahn"
gotest -race -count=1 -timeout 15m -skip '^TestHTTP11$' ./interop
step "interop: the words of docs/troubleshooting.md"
gotest -race -count=1 -timeout 5m ./interop/troubles
npm_ci interop/contract
step "interop: the files of contracts, for tsc and the parser of AsyncAPI"
gotest -count=1 -timeout 5m ./interop/contract
step "interop: mounted in net/http, chi, gin, Echo and Fiber"
gotest -C examples/mount -race -count=1 -timeout 5m ./...
step "interop: a certificate from an ACME server"
gotest -C interop/acme -race -count=1 -timeout 5m ./...
gotest -C examples/service -race -count=1 -timeout 5m ./...
step "interop: several processes behind one port"
gotest -C examples/cluster -race -count=1 -timeout 5m ./...
if [ -f interop/browser/go.mod ]; then
	step "interop: browser"
	gotest -C interop/browser -count=1 -timeout 10m ./...
fi
