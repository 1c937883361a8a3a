#!/usr/bin/env bash
# Builds and vets the root module for other systems than this one, tests included.
# Windows and WebAssembly have no queue of the kernel's: there all is bridged.
. "$(dirname "$0")/lib.sh"

# on runs a command for another system.
on() { GOOS=${1%/*} GOARCH=${1#*/} "${@:2}"; }

for target in linux/386 linux/arm64 darwin/arm64 freebsd/amd64 windows/amd64; do
	step "build and vet, $target"
	on $target go build ./...
	on $target go vet ./...
done
command -v node >/dev/null || die "install Node.js first"
step "test on the bridge alone, js/wasm"
on js/wasm gotest -exec="$(go env GOROOT)/lib/wasm/go_js_wasm_exec" -run '^(TestOtherSystems|TestClient)$' ./sockeyetest
