#!/bin/sh
# Makes assets/openvla_oft_compact_object: the quickstart's deliberately data-poor start.
# Two scripted demonstrations of each of two tasks (initial states 0 and 1), 31 passes by one thread: the number of
# threads decides the order of sums, and with so little data the result hangs on it. About three minutes. VLARL names the
# command (default: the one in .venv), WORK a folder for what is in between.
set -eu
cd "$(dirname "$0")/.."
VLARL=${VLARL:-.venv/bin/vlarl}
WORK=${WORK:-runs/make_quickstart_checkpoint}
OUT=assets/openvla_oft_compact_object

"$VLARL" demos libero_object --tasks 0,8 --init-states 0-1 --episodes 2 --noise 0.1 --seed 0 --out "$WORK/demos"
"$VLARL" sft "$WORK/demos" --out "$WORK/sft" --config small --epochs 31 --seed 0 --threads 1 \
    --title "Compact OpenVLA-OFT: data-poor start of the quickstart (LIBERO-Object tasks 0 and 8)"

mkdir -p "$OUT"
cp "$WORK"/sft/policy/* "$OUT"/
cp "$WORK/sft/metrics.jsonl" "$OUT/training_log.jsonl"
echo "written: $OUT"
