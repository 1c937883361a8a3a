#!/usr/bin/env bash
# Builds and vets the root module for other systems than this one, tests included.
# Windows and WebAssembly have no loops: what has none is built, and tells so.
. "$(dirname "$0")/lib.sh"

# on runs a command for another system.
on() { GOOS=${1%/*} GOARCH=${1#*/} "${@:2}"; }

for target in linux/386 linux/arm64 darwin/arm64 freebsd/amd64; do
	step "build and vet, $target"
	on $target go build ./...
	on $target go vet ./...
done
step "build, windows/amd64"
on windows/amd64 go build ./...
command -v node >/dev/null || die "install Node.js first"
step "test without loops, js/wasm"
on js/wasm gotest -exec="$(go env GOROOT)/lib/wasm/go_js_wasm_exec" -run '^(TestOtherSystems|TestClient)$' ./sockeyetest
