#!/usr/bin/env bash
# The unit tests of all modules under the race detector, in random order. The
# tests with real clients are interop.sh's.
. "$(dirname "$0")/lib.sh"

command -v cc >/dev/null || debian gcc libc6-dev
command -v redis-server >/dev/null || debian redis-server # of broadcast/redis
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || debian postgresql # of broadcast/postgres

# race tests a module.
race() {
	local packages
	step "go test -race, module $1"
	packages=$(cd "$1" && go list ./...)
	# shellcheck disable=SC2046 # one word a package
	gotest -C "$1" -race -shuffle=on -timeout 10m $(grep -vE '/interop(/troubles|/contract|/snippets)?$' <<<"$packages")
}

waiting=()
for m in $(modules); do
	case $m in
	interop/browser | interop/acme | interop/cluster) ;;
	broadcast/*) waiting+=("$m") ;;
	*) race "$m" ;;
	esac
done
# These wait, for a bus that is away or for leases, most of the time.
pids=() failed=0
for m in "${waiting[@]}"; do
	race "$m" &
	pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
exit $failed
