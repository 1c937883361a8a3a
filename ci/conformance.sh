#!/usr/bin/env bash
# The public conformance suites in full: the HTTP/1.1 cases of h1spec and
# Http11Probe, against net/http and Sockeye, with a table of what was seen; and
# the Autobahn suite with the compression cases that are too slow for interop.sh.
. "$(dirname "$0")/lib.sh"

ci/clients.sh
command -v cc >/dev/null || debian gcc libc6-dev
export SOCKEYE_INTEROP=1 SOCKEYE_CONFORMANCE=1
step "conformance: HTTP/1.1"
go test -v -race -count=1 -timeout 10m -parallel 16 -run '^TestHTTP11$' ./interop | awk '!/^(=== | *--- PASS)/'
step "conformance: Autobahn"
gotest -race -count=1 -timeout 20m -run '^TestAutobahn' ./interop
