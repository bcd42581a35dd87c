#!/bin/sh
# Makes assets/openvla_oft_compact_object/imitation.json: what imitation alone gives on the quickstart's tasks with
# 10 and 30 demonstrations per task where the start has 2. The quickstart's report shows it beside the result of
# reinforcement learning. About ten minutes on two cores.
# VLARL names the command (default: the one in .venv), WORK a folder for what is in between.
set -eu
cd "$(dirname "$0")/.."
VLARL=${VLARL:-.venv/bin/vlarl}
PYTHON=${PYTHON:-.venv/bin/python}
WORK=${WORK:-runs/make_imitation_reference}

[ -d "$WORK/demos" ] || "$VLARL" demos libero_object --tasks 0,8 --init-states 0-29 --episodes 30 --noise 0.1 --seed 0 \
    --out "$WORK/demos"
for plan in 10:10 30:6; do
    demos=${plan%:*}
    [ -d "$WORK/sft$demos/policy" ] || "$VLARL" sft "$WORK/demos" --max-demos "$demos" --epochs "${plan#*:}" --seed 0 \
        --out "$WORK/sft$demos"
    "$VLARL" eval "$WORK/sft$demos/policy" --suite libero_object --tasks 0,8 --episodes 80 --profile fast \
        --env.controller compiled --env.horizon 160 --temperature 0.3 --json "$WORK/eval$demos.json"
done
"$PYTHON" tools/imitation_rows.py "$WORK" assets/openvla_oft_compact_object/imitation.json
