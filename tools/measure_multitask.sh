#!/bin/sh
# Measures assets/openvla_oft_compact_libero on held-out initial states of the four suites: fast pixels with the right
# and with the wrong instruction, and stock pixels. Results go to docs/results/multitask_*.json. About fifteen minutes
# on two cores. VLARL names the command (default: the one in .venv), EPISODES and REFERENCE_EPISODES how many per task.
set -eu
cd "$(dirname "$0")/.."
VLARL=${VLARL:-.venv/bin/vlarl}
POLICY=${POLICY:-assets/openvla_oft_compact_libero}

# suite, name of the result, episodes per task, flags
measure() {
    suite=$1 out="docs/results/multitask_$1_$2.json" episodes=$3
    shift 3
    [ -f "$out" ] || "$VLARL" eval "$POLICY" --suite "$suite" --episodes "$episodes" --decoding expectation "$@" --json "$out"
}

for suite in libero_object libero_goal libero_spatial libero_10; do
    measure $suite fast "${EPISODES:-5}" --profile fast --env.controller compiled
done
for suite in libero_object libero_goal libero_spatial libero_10; do
    measure $suite wrong_instruction "${EPISODES:-5}" --profile fast --env.controller compiled --wrong-instruction
done
for suite in libero_object libero_goal libero_spatial libero_10; do
    measure $suite reference "${REFERENCE_EPISODES:-3}" --profile reference --env.controller exact
done
