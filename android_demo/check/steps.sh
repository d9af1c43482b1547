# The steps of check.sh, each run in a process of its own with `set -e`, in android_demo/, and with
# HERE (that folder), WORK (where the build goes) and PYTHON in the environment.
# shellcheck shell=bash

# shellcheck source=toolchain.sh
. "$HERE/check/toolchain.sh"
ROOT=$(dirname "$HERE")
# Small JVMs that do not spend their time compiling themselves.
export JAVA_OPTS="-Xmx1500M -XX:+UseSerialGC -XX:TieredStopAtLevel=1" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
JAVA=(java -Xmx1500M -XX:+UseSerialGC)

kotlinc() { bash "$KOTLIN/bin/kotlinc" -jvm-target 11 "$@"; }
sources() { find "$@" -name '*.kt' | sort; }

export_models() {
  local checkpoint="${RID_CHECKPOINT:-rid-s}"
  "$(dirname "$PYTHON")/rid-export" --target tflite --target onnx --checkpoint "$checkpoint" -o "$WORK/models"
}

compile_core() {
  kotlinc -Werror -cp "$KOTLIN/lib/kotlin-stdlib.jar" -d "$WORK/core.jar" $(sources core/src/main)
}

# The stand-ins change rarely: compiled once per content and kept with the toolchain.
STUBS="$CACHE/stubs-$(find "$HERE/check/stubs" -type f | sort | xargs cat | sha256sum | cut -c1-16)"
prepare_stubs() { once "$STUBS" _stubs; }
_stubs() {
  local from="$HERE/check/stubs"
  java -cp "$KOTLIN/lib/kotlin-compiler.jar" "$from/ApiAdditions.java" "$DEBIAN/android-23.jar" \
    "$from/api-additions.txt" android.jar
  javac -nowarn -d classes -cp android.jar $(find "$from/android" -name '*.java')
  jar uf android.jar -C classes .
  kotlinc -no-jdk -nowarn -cp "android.jar:$KOTLIN/lib/kotlinx-coroutines-core-jvm.jar" -d stubs.jar $(sources "$from")
  rm -r classes
}

compile_resources() {
  "$PYTHON" check/apk.py manifest app/src/main/AndroidManifest.xml "$WORK/AndroidManifest.xml"
  "$TOOLS/aapt2" compile --dir app/src/main/res -o "$WORK/resources.zip"
  mkdir -p "$WORK/generated" "$WORK/assets"
  cp "$WORK/models/"rid-s.{tflite,onnx} "$WORK/assets/" 2>/dev/null || true
  "$TOOLS/aapt2" link -I "$TOOLS/framework.jar" --manifest "$WORK/AndroidManifest.xml" -A "$WORK/assets" \
    -0 tflite -0 onnx --min-sdk-version 26 --target-sdk-version 36 --version-code 1 --version-name 0.1.0 \
    --java "$WORK/generated" -o "$WORK/base.apk" "$WORK/resources.zip"
  javac -nowarn -d "$WORK/r" "$WORK/generated/org/rid/demo/R.java"
}

compile_app() {
  kotlinc -Werror -no-jdk -d "$WORK/app.jar" \
    -cp "$WORK/core.jar:$STUBS/stubs.jar:$WORK/r:$STUBS/android.jar:$ORT/classes.jar:$KOTLIN/lib/kotlinx-coroutines-core-jvm.jar" \
    $(sources app/src/main)
}

JUNIT="$DEBIAN/junit4.jar:$DEBIAN/hamcrest.jar:$KOTLIN/lib/kotlin-test.jar:$KOTLIN/lib/kotlin-stdlib.jar"

# junit CLASSPATH MODELS FOLDER: run every *Test.kt class below the folder.
junit() {
  local classpath=$1 models=$2 classes
  shift 2
  classes=$(find "$@" -name '*Test.kt' | sort | sed -E 's|.*/kotlin/||; s|\.kt$||; s|/|.|g')
  "${JAVA[@]}" -Djava.awt.headless=true "-Drid.golden=${RID_GOLDEN:-$ROOT/tests/golden}" "-Drid.models=$models" \
    "-Drid.photo=$WORK/photo.png" "-Drid.results=$WORK/results.json" \
    -cp "$classpath:$JUNIT" org.junit.runner.JUnitCore $classes
}

test_core() {
  kotlinc -Werror -Xfriend-paths="$WORK/core.jar" -cp "$WORK/core.jar:$JUNIT" -d "$WORK/core-tests.jar" \
    $(sources core/src/testFixtures core/src/test)
  junit "$WORK/core-tests.jar:$WORK/core.jar" "$WORK/models" core/src/test
}

test_app() {
  "$PYTHON" check/desktop.py make "$WORK/photo.png"
  "$PYTHON" check/desktop.py lower "$WORK/models/rid-s.onnx" "$WORK/desktop/rid-s.onnx"
  kotlinc -Werror -Xfriend-paths="$WORK/app.jar" -d "$WORK/app-tests.jar" \
    -cp "$WORK/app.jar:$WORK/core.jar:$WORK/core-tests.jar:$ORT_DESKTOP:$JUNIT" \
    $(sources app/src/test) "$WORK/desktop/RidSOnnx.kt"
  junit "$WORK/app-tests.jar:$WORK/app.jar:$WORK/core-tests.jar:$WORK/core.jar:$ORT_DESKTOP" "$WORK/desktop" app/src/test
}

build_apk() {
  mkdir -p "$WORK/dex"
  java -Xmx2g -cp "$TOOLS/d8.jar" com.android.tools.r8.D8 --release --min-api 26 --lib "$STUBS/android.jar" \
    --classpath "$STUBS/stubs.jar" --output "$WORK/dex" "$WORK/core.jar" "$WORK/app.jar" "$ORT/classes.jar" \
    "$KOTLIN/lib/kotlin-stdlib.jar" "$KOTLIN/lib/kotlinx-coroutines-core-jvm.jar" $(find "$WORK/r" -name '*.class')
  "$PYTHON" check/apk.py pack "$WORK/base.apk" "$WORK/dex/classes.dex" "$ORT/jni" "$WORK/unsigned.apk"
  rm -f "$WORK/key.jks"
  keytool -genkeypair -keystore "$WORK/key.jks" -storepass password -alias check -keyalg RSA -keysize 2048 \
    -validity 365 -dname CN=check
  java -jar "$TOOLS/apksigner.jar" sign --ks "$WORK/key.jks" --ks-pass pass:password --min-sdk-version 26 \
    --out "$WORK/app.apk" "$WORK/unsigned.apk"
  java -jar "$TOOLS/apksigner.jar" verify --min-sdk-version 26 "$WORK/app.apk"
  "$TOOLS/aapt2" dump badging "$WORK/app.apk" > "$WORK/badging.txt"
  java -jar "$TOOLS/baksmali.jar" list classes "$WORK/app.apk" > "$WORK/classes.txt"
  "$PYTHON" check/apk.py check "$WORK/app.apk" "$WORK/badging.txt" "$WORK/classes.txt"
}
