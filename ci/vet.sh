#!/usr/bin/env bash
# go vet of all modules, for Linux and macOS.
. "$(dirname "$0")/lib.sh"

for os in linux darwin; do
	step "go vet, $os"
	GOOS=$os in_modules go vet ./...
done
