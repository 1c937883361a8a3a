# Each target is a short script in ci/, which also runs by hand.

.DEFAULT_GOAL := help
.PHONY: help test fmt tidy lint vet vuln cross race stress sim sim-deep sim-mutations interop conformance proxies suites fuzz bench

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

test: ## what a change has to pass, with what it needs installed first: the one command before it is done
	@ci/test.sh

fmt: ## format all Go files
	@ci/fmt.sh -w

tidy: ## go.mod and go.sum of all modules are as go mod tidy makes them
	@ci/tidy.sh

lint: ## staticcheck
	@ci/lint.sh

vet: ## go vet
	@ci/vet.sh

vuln: ## govulncheck: no known vulnerability is called, as far as its database can be reached
	@ci/vuln.sh

cross: ## the root module built for other systems: 386, arm64, macOS, FreeBSD, Windows
	@ci/cross.sh

race: ## the unit tests, under the race detector
	@ci/race.sh

stress: ## emitters at random moments: no wake-up is lost
	@ci/stress.sh

sim: ## whole servers in SEEDS (2000) worlds that seeds decide
	@ci/sim.sh

sim-deep: ## the same, with goroutines that stop between statements of the server
	@ci/sim.sh deep

sim-mutations: ## what is broken on purpose is seen by the simulation
	@ci/sim.sh mutations

interop: ## the servers driven by real clients, and a browser
	@ci/interop.sh

conformance: ## the HTTP/1.1 cases of h1spec and Http11Probe, beside net/http
	@ci/conformance.sh

proxies: ## docs/proxy: a server behind nginx, HAProxy and Caddy
	@ci/proxies.sh

suites: ## the public suites of both protocols, in SUITES, a checkout of socketio/socket.io
	@ci/suites.sh

fuzz: ## every fuzz target for FUZZTIME (20000x: inputs; 1m: a minute)
	@ci/fuzz.sh

bench: ## every benchmark, BENCHTIME (1x) each
	@ci/bench.sh
