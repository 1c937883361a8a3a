#!/usr/bin/env bash
# staticcheck of all modules.
. "$(dirname "$0")/lib.sh"

staticcheck=$(tool "$STATICCHECK")
step "staticcheck"
in_modules "$staticcheck" ./...
