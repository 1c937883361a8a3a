#!/usr/bin/env bash
# Everything that a change has to pass. It installs what it lacks: tools into
# .tools/, clients into interop/clients/, Debian packages only if a compiler, a
# browser or Python's venv is missing. It stops at the first step that fails.
. "$(dirname "$0")/lib.sh"

CI_BEGAN=$EPOCHSECONDS
CI_RESULTS=$(mktemp)
export CI_BEGAN CI_RESULTS
trap 'rm -f "$CI_RESULTS"' EXIT

for s in fmt tidy vet lint vuln cross race stress sim interop fuzz bench; do
	"ci/$s.sh"
done

step "all steps passed in $((EPOCHSECONDS - CI_BEGAN)) s; the tests, once more:"
cat "$CI_RESULTS"
