# Sourced by the scripts beside it: it enters the repository's root.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# step prints a line of progress, behind the minutes since test.sh began.
step() { printf '==> %s%s\n' "${CI_BEGAN:+$(((EPOCHSECONDS - CI_BEGAN) / 60)) min: }" "$*"; }

# die ends the script.
die() {
	printf 'ci: %s\n' "$*" >&2
	exit 1
}

# all_modules lists the folders of all Go modules of the repository.
all_modules() {
	git ls-files --cached --others --exclude-standard -- go.mod '*/go.mod' | sort -u | while read -r f; do dirname "$f"; done
}

# modules lists those with packages: tools/ only pins the tools.
modules() { all_modules | grep -vx tools; }

# in_modules runs a command in the folder of each module.
in_modules() {
	local m
	for m in $(modules); do
		(cd "$m" && "$@")
	done
}

# folders_with lists the folders of a module whose tests have a line that matches.
folders_with() {
	local line=$1 module=$2 file
	git ls-files --cached --others --exclude-standard -- '*_test.go' | while read -r file; do
		[ "$(module_of "$file")" = "$module" ] && grep -qs "$line" "$file" || continue
		dirname "./${file#"$module"/}"
	done | sort -u
}

# module_of prints the folder of the module that a file belongs to.
module_of() {
	local dir
	dir=$(dirname "$1")
	while [ ! -f "$dir/go.mod" ]; do dir=$(dirname "$dir"); done
	printf '%s\n' "$dir"
}

# tool installs a tool, of the version that tools/go.mod pins, into .tools/, unless
# it is there, and prints its path.
tool() {
	GOBIN=$PWD/.tools GOFLAGS= go install -C tools "$1"
	printf '%s\n' "$PWD/.tools/$(basename "$1")"
}

# debian installs Debian packages.
debian() {
	local sudo=
	command -v apt-get >/dev/null || die "install $* first"
	if [ "$(id -u)" != 0 ]; then
		sudo -n true 2>/dev/null || die "install $* first"
		sudo=sudo
	fi
	step "installing $*"
	$sudo apt-get -qq update
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

# gotest runs go test and prints little: the result of each package, skipped
# tests, and all of a package that failed. Results are also appended to the file
# that CI_RESULTS names.
gotest() {
	local in=(-C .)
	if [ "$1" = -C ]; then # go wants it first
		in=(-C "$2")
		shift 2
	fi
	go test "${in[@]}" -v "$@" 2>&1 | awk -v results="${CI_RESULTS:-/dev/null}" -f ci/gotest.awk
}

# changed tells whether a folder was installed from other files than these.
changed() {
	local stamp=$1/.installed-from
	shift
	[ "$(cat "$stamp" 2>/dev/null)" != "$(cat "$@" | sha256sum)" ]
}

# installed notes from which files a folder was installed.
installed() {
	local stamp=$1/.installed-from
	shift
	cat "$@" | sha256sum >"$stamp"
}

# npm_ci installs a folder's npm packages, unless they are there.
npm_ci() {
	local from=("$1/package.json" "$1/package-lock.json")
	command -v node >/dev/null && command -v npm >/dev/null || die "install Node.js and npm first"
	changed "$1/node_modules" "${from[@]}" || return 0
	step "npm ci in $1"
	(cd "$1" && npm ci --loglevel=error --no-audit --no-fund)
	installed "$1/node_modules" "${from[@]}"
}

# pip_install makes a folder's .venv of its requirements.txt, unless it is there.
pip_install() {
	local from=("$1/requirements.txt")
	command -v python3 >/dev/null || debian python3 python3-venv
	changed "$1/.venv" "${from[@]}" || return 0
	step "pip install in $1"
	rm -rf "$1/.venv"
	python3 -c 'import ensurepip, venv' 2>/dev/null || debian python3-venv
	python3 -m venv "$1/.venv"
	"$1/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$1/requirements.txt"
	installed "$1/.venv" "${from[@]}"
}
