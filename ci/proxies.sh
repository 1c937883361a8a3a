#!/usr/bin/env bash
# The configurations of docs/proxy with nginx, HAProxy and Caddy of Debian.
. "$(dirname "$0")/lib.sh"

for program in nginx haproxy caddy; do
	command -v "$program" >/dev/null || debian "$program"
done
export SOCKEYE_PROXIES=1
step "behind nginx, HAProxy and Caddy"
go test -v -count=1 -timeout 5m -run '^TestProxies$' ./interop/proxies | awk '!/^ *=== /'
