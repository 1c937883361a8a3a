#!/usr/bin/env bash
# Servers of other kinds on one bus with Sockeye's: installs them into
# interop/cluster/, and runs the tests there. With "install" it only installs.
. "$(dirname "$0")/lib.sh"

folder=interop/cluster
command -v node >/dev/null && command -v npm >/dev/null || die "install Node.js and npm first"
command -v redis-server >/dev/null || debian redis-server
from=("$folder/package.json" "$folder/package-lock.json")
stamp=$folder/node_modules/.installed-from
if [ "$(cat "$stamp" 2>/dev/null)" != "$(cat "${from[@]}" | sha256sum)" ]; then
	step "npm ci in $folder"
	(cd "$folder" && npm ci --loglevel=error --no-audit --no-fund)
	cat "${from[@]}" | sha256sum >"$stamp"
fi
command -v python3 >/dev/null || debian python3 python3-venv
from=("$folder/requirements.txt")
stamp=$folder/.venv/.installed-from
if [ "$(cat "$stamp" 2>/dev/null)" != "$(cat "${from[@]}" | sha256sum)" ]; then
	step "pip install in $folder"
	rm -rf "$folder/.venv"
	python3 -c 'import ensurepip, venv' 2>/dev/null || debian python3-venv
	python3 -m venv "$folder/.venv"
	"$folder/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$folder/requirements.txt"
	cat "${from[@]}" | sha256sum >"$stamp"
fi
[ "${1:-}" = install ] && exit

export SOCKEYE_INTEROP=1
step "interop: one cluster with Node's and Python's servers"
gotest -C "$folder" -race -count=1 -timeout 10m ./...
