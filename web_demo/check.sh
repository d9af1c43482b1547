#!/usr/bin/env bash
# Everything that the page must pass: style, types, golden vectors, build, and the page in a browser.
#
#   web_demo/check.sh [MODEL.onnx]     default: dist/rid-s.onnx of the repository (make export)
#
# RID_PYTHON: a Python with rid_core installed, default .venv/bin/python of the repository.
# CHROMIUM: a browser; without one, Debian's is installed where that is possible.
# Exit codes: 0 passed, 75 something cannot be had (the last line says what), anything else failed.
set -euo pipefail
cd "$(dirname "$0")"

skip() {
  echo "SKIPPED: $*" >&2
  exit 75
}

node="$(PYTHON="${RID_PYTHON:-python3}" ./node.sh)" \
  || skip "no Node.js 20.19 or later here, and none from PyPI: the page was not checked"
export PATH="$node:$PATH"
export RID_MODEL="${1:-${RID_MODEL:-$PWD/../dist/rid-s.onnx}}"
export CHROMIUM="${CHROMIUM:-$(command -v chromium || true)}"

if [ -z "$CHROMIUM" ] && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium > /dev/null || true
  CHROMIUM="$(command -v chromium || true)"
fi

if ! npm ci --loglevel=error; then
  npm view --silent prettier version > /dev/null || skip "no npm registry: the page was not checked"
  exit 1
fi
npm run --silent style
npm run --silent types
npm run --silent test
npm run --silent build
npm run --silent deploy
[ -n "$CHROMIUM" ] || skip "no chromium: the page was built, but never opened; set CHROMIUM"
npm run --silent e2e
