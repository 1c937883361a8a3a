#!/usr/bin/env bash
# The unit tests of all modules under the race detector, in random order. The
# tests with real clients are interop.sh's.
. "$(dirname "$0")/lib.sh"

command -v cc >/dev/null || debian gcc libc6-dev
command -v redis-server >/dev/null || debian redis-server # of broadcast/redis
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || debian postgresql # of broadcast/postgres
for m in $(modules); do
	case $m in interop/browser | interop/acme | interop/cluster) continue ;; esac
	step "go test -race, module $m"
	packages=$(cd "$m" && go list ./...)
	# shellcheck disable=SC2046 # one word a package
	gotest -C "$m" -race -shuffle=on -timeout 10m $(grep -vE '/interop(/troubles|/contract)?$' <<<"$packages")
done
