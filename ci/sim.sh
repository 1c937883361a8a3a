#!/usr/bin/env bash
# Whole servers in worlds that seeds decide (internal/sim): SEEDS of them, from FROM
# on, a process for each processor; a tenth of them again over TLS. "deep": goroutines
# stop between statements of the server, too. "mutations": what is broken on purpose is
# seen; it takes some minutes.
. "$(dirname "$0")/lib.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
case ${1:-} in
deep)
	step "simulation, deep: ${SEEDS:-2000} seeds"
	SOCKEYE_SIM_DEEP=${SEEDS:-2000} go test -count=1 -timeout 24h -run '^TestDeep$' ./internal/sim -sim.from "${FROM:-1}"
	exit
	;;
mutations)
	step "simulation: mutations"
	SOCKEYE_SIM_MUTATIONS=1 go test -v -count=1 -timeout 2h -run '^TestMutations$' ./internal/sim | awk '!/^=== /'
	exit
	;;
esac

seeds=${SEEDS:-2000} from=${FROM:-1} processes=$(nproc)
go test -c -o "$scratch/sim.test" ./internal/sim

# worlds N [FLAG...] runs N seeds.
worlds() {
	local share=$((($1 + processes - 1) / processes)) pids=() failed=0 i pid
	for ((i = 0; i < processes; i++)); do
		(cd internal/sim && exec "$scratch/sim.test" -test.run '^(TestSeeds|TestReplay)$' -test.timeout 24h -sim.progress -sim.from $((from + i * share)) -sim.seeds "$share" "${@:2}") &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
	return $failed
}
step "simulation: $seeds seeds"
failed=0
worlds "$seeds" || failed=1
step "simulation over TLS: $(((seeds + 9) / 10)) seeds"
worlds $(((seeds + 9) / 10)) -sim.tls || failed=1
exit $failed
