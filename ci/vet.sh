#!/usr/bin/env bash
# go vet of all modules, for Linux. cross.sh has the root module for other systems.
. "$(dirname "$0")/lib.sh"

step "go vet"
in_modules go vet ./...
