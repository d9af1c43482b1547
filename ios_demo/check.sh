#!/usr/bin/env bash
# Builds and tests what can be built without Apple's tools, on Linux:
#
#   1. Core, with its tests on the golden vectors: real.
#   2. Kit with its tests, the app and the share extension: type-checked against stand-ins for
#      Apple's frameworks (Stubs/). The tests of the Kit run on those, too: they check our code
#      around Core ML, never Core ML.
#   3. The wrapper that rid-export writes, where $RID_WRAPPER names one: compiled, and run on the
#      golden vectors.
#
# Swift comes from Debian 13 in a folder outside the checkout, $RID_CACHE/swift-trixie (made once by
# debootstrap: about 3 minutes, 3 GB; needs root, debootstrap and network). On a Mac, plain
# `swift test` does it all with the real frameworks, and so does this script.
#
# Optional, all set by tests/demos/test_ios.py: RID_PORTRAIT_RGB (portrait.png as raw RGB),
# RID_PACKAGE (an exported .mlpackage), RID_BENCH_JSON (where to leave a benchmark's document),
# RID_WRAPPER (a generated Swift wrapper). RID_DEBIAN_MIRROR is for debootstrap.
#
# Exit codes: 0 passed, 77 skipped (the last line says why), anything else failed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
golden=$here/../tests/golden
cache=${RID_CACHE:-$HOME/.cache/rid}
root=$cache/swift-trixie
mirror=()  # debootstrap knows one
[ -z "${RID_DEBIAN_MIRROR:-}" ] || mirror=("$RID_DEBIAN_MIRROR")
packages=swiftlang,libc6-dev,libstdc++-14-dev,libncurses-dev,git,ca-certificates

say() { printf '== %s\n' "$*"; }

skip() {
  printf 'SKIPPED, nothing was checked: %s\n' "$*" >&2
  exit 77
}

if [ "$(uname)" = Darwin ]; then
  say 'Core and Kit, with the real frameworks'
  exec swift test --package-path "$here"
fi

[ "$(uname -m)" = x86_64 ] || [ "$(uname -m)" = aarch64 ] || skip "no Swift for $(uname -m)"
[ "$(id -u)" = 0 ] || skip 'a chroot with Swift needs root'

mkdir -p "$cache"
exec 9> "$cache/swift-trixie.lock"
flock 9

if ! [ -d "$root" ]; then
  command -v debootstrap > /dev/null || skip 'debootstrap is not installed (apt-get install debootstrap)'
  say "Debian 13 with Swift into $root (once, about 3 minutes, 3 GB)"
  rm -rf "$root.partial"
  if ! debootstrap --variant=minbase --include=$packages trixie "$root.partial" "${mirror[@]}" \
    > "$cache/swift-trixie.log" 2>&1; then
    tail -n 5 "$cache/swift-trixie.log" >&2
    rm -rf "$root.partial"
    skip "Debian 13 could not be fetched (no network?); see $cache/swift-trixie.log"
  fi
  mv "$root.partial" "$root"
fi

# A private view of the mounts and processes: /proc is gone when the command is.
in_chroot() {
  unshare --mount --pid --fork --kill-child --root="$root" --mount-proc --wd=/rid/ios_demo \
    env -i PATH=/usr/bin:/bin HOME=/rid LANG=C.UTF-8 RID_GOLDEN=/rid/golden "$@"
}

rm -rf "$root/rid/ios_demo" "$root/rid/golden" "$root/rid/extra"
mkdir -p "$root/rid/ios_demo" "$root/rid/extra"
# Times are kept, so that a second run builds only what changed.
tar -C "$here" --exclude=.build --exclude='*.mlpackage' --exclude='*.xcodeproj' -cf - . \
  | tar -C "$root/rid/ios_demo" -xf -
cp -a "$golden" "$root/rid/golden"
in_chroot true 2> /dev/null || skip 'this user may not unshare mounts (a container without CAP_SYS_ADMIN?)'

settings=()
if [ -n "${RID_PORTRAIT_RGB:-}" ]; then
  cp "$RID_PORTRAIT_RGB" "$root/rid/extra/portrait.rgb"
  settings+=(RID_PORTRAIT_RGB=/rid/extra/portrait.rgb)
fi
if [ -n "${RID_PACKAGE:-}" ]; then
  cp -a "$RID_PACKAGE" "$root/rid/extra/"
  settings+=("RID_PACKAGE=/rid/extra/$(basename "$RID_PACKAGE")")
fi
[ -z "${RID_BENCH_JSON:-}" ] || settings+=(RID_BENCH_JSON=/rid/extra/bench.json)

# Optimised: the tests go through whole photos. One job: tests share the machine.
build=(swift build -c release -j 1 --scratch-path /rid/build -Xswiftc -enable-testing)

say "$(in_chroot swift --version 2> /dev/null | head -n 1)"
say 'Core and Kit: compile (Apple frameworks are stand-ins)'
in_chroot "${build[@]}" --build-tests
say 'Tests: Core for real, Kit on stand-ins'
in_chroot "${settings[@]}" swift test -c release --skip-build --scratch-path /rid/build \
  -Xswiftc -enable-testing
for target in Demo Share; do
  say "App, $target: type-check against the stand-ins"
  in_chroot sh -c "swiftc -typecheck -parse-as-library -enable-experimental-feature StrictConcurrency \
    -swift-version 5 -module-name RID$target -I /rid/build/release/Modules \
    App/Shared/*.swift App/$target/*.swift"
done
[ -z "${RID_BENCH_JSON:-}" ] || cp "$root/rid/extra/bench.json" "$RID_BENCH_JSON"

if [ -n "${RID_WRAPPER:-}" ]; then
  say "The generated wrapper $(basename "$RID_WRAPPER"): compile and run on the golden vectors"
  cp "$RID_WRAPPER" "$root/rid/extra/wrapper.swift"
  in_chroot swiftc -O -o /rid/extra/wrapper /rid/extra/wrapper.swift Checks/wrapper/main.swift
  in_chroot /rid/extra/wrapper
fi
say 'passed'
