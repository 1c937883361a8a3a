#!/usr/bin/env bash
# The HTTP/1.1 cases of h1spec and Http11Probe, against net/http and Sockeye, with
# a table of what was seen: nothing may be worse than net/http.
. "$(dirname "$0")/lib.sh"

command -v cc >/dev/null || debian gcc libc6-dev
export SOCKEYE_CONFORMANCE=1
step "conformance: HTTP/1.1"
go test -v -race -count=1 -timeout 10m -parallel 16 -run '^TestHTTP11$' ./interop | awk '!/^(=== | *--- PASS)/'
