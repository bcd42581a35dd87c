#!/bin/sh
# Measures assets/openvla_oft_compact_libero on held-out initial states of the four suites: fast pixels with the right
# and with the wrong instruction, and stock pixels. Results go to docs/results/multitask_*.json. About fifteen minutes
# on two cores. VLARL names the command (default: the one in .venv), EPISODES and REFERENCE_EPISODES how many per task.
set -eu
cd "$(dirname "$0")/.."
VLARL=${VLARL:-.venv/bin/vlarl}
POLICY=${POLICY:-assets/openvla_oft_compact_libero}
DECODING="--decoding expectation"

for suite in libero_spatial libero_object libero_goal libero_10; do
    out="docs/results/multitask_$suite"
    [ -f "${out}_fast.json" ] || "$VLARL" eval "$POLICY" --suite "$suite" --episodes "${EPISODES:-5}" \
        --profile fast --env.controller compiled $DECODING --json "${out}_fast.json"
    [ -f "${out}_wrong_instruction.json" ] || "$VLARL" eval "$POLICY" --suite "$suite" --episodes "${EPISODES:-5}" \
        --profile fast --env.controller compiled $DECODING --wrong-instruction --json "${out}_wrong_instruction.json"
    [ -f "${out}_reference.json" ] || "$VLARL" eval "$POLICY" --suite "$suite" --episodes "${REFERENCE_EPISODES:-3}" \
        --profile reference --env.controller exact $DECODING --json "${out}_reference.json"
done
