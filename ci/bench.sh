#!/usr/bin/env bash
# Every benchmark of the repository, BENCHTIME each (1x shows that it runs, and
# is no measurement). A package is built before its benchmarks run.
. "$(dirname "$0")/lib.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for m in $(modules); do
	for dir in $(folders_with '^func Benchmark' "$m"); do
		step "bench $dir, module $m"
		go test -C "$m" -c -o "$scratch/built" "$dir"
		go test -C "$m" -run '^$' -bench . -benchmem -benchtime "${BENCHTIME:-1x}" "$dir"
	done
done
