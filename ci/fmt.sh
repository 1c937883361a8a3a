#!/usr/bin/env bash
# Checks the format of all Go files; with -w, formats them.
. "$(dirname "$0")/lib.sh"

gofumpt=$(tool mvdan.cc/gofumpt)
mapfile -t files < <(git ls-files --cached --others --exclude-standard -- '*.go' | while read -r f; do [ -f "$f" ] && echo "$f"; done)
if [ "${1:-}" = -w ]; then
	exec "$gofumpt" -w "${files[@]}"
fi
step "gofumpt"
bad=$("$gofumpt" -l "${files[@]}")
[ -z "$bad" ] || die "not formatted (make fmt): $bad"
