#!/usr/bin/env bash
# docs/ as a site, in the folder that SITE names (site/): pages with a search, which
# ask no other host for anything. A link to what is not there is an error.
. "$(dirname "$0")/lib.sh"

pip_install ci/docs
npm_ci ci/docs
site=$(realpath -m "${SITE:-site}")
# With --quiet it would not count its warnings, and --strict would refuse nothing.
NO_MKDOCS_2_WARNING=1 ci/docs/.venv/bin/mkdocs build --strict --clean --config-file ci/docs/mkdocs.yml --site-dir "$site"
step "the site is in $site: open index.html"
