#!/usr/bin/env bash
# Build what runs 64-bit ARM programs on another machine: an emulator, a Debian 13 Python for ARM,
# and the runtimes' ARM wheels. Nothing is installed and no root is needed: every package is only
# unpacked. Once made it is kept, so that the next run starts at once.
#
#   prepare.sh [FOLDER]        default: $RID_BENCH_ARM64, else ~/.cache/rid-bench-arm64
#
# Needs apt-get and dpkg (a Debian or a relative), Python 3 with pip, and 1 GB. Prints the folder.
set -euo pipefail

folder=${1:-${RID_BENCH_ARM64:-${XDG_CACHE_HOME:-$HOME/.cache}/rid-bench-arm64}}
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)
stamp=$(cat "$here/prepare.sh" "$here/wheels.txt" | sha256sum | cut -d' ' -f1)
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
command -v flock >/dev/null && flock 9 # two at a time would undo each other's work
if [ "$(cat "$folder/ready" 2>/dev/null)" = "$stamp" ]; then
  echo "$folder"
  exit 0
fi
for tool in apt-get dpkg dpkg-query; do
  command -v "$tool" >/dev/null || { echo "error: $tool is missing; this needs Debian" >&2; exit 1; }
done

# The mirror is the one that this machine uses already; the suite is our own choice.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' 'Created-By: Packages' |
  awk '$2 == "Debian" && $1 ~ /\/debian\/$/ { print $1; exit }')
if [ -z "$mirror" ]; then
  echo "error: apt knows no Debian mirror; run apt-get update once, on Debian" >&2
  exit 1
fi
keys=/usr/share/keyrings/debian-archive-keyring.gpg

work=$folder.new
rm -rf "$work"
mkdir -p "$work"

# A private apt: own lists, own cache, own idea of what is installed (nothing).
fetch() { # fetch ARCHITECTURE TARGET PACKAGE...: unpack packages and all they need into TARGET
  local arch=$1 target=$2 apt=$work/apt-$1
  shift 2
  mkdir -p "$apt"/{lists/partial,archives/partial,etc/parts} "$target"
  : >"$apt/status"
  echo "deb [signed-by=$keys] $mirror trixie main" >"$apt/etc/sources.list"
  local options=(
    -o "APT::Architecture=$arch" -o "APT::Architectures::=$arch" -o "Dir::State=$apt"
    -o "Dir::State::Lists=$apt/lists" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt"
    -o "Dir::Cache::archives=$apt/archives" -o "Dir::Etc::sourcelist=$apt/etc/sources.list"
    -o "Dir::Etc::sourceparts=$apt/etc/parts" -o "Acquire::Languages=none" -o "Debug::NoLocking=1"
    -o "APT::Install-Recommends=0" -o "APT::Sandbox::User=" -o "Acquire::Retries=3"
  )
  apt-get "${options[@]}" -qq update >&2
  apt-get "${options[@]}" -qq -y --download-only install "$@" >&2
  local package
  for package in "$apt"/archives/*.deb; do
    dpkg -x "$package" "$target"
  done
  rm -rf "$apt"
}

echo "fetching Debian 13 for ARM" >&2
fetch arm64 "$work/root" python3 libstdc++6
# Debian 12's emulator crashes both runtimes; this one is a static program, so it runs anywhere.
echo "fetching the emulator" >&2
fetch "$(dpkg --print-architecture)" "$work/host" qemu-user

# Debian merged /lib into /usr/lib; a package manager would have made the links.
for name in bin lib sbin; do
  [ -e "$work/root/$name" ] || ln -s "usr/$name" "$work/root/$name"
done

echo "fetching the runtimes' ARM wheels" >&2
"$python" -m pip install --quiet --disable-pip-version-check --target "$work/site" --no-deps \
  --only-binary=:all: --implementation cp --python-version 3.13 --abi cp313 --abi abi3 --abi none \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
  --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 --platform any \
  -r "$here/wheels.txt" >&2

# Programs started from inside the emulation are started by the emulator again: by this script.
cat >"$work/run-python" <<'EOF'
#!/bin/sh
here=$(dirname "$0")
# A core with half-precision and dot-product instructions, as phones have had since 2018.
export QEMU_CPU="${QEMU_CPU:-cortex-a76}"
exec "$here/host/usr/bin/qemu-aarch64" -L "$here/root" "$here/root/usr/bin/python3.13" "$@"
EOF
chmod +x "$work/run-python"

echo "$stamp" >"$work/ready"
rm -rf "$folder"
mv "$work" "$folder"
echo "$folder"
