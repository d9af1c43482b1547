#!/usr/bin/env bash
# What `make bench` runs: export, reference, fidelity, everything on this machine, report.
# Under ten minutes on two quiet cores; on a busy machine the report says which figures mean little.
#
#   bench.sh [OPTION OF rid-bench run]...      such as --max-ratio rid-s=1/300
#
# BIN is where the programs are, RID_BENCH_WORK where files are made, RID_BENCH_NAME what the results
# are called, RID_BENCH_SURROGATE an encoder whose shift is measured as well (some minutes more).
# Exit code: that of what failed last, 3 if only a gate could not tell; the report is written all the
# same.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-.venv/bin}
work=${RID_BENCH_WORK:-build/bench}
results=benchmarks/results
name=${RID_BENCH_NAME:-$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)-$(getconf _NPROCESSORS_ONLN)core}
presets=(rid-s rid-n)
code=0
mkdir -p "$work/reference" "$results"

references=()
for preset in "${presets[@]}"; do
  # Files of other weights than today's would be measured in vain.
  if ! [ "$work/$preset.tflite" -nt "rid_core/assets/$preset.safetensors" ]; then
    rm -f "$work/$preset."*
    # A precision that the gate refuses for these weights is no reason not to measure the others.
    "$bin/rid-export" --checkpoint "$preset" --target tflite --target onnx \
      --precision fp32 --precision fp16 --precision int8 -o "$work" || [ -f "$work/$preset.tflite" ]
  fi
  "$bin/rid-bench" reference --checkpoint "$preset" -o "$work/reference/$preset.safetensors"
  references+=(--reference "$work/reference/$preset.safetensors")
done
surrogate=(${RID_BENCH_SURROGATE:+--surrogate "$RID_BENCH_SURROGATE"})
"$bin/rid-bench" fidelity "${references[@]}" "$work" "${surrogate[@]}" -o "$work/fidelity.json" || code=$?
"$bin/rid-bench" run "$work" "${presets[@]}" --photo-model "$work/rid-s.tflite" \
  --max-seconds 240 --max-latency 1.0 --int8-no-slower -o "$work/latency.json" "$@" || code=$?
"$bin/rid-bench" report "$work/latency.json" "$work/fidelity.json" \
  --reference "$work/reference/rid-s.safetensors" \
  -o "$results/$name.json" -o "$work/report.html" -o "$work/report.md"
echo "results: $results/$name.json; to look at: $work/report.html"
exit "$code"
