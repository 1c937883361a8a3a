#!/usr/bin/env bash
# What the race detector distorts: the promises on allocations, and the stress
# for lost wake-ups without the race detector, which is too slow for
# its time limit: 10 s on one loop and on several, or SOCKEYE_STRESS each;
# connection state recovery with 500 clients that are cut 10,000 times; 10,000 TLS
# handshakes that are begun and not finished; the root's tests without a queue
# of the kernel's, as on Windows; and engine's in memory over TLS.
. "$(dirname "$0")/lib.sh"

step "stress"
gotest -C . -count=1 -timeout 60m -run TestNoLostWakeUp .
step "10,000 cuts"
SOCKEYE_CUTS=full gotest -C . -count=1 -timeout 30m -run TestRecoveryCuts .
step "10,000 TLS handshakes that are never finished"
SOCKEYE_HANDSHAKES=10000 gotest -C . -count=1 -timeout 5m -run TestHandshakesNeverFinished ./netpoll
step "the root, on the bridge alone"
SOCKEYE_BRIDGE=1 gotest -C . -count=1 -short -timeout 10m -skip '^TestSmallAnswers' .
step "the engine, over TLS"
SOCKEYE_TLS=1 gotest -C . -count=1 -timeout 10m ./engine ./broadcast
step "allocations"
gotest -count=1 -run 'Alloc' ./proto/... ./netpoll ./engine ./broadcast ./bench .
