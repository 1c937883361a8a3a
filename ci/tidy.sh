#!/usr/bin/env bash
# go.mod and go.sum of all modules are what go mod tidy makes.
. "$(dirname "$0")/lib.sh"

step "go mod tidy"
for m in $(all_modules); do
	diff=$(cd "$m" && go mod tidy -diff) || die "not tidy (go mod tidy in $m): $diff"
done
