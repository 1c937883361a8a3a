#!/usr/bin/env bash
# staticcheck of all modules.
. "$(dirname "$0")/lib.sh"

staticcheck=$(tool honnef.co/go/tools/cmd/staticcheck)
step "staticcheck"
in_modules "$staticcheck" ./...
