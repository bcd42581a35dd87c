#!/bin/sh
# Makes assets/openvla_oft_compact_libero: one policy for the four LIBERO suites, imitated from the scripted expert's
# demonstrations of every task it solves, initial states 0-19. Training costs about 12 ms of processor time per sample
# and epoch. VLARL names the command (default: the one in .venv), WORK a folder for what is in between, EPOCHS and
# EPISODES how much of it.
set -eu
cd "$(dirname "$0")/.."
VLARL=${VLARL:-.venv/bin/vlarl}
WORK=${WORK:-runs/make_multitask_checkpoint}
OUT=assets/openvla_oft_compact_libero

for suite in libero_spatial libero_object libero_goal libero_10; do
    [ -d "$WORK/demos/$suite" ] || "$VLARL" demos "$suite" --init-states 0-19 --episodes "${EPISODES:-8}" --noise 0.08 \
        --out "$WORK/demos/$suite"
done
"$VLARL" sft "$WORK"/demos/libero_* --out "$WORK/sft" --config medium --keep-every 2 --epochs "${EPOCHS:-6}" --seed 0 \
    --learning-rate 1e-3 --title "Compact OpenVLA-OFT: the four LIBERO suites, by imitation"

mkdir -p "$OUT"
cp "$WORK"/sft/policy/* "$OUT"/
cp "$WORK/sft/metrics.jsonl" "$OUT/training_log.jsonl"
echo "written: $OUT"
