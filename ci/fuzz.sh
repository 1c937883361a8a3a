#!/usr/bin/env bash
# Every fuzz target of the repository for FUZZTIME, one after the other. The
# default is a number of inputs: up to Go 1.26 a time may end with a failure of
# the tool's own (golang/go#75804). An input that is new is minimized for a
# second at most, not for the tool's minute. Targets with whole connections in them, a
# hundred inputs a second, get a tenth of the default.
. "$(dirname "$0")/lib.sh"

found=0
for m in $(modules); do
	for dir in $(folders_with '^func Fuzz' "$m"); do
		targets=$(go test -C "$m" -list '^Fuzz' "$dir")
		for target in $(grep '^Fuzz' <<<"$targets"); do
			step "fuzz $target, module $m, $dir"
			inputs=20000x
			case $target in FuzzConn | FuzzSession | FuzzTLS) inputs=2000x ;; esac
			go test -C "$m" -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-$inputs}" -fuzzminimizetime 1s "$dir"
			found=$((found + 1))
		done
	done
done
[ "$found" -gt 0 ] || die "no fuzz target was found"
step "fuzz: $found targets"
