#!/usr/bin/env bash
# What `make bench` runs: export, reference, fidelity, everything on this machine, report.
# Under ten minutes on two quiet cores. BIN is where the programs are.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-.venv/bin}
work=${RID_BENCH_WORK:-build/bench}
results=benchmarks/results
name=${RID_BENCH_NAME:-$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)-$(getconf _NPROCESSORS_ONLN)core}
presets=(rid-s rid-n)
mkdir -p "$work/reference" "$results"

references=()
for preset in "${presets[@]}"; do
  if [ ! -f "$work/$preset.tflite" ]; then
    # A precision that the gate refuses for these weights is no reason not to measure the others.
    "$bin/rid-export" --checkpoint "$preset" --target tflite --target onnx \
      --precision fp32 --precision fp16 --precision int8 -o "$work" || [ -f "$work/$preset.tflite" ]
  fi
  "$bin/rid-bench" reference --checkpoint "$preset" -o "$work/reference/$preset.safetensors"
  references+=(--reference "$work/reference/$preset.safetensors")
done
"$bin/rid-bench" fidelity "${references[@]}" "$work" -o "$work/fidelity.json"
"$bin/rid-bench" run "$work" "${presets[@]}" --photo-model "$work/rid-s.tflite" \
  --max-seconds 240 -o "$work/latency.json" "$@"
"$bin/rid-bench" report "$work/latency.json" "$work/fidelity.json" \
  --reference "$work/reference/rid-s.safetensors" \
  -o "$results/$name.json" -o "$work/report.html" -o "$work/report.md"
echo "results: $results/$name.json; to look at: $work/report.html"
