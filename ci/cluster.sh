#!/usr/bin/env bash
# Servers of other kinds on one bus with Sockeye's: installs them into
# interop/cluster/, and runs the tests there. With "install" it only installs.
. "$(dirname "$0")/lib.sh"

folder=interop/cluster
command -v node >/dev/null && command -v npm >/dev/null || die "install Node.js and npm first"
command -v redis-server >/dev/null || debian redis-server
command -v postgres >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || debian postgresql
from=("$folder/package.json" "$folder/package-lock.json")
stamp=$folder/node_modules/.installed-from
if [ "$(cat "$stamp" 2>/dev/null)" != "$(cat "${from[@]}" | sha256sum)" ]; then
	step "npm ci in $folder"
	(cd "$folder" && npm ci --loglevel=error --no-audit --no-fund)
	cat "${from[@]}" | sha256sum >"$stamp"
fi
[ "${1:-}" = install ] && exit

export SOCKEYE_INTEROP=1
step "interop: one cluster with Node's servers"
gotest -C "$folder" -race -count=1 -timeout 10m ./...
