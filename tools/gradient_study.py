"""Which parts of a policy get signal from a policy gradient, and which mostly noise.

    python tools/gradient_study.py libero_quickstart --iterations 8 --json gradient.json

Plays the episodes of several iterations with the unchanged starting policy and takes the gradient of every group
(the episodes of one task and initial state) by itself. Gradients of different groups share nothing but their
expectation, so the mean of g_i . g_j over pairs estimates the squared length of the true gradient without bias, and
the mean of g_i . g_i that of a single group's, noise included. Their ratio is printed for every part of the policy,
with lengths measured as AdamW's steps are: each entry divided by its root mean square.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vlarl.collector import Collector
from vlarl.config import TrainConfig
from vlarl.env_protocol import Outcome
from vlarl.policy import Decoding, TorchPolicy, load_policy
from vlarl.resolve import resolve
from vlarl.results import result_header, write_result
from vlarl.reward import score_all
from vlarl.specs import training_groups
from vlarl.trainer import select_tasks
from vlarl.types import RolloutBatch, stack_trajectories
from vlarl.worker_pool import WorkerPool

MICROBATCH = 32
THREADS = 2


def play(config: TrainConfig, policy: TorchPolicy, iterations: int) -> RolloutBatch:
    """The episodes of ``iterations`` iterations, all with the same weights; groups are numbered through."""
    tasks, rollout = select_tasks(config), config.rollout
    specs = []
    for iteration in range(iterations):
        drawn = training_groups(
            tasks,
            split=config.split,
            groups=rollout.groups,
            group_size=rollout.group_size,
            seed=config.seed,
            iteration=iteration,
        )
        specs += [replace(spec, group=spec.group + iteration * rollout.groups) for spec in drawn]
    names = [(task.suite, task.task) for task in tasks]
    with WorkerPool(config.env, tasks=names, workers=rollout.workers, num_slots=rollout.slots) as pool:
        decoding = Decoding(mode="sample", temperature=rollout.temperature)
        trajectories = Collector(policy, pool).collect(specs, decoding)
    usable = [trajectory for trajectory in trajectories if trajectory.outcome is not Outcome.ERROR]
    score_all([term.build() for term in config.rewards], usable)
    return stack_trajectories(usable)


def group_gradient(policy: TorchPolicy, group: RolloutBatch, parameters: list[torch.nn.Parameter]) -> Tensor:
    """Gradient of ``mean_i mean_t A_t log pi`` over one group's episodes, flattened."""
    torch.set_num_threads(1)  # per thread: groups are the parallelism
    assert group.advantages is not None
    taken, mask = group.decision_mask, group.token_mask.float()
    weights = (mask / mask.sum((1, 2, 3), keepdim=True).clamp(min=1) / len(group) * group.advantages)[taken]
    inputs, tokens = group.inputs, group.tokens[taken]
    total = torch.zeros(sum(p.numel() for p in parameters))
    for start in range(0, len(tokens), MICROBATCH):
        piece = slice(start, start + MICROBATCH)
        log_probs, _ = policy.evaluate(
            {name: value[piece] for name, value in inputs.items()}, tokens[piece], group.temperature
        )
        gradients = torch.autograd.grad((log_probs * weights[piece]).sum(), parameters, materialize_grads=True)
        total += torch.cat([gradient.flatten() for gradient in gradients])
    return total


def signal_to_noise(gradients: Tensor) -> tuple[float, float, float]:
    """Of ``float [groups, entries]``: mean g_i . g_i, and mean g_i . g_j over it with its standard error."""
    count = len(gradients)
    products = (gradients @ gradients.T).double()
    own = products.diagonal().mean()
    pairs = products[~torch.eye(count, dtype=torch.bool)]
    error = pairs.std() / (len(pairs) / 2) ** 0.5
    return float(own), float(pairs.mean() / own), float(error / own)


def part_of(name: str) -> str:
    """``...layers.2.mlp.up_proj.weight`` belongs to ``layers.2.mlp``, ``projector.fc1.bias`` to ``projector``."""
    words = name.removesuffix(".weight").removesuffix(".bias").split(".")
    if "layers" in words:
        at = words.index("layers")
        return ".".join(words[at : at + 3])
    return words[0] if words[0].endswith("projector") else words[-1]


def study(config: TrainConfig, iterations: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows by part of the policy, and what was played."""
    policy = load_policy(config.policy)
    batch = play(config, policy, iterations)
    success = float(batch.succeeded.float().mean())
    episodes = len(batch)
    batch, _ = config.objective.build().prepare(batch)
    chosen = {id(parameter) for parameter in policy.trainable_parameters()}
    named = [(name, parameter) for name, parameter in policy.named_parameters() if id(parameter) in chosen]
    groups = [batch.select((batch.groups == group).nonzero()[:, 0]) for group in batch.groups.unique().tolist()]
    with ThreadPoolExecutor(THREADS) as pool:
        gradients = torch.stack(
            list(pool.map(lambda group: group_gradient(policy, group, [p for _, p in named]), groups))
        )
    gradients /= gradients.pow(2).mean(0).sqrt().sqrt() + 1e-12  # so that products divide by the root mean square
    parts: dict[str, list[Tensor]] = {}
    for (name, _), block in zip(named, gradients.split([p.numel() for _, p in named], dim=1), strict=True):
        parts.setdefault(part_of(name), []).append(block)
    rows = []
    for part, blocks in parts.items():
        noise, ratio, error = signal_to_noise(torch.cat(blocks, dim=1))
        entries = sum(block.shape[1] for block in blocks)
        rows.append({"part": part, "parameters": entries, "noise": noise, "signal_to_noise": ratio, "error": error})
    return rows, {"episodes": episodes, "groups_kept": len(groups), "success_rate": success}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="name in configs/, or a file with config()")
    parser.add_argument("--iterations", type=int, default=8, help="iterations' worth of episodes (default 8)")
    parser.add_argument("--credit", choices=("trajectory", "decision"), help="as objective.credit")
    parser.add_argument("--json", help="write the rows to this file")
    arguments = parser.parse_args()
    config: TrainConfig = resolve(arguments.config, "configs", "config")()
    if arguments.credit:
        config = replace(config, objective=replace(config.objective, credit=arguments.credit))
    rows, played = study(config, arguments.iterations)
    whole = sum(row["noise"] for row in rows)
    print(f"{played['episodes']} episodes, success {played['success_rate']:.3f}, {played['groups_kept']} groups kept")
    print(f"{'part':34s} {'parameters':>10s} {'share of noise':>15s} {'signal / noise, thousandths':>28s}")
    for row in sorted(rows, key=lambda row: -row["noise"]):
        ratio = f"{1e3 * row['signal_to_noise']:.1f} +- {1e3 * row['error']:.1f}"
        print(f"{row['part']:34s} {row['parameters']:10d} {row['noise'] / whole:15.3f} {ratio:>28s}")
    if arguments.json:
        header = result_header(shlex.join(["python", *sys.argv]), {"config": arguments.config, **played})
        write_result(arguments.json, header | {"rows": rows})


if __name__ == "__main__":
    main()
