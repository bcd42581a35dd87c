"""Why one decoding of the same weights succeeds where another fails.

    python tools/decoding_study.py runs/quickstart/policy --json decoding.json

Plays the same held-out episodes with every decoding and prints, beside success, what the arm did: how often it stood
still for a whole chunk, how often it repeated its last chunk token by token (a deterministic policy that stands still
sees the same picture again and decides the same again), and how likely the chosen tokens were.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.libero import LiberoConfig
from vlarl.collector import Collector
from vlarl.env_protocol import Outcome
from vlarl.policy import Decoding, load_policy
from vlarl.results import result_header, write_result
from vlarl.specs import evaluation_specs
from vlarl.statistics import wilson_interval
from vlarl.types import Trajectory
from vlarl.worker_pool import WorkerPool

DECODINGS = (
    Decoding(mode="greedy"),
    Decoding(mode="sample", temperature=0.3),
    Decoding(mode="sample", temperature=0.6),
    Decoding(mode="sample", temperature=1.0),
    Decoding(mode="expectation"),
    Decoding(mode="expectation", temperature=0.3),
)
STILL_METRES = 0.005
"""A chunk (0.4 s) that moves the hand less than this stands still; the arm can cover about 10 cm in that time."""


def describe(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Success and what the arm did, over all scored episodes."""
    scored = [t for t in trajectories if t.outcome is not Outcome.ERROR]
    successes = sum(t.succeeded for t in scored)
    still, repeated, likelihood = [], [], []
    for t in scored:
        places = np.array([observation.state[:3] for observation in t.observations])
        still += (np.linalg.norm(np.diff(places, axis=0), axis=1) < STILL_METRES).tolist()
        tokens = [output.tokens for output in t.outputs]
        repeated += [bool((a == b).all()) for a, b in itertools.pairwise(tokens)]
        likelihood += [float(np.exp(output.log_probs[:, :3]).mean()) for output in t.outputs]
    return {
        "success_rate": successes / len(scored),
        "ci95": list(wilson_interval(successes, len(scored))),
        "episodes": len(scored),
        "errors": len(trajectories) - len(scored),
        "still_share": float(np.mean(still)),
        "repeated_share": float(np.mean(repeated)),
        "token_probability": float(np.mean(likelihood)),
        "never_closed_share": float(np.mean([not any((o.actions[:, 6] > 0).any() for o in t.outputs) for t in scored])),
    }


def main() -> None:
    """Play, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", help="checkpoint folder")
    parser.add_argument("--suite", default="libero_object")
    parser.add_argument("--tasks", default="0,8")
    parser.add_argument("--episodes", type=int, default=40, help="per task and decoding")
    parser.add_argument("--horizon", type=int, default=160)
    parser.add_argument("--json", help="write the result here")
    flags = parser.parse_args()
    env = LiberoConfig(profile="fast", controller="compiled", horizon=flags.horizon)
    tasks = [env.task_specs(flags.suite)[int(index)] for index in flags.tasks.split(",")]
    specs = evaluation_specs(tasks, split="heldout", episodes_per_task=flags.episodes, seed=30_000)
    rows = []
    print(
        f"{'decoding':18} {'success':>8} {'95 %':>16} {'still':>7} {'repeated':>9} {'p(token)':>9} {'never closed':>13}"
    )
    with WorkerPool(env, tasks=[(t.suite, t.task) for t in tasks]) as pool:
        collector = Collector(load_policy(flags.policy), pool)
        for decoding in DECODINGS:
            row = describe(collector.collect(specs, decoding))
            rows.append({"decoding": decoding.label, **row})
            low, high = row["ci95"]
            print(
                f"{decoding.label:18} {row['success_rate']:8.3f} {low:8.3f}-{high:.3f} {row['still_share']:7.2f} "
                f"{row['repeated_share']:9.2f} {row['token_probability']:9.3f} {row['never_closed_share']:13.2f}",
                flush=True,
            )
    if flags.json:
        protocol = {**env.protocol(), "suite": flags.suite, "tasks": flags.tasks, "split": "heldout", "seed": 30_000}
        write_result(flags.json, result_header(shlex.join(sys.argv), protocol) | {"rows": rows})


if __name__ == "__main__":
    main()
