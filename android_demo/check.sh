#!/usr/bin/env bash
# Compiles the app and its tests, runs what can run without a phone, and builds a signed APK.
#
#   ./check.sh            everything; the build goes to a temporary folder
#   ./check.sh --keep DIR the build stays in DIR
#   ./check.sh --core     core and its tests only: Kotlin's compiler and JUnit, no model, no Android
#
# Needs a JDK 17, npm, pip, unzip and apt-get (no root, nothing is installed), and rid-export in the
# Python that PYTHON names (the checkout's .venv by default). What it fetches (0.5 GB, once) lies in
# ${RID_CACHE:-~/.cache/rid}/android. A part that cannot be had is skipped and said to be.
# RID_CHECKPOINT names another checkpoint than the bundled rid-s, RID_MODELS a folder with exported
# files, RID_GOLDEN other vectors than tests/golden.
set -uo pipefail
cd "$(dirname "$0")"
HERE=$PWD
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  [ -x "$HERE/../.venv/bin/python" ] && PYTHON="$HERE/../.venv/bin/python"
fi
# shellcheck source=check/steps.sh
. check/steps.sh

ONLY_CORE=
if [ "${1:-}" = --core ]; then
  ONLY_CORE=yes
  shift
fi
if [ "${1:-}" = --keep ]; then
  WORK=$(mkdir -p "$2" && cd "$2" && pwd)
else
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
fi
passed=0 failed=0 skipped=0

# step NAME FUNCTION: run it, show what it said if it failed, and count.
step() {
  local name=$1 start=$SECONDS
  shift
  if in_steps "$HERE" "$@" >"$WORK/step.log" 2>&1; then
    passed=$((passed + 1))
    echo "ok       $name ($((SECONDS - start)) s)"
    # JUnit prints a dot per test in front of what the test says.
    grep -oE '(OK \(|golden portrait|equal values|assumption).*' "$WORK/step.log" | sed 's/^/         /'
    return 0
  fi
  failed=$((failed + 1))
  echo "FAILED   $name ($((SECONDS - start)) s)"
  sed 's/^/         /' "$WORK/step.log"
  return 1
}

skip() {
  skipped=$((skipped + 1))
  echo "SKIPPED  $1: $2"
}

finish() {
  echo "$passed passed, $failed failed, $skipped skipped"
  exit $((failed > 0))
}

main() {
  mkdir -p "$CACHE"
  exec 9>"$CACHE/lock"
  flock 9 # two checks must not fill the cache at once

  if ! fetch_kotlin || ! fetch_debian; then
    skip everything "neither the Kotlin compiler nor JUnit can be had; is there a network?"
    finish
  fi
  if [ -n "$ONLY_CORE" ]; then
    skip "everything but core" "not asked for"
  elif [ -n "${RID_MODELS:-}" ]; then
    mkdir -p "$WORK/models" && cp "$RID_MODELS"/{rid-s.tflite,rid-s.onnx,RidSOnnx.kt} "$WORK/models/"
  else
    step "export rid-s to TFLite and ONNX" export_models || true
  fi
  step "compile core" compile_core || finish
  step "core: unit tests and golden vectors" test_core || true
  [ -z "$ONLY_CORE" ] || finish

  if ! fetch_tools; then
    skip "app" "aapt2, D8 and apksigner cannot be had"
    finish
  fi
  if ! fetch_onnxruntime; then
    skip "app" "ONNX Runtime's library for Android cannot be had"
    finish
  fi
  step "Android API and stand-ins" prepare_stubs || finish
  step "resources and manifest" compile_resources || finish
  step "compile app (LiteRT, CameraX and AndroidX against stand-ins)" compile_app || finish
  if fetch_onnxruntime_desktop; then
    if step "app: engines for real in ONNX Runtime on this machine" test_app; then
      step "the same photo in Kotlin and Python" "$PYTHON" check/desktop.py compare "$WORK/photo.png" \
        "$WORK/protected.png" "$WORK/models/rid-s.onnx"
      step "rid-bench reads the benchmark's results" "$PYTHON" check/desktop.py results "$WORK/results.json"
    fi
  else
    skip "app: engines for real" "ONNX Runtime's Java library for desktops cannot be had"
  fi
  step "dex, APK, signature, 16 KB pages" build_apk
  finish
}

main
