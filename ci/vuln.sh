#!/usr/bin/env bash
# govulncheck of what users build: it fails if code that is called has a known
# vulnerability. Where its database (VULNDB, a URL) cannot be reached, it says so
# and passes. The servers that bench/peers compares are left out.
. "$(dirname "$0")/lib.sh"

govulncheck=$(tool golang.org/x/vuln/cmd/govulncheck)
for m in $(modules | grep -v '^bench/peers'); do
	step "govulncheck, module $m"
	status=0
	out=$(timeout 300 "$govulncheck" -C "$m" ${VULNDB:+-db "$VULNDB"} ./... 2>&1) || status=$?
	if [ $status = 124 ] || grep -q 'govulncheck: fetching vulnerabilities' <<<"$out"; then
		step "govulncheck: its database cannot be reached: nothing was checked"
		exit
	fi
	[ $status = 0 ] || die "govulncheck, module $m: $out"
done
