#!/usr/bin/env bash
# Run a bundle on ARM kernels, emulated: a check of what they compute, never of how fast.
#
#   run.sh BUNDLE_FOLDER OUTPUT.json       the folder is an unpacked bundle
set -euo pipefail
bundle=$(cd "$1" && pwd)
output=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
root=$("$(dirname "$0")/prepare.sh")

exec env RID_BENCH_PYTHON="$root/run-python" PYTHONPATH="$root/site" PYTHONDONTWRITEBYTECODE=1 \
  OPENBLAS_NUM_THREADS=1 "$root/run-python" "$bundle/run.py" --no-timing -o "$output"
