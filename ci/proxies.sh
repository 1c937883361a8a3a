#!/usr/bin/env bash
# The configurations of docs/proxy with nginx, HAProxy and Caddy, as far as they are
# there. It installs none of them: they are services, and Debian starts them.
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin # Debian has two of them there
found=()
for program in nginx haproxy caddy; do
	if command -v "$program" >/dev/null; then
		found+=("$program")
	else
		step "$program is left out: apt-get install $program"
	fi
done
[ ${#found[@]} != 0 ] || die "install nginx, haproxy or caddy first"
export SOCKEYE_PROXIES=1
step "behind ${found[*]}"
go test -v -count=1 -timeout 5m -run '^TestProxies' ./interop/proxies | awk '!/^ *=== /'
