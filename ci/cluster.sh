#!/usr/bin/env bash
# Servers of other kinds on one bus with Sockeye's: installs them into
# interop/cluster/, and runs the tests there. With "install" it only installs.
. "$(dirname "$0")/lib.sh"

folder=interop/cluster
npm_ci "$folder"
pip_install "$folder"
command -v redis-server >/dev/null || debian redis-server
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || debian postgresql
[ "${1:-}" = install ] && exit

export SOCKEYE_INTEROP=1
step "interop: one cluster with Node's and Python's servers"
gotest -C "$folder" -race -count=1 -timeout 10m ./...
