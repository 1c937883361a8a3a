#!/usr/bin/env bash
# Installs the clients of the tests in interop/ into that folder, and a browser
# if there is none.
. "$(dirname "$0")/lib.sh"

clients=interop/clients

# changed tells whether a folder was installed from other files than these.
changed() {
	local stamp=$1/.installed-from
	shift
	[ "$(cat "$stamp" 2>/dev/null)" != "$(cat "$@" | sha256sum)" ]
}

command -v node >/dev/null && command -v npm >/dev/null || die "install Node.js and npm first"
from=("$clients/package.json" "$clients/package-lock.json")
if changed "$clients/node_modules" "${from[@]}"; then
	step "npm ci"
	(cd "$clients" && npm ci --loglevel=error --no-audit --no-fund)
	cat "${from[@]}" | sha256sum >"$clients/node_modules/.installed-from"
fi

command -v python3 >/dev/null || debian python3 python3-venv
from=("$clients/requirements.txt")
if changed "$clients/.venv" "${from[@]}"; then
	step "pip install"
	rm -rf "$clients/.venv"
	python3 -c 'import ensurepip, venv' 2>/dev/null || debian python3-venv
	python3 -m venv "$clients/.venv"
	"$clients/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$clients/requirements.txt"
	cat "${from[@]}" | sha256sum >"$clients/.venv/.installed-from"
fi

command -v java >/dev/null && command -v mvn >/dev/null || debian default-jdk-headless maven
from=("$clients/java/pom.xml")
if changed "$clients/java/lib" "${from[@]}"; then
	step "mvn dependency:copy-dependencies"
	rm -rf "$clients/java/lib"
	(cd "$clients/java" && mvn --quiet --batch-mode dependency:copy-dependencies -DoutputDirectory=lib)
	cat "${from[@]}" | sha256sum >"$clients/java/lib/.installed-from"
fi

if [ -f interop/browser/go.mod ]; then
	command -v chromium chromium-browser google-chrome google-chrome-stable >/dev/null || debian chromium
fi
