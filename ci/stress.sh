#!/usr/bin/env bash
# What the race detector distorts: the promises on allocations, and the stress
# for lost wake-ups without the race detector, which is too slow for
# its time limit: 10 s on one loop and on several, or SOCKEYE_STRESS each.
. "$(dirname "$0")/lib.sh"

step "stress"
gotest -C . -count=1 -timeout 60m -run TestNoLostWakeUp .
step "allocations"
gotest -count=1 -run 'Alloc' ./proto/... ./netpoll ./engine ./broadcast ./bench .
