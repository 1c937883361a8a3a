#!/usr/bin/env bash
# Installs the clients of the tests in interop/ into that folder, and a browser
# if there is none.
. "$(dirname "$0")/lib.sh"

clients=interop/clients

npm_ci "$clients"
pip_install "$clients"

command -v java >/dev/null && command -v mvn >/dev/null || debian default-jdk-headless maven
from=("$clients/java/pom.xml")
if changed "$clients/java/lib" "${from[@]}"; then
	step "mvn dependency:copy-dependencies"
	rm -rf "$clients/java/lib"
	(cd "$clients/java" && mvn --quiet --batch-mode dependency:copy-dependencies -DoutputDirectory=lib)
	installed "$clients/java/lib" "${from[@]}"
fi

if [ -f interop/browser/go.mod ]; then
	command -v chromium chromium-browser google-chrome google-chrome-stable >/dev/null || debian chromium
fi
