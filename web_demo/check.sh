#!/usr/bin/env bash
# Everything that the page must pass: style, types, golden vectors, build, and the page in a browser.
#
#   web_demo/check.sh [MODEL.onnx]     default: dist/rid-s.onnx of the repository (make export)
#
# RID_PYTHON: a Python with rid_core installed, default .venv/bin/python of the repository.
# CHROMIUM: a browser; without one, Debian's is installed where that is possible.
set -euo pipefail
cd "$(dirname "$0")"
export RID_MODEL="${1:-${RID_MODEL:-$PWD/../dist/rid-s.onnx}}"
export CHROMIUM="${CHROMIUM:-$(command -v chromium || true)}"

if [ -z "$CHROMIUM" ] && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium > /dev/null || true
  CHROMIUM="$(command -v chromium || true)"
fi

npm ci --loglevel=error
npm run --silent style
npm run --silent types
npm run --silent test
npm run --silent build
if [ -z "$CHROMIUM" ]; then
  echo "SKIPPED: no chromium, so the page was built but never opened; set CHROMIUM" >&2
  exit 75
fi
npm run --silent e2e
