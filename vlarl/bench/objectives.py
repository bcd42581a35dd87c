"""Measure what objectives cost without the network: advantages, loss, and the loss's gradient.

Example::

    vlarl bench objectives --json objectives.json
    vlarl bench objectives --presets grpo,gspo,ppo --trajectories 64

The batch has the size of SimpleVLA-RL's: 512 episodes of 64 decisions of 8 steps of 7 tokens, random numbers, groups of
8. Presets are measured in turn, repeat by repeat. 'step' is advantages plus loss plus gradient with respect to the
tokens' log-probabilities, for the whole batch as one mini-batch. The loss is computed as the learner does it, in
micro-batches by several threads; objectives that need a mini-batch whole get it whole. Replay and demonstrations are
empty.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlarl.bench.measure import Table, print_rows, ratios
from vlarl.errors import UserError

if TYPE_CHECKING:
    from vlarl.types import RolloutBatch

DEFAULT_PRESETS = "grpo,simplevla,dapo,gspo,grpo_action,grpo_chunk,clip_cov,pacs,ppo"


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench objectives``."""

    presets: str = DEFAULT_PRESETS
    """Names with commas between; see 'vlarl list objectives'."""
    trajectories: int = 512
    decisions: int = 64
    chunk: int = 8
    tokens: int = 7
    """Tokens per control step."""
    repeats: int = 5
    microbatch: int = 1024
    """Decisions per call of the loss."""
    threads: int = 2
    """Threads that work on micro-batches side by side."""
    json: Path | None = None
    """Write rows and ratios to this file."""


def run(options: Options) -> int:
    """Measure, print, write."""
    from vlarl.resolve import resolve_preset

    if options.trajectories < 8 or options.trajectories % 8 or options.repeats < 1:
        raise UserError("--trajectories takes a multiple of 8, --repeats at least 1")
    objectives = {name: resolve_preset(name, "objectives").build() for name in options.presets.split(",")}
    table = Table()
    for repeat in range(options.repeats + 1):
        for name, objective in objectives.items():
            batch = make_batch(options, seed=repeat)
            if hasattr(objective, "attach"):
                objective.attach(StandIn())
            for part, seconds in measure(objective, batch, options).items():
                if repeat:  # the first round warms up
                    table.add(f"{name} {part}", "CPU ms" if part.endswith("cpu") else "ms", 1e3 * seconds)
    factors = ratios(table, [(f"{name} step", "grpo step") for name in objectives if name != "grpo"])
    size = f"{options.trajectories} x {options.decisions} x {options.chunk * options.tokens} tokens"
    print_rows(f"objectives on {size}, {options.threads} threads", table.rows(), factors)
    if options.json is not None:
        from vlarl.results import result_header, write_result

        words = ["vlarl", "bench", "objectives", "--presets", options.presets, "--repeats", str(options.repeats)]
        words += ["--trajectories", str(options.trajectories), "--threads", str(options.threads)]
        words += ["--microbatch", str(options.microbatch)]
        protocol = {"batch": size, "threads": options.threads, "microbatch": options.microbatch, "interleaved": True}
        content = {"rows": table.rows(), "ratios": dict(factors)}
        write_result(options.json, result_header(words, protocol) | content)
    return 0


class StandIn:
    """What an objective may ask of a policy, without the policy."""

    version = 0

    def values(self, inputs: dict[str, Any]) -> Any:
        """Zeros ``float32 [N]``."""
        return inputs["state"][..., 0] * 0.0

    def evaluate(self, inputs: dict[str, Any], tokens: Any, temperature: Any) -> tuple[Any, Any]:
        """The log-probability of a uniform choice among 256."""
        import torch

        log_probs = torch.full(tokens.shape, -5.545)
        return log_probs, -log_probs


def make_batch(options: Options, *, seed: int) -> RolloutBatch:
    """Random episodes of 40 to 100 % of the full length."""
    import torch

    from vlarl.types import RolloutBatch

    generator = torch.Generator().manual_seed(seed)
    rows, depth = options.trajectories, options.decisions
    shape = (rows, depth, options.chunk, options.tokens)
    lengths = torch.randint(int(0.4 * depth), depth + 1, (rows, 1), generator=generator)
    mask = torch.arange(depth) < lengths
    won = torch.rand(rows, generator=generator) < 0.5
    rewards = torch.zeros(rows, depth)
    rewards[torch.arange(rows), lengths[:, 0] - 1] = won.float()
    return RolloutBatch(
        tokens=torch.randint(0, 256, shape, generator=generator),
        old_log_probs=-5.0 + torch.randn(shape, generator=generator),
        token_mask=mask[:, :, None, None].expand(shape).contiguous(),
        inputs={"state": torch.randn(int(mask.sum()), 8, generator=generator)},
        decision_mask=mask,
        returns=won.float(),
        succeeded=won,
        groups=torch.arange(rows) // 8,
        temperature=1.0,
        rewards=rewards,
        truncated=torch.zeros(rows, dtype=torch.bool),
        versions=torch.zeros(rows, depth, dtype=torch.int64),
        starts=torch.zeros(rows, 2, dtype=torch.int64),
    )


def measure(objective: Any, batch: RolloutBatch, options: Options) -> dict[str, float]:
    """Seconds of advantages, of loss with gradient, and of both; CPU seconds of all threads for both."""
    import torch

    from vlarl.objective import Decisions

    torch.set_num_threads(options.threads)
    started, cpu = time.perf_counter(), time.process_time()
    prepared, _ = objective.prepare(batch)
    advantages, cpu = time.perf_counter() - started, time.process_time() - cpu
    decisions = Decisions.of(prepared, objective.token_weights(prepared))  # the learner's copying, not the objective's
    new = decisions.old_log_probs + 0.01
    size = len(decisions) if objective.whole_minibatch else options.microbatch

    def work(start: int) -> None:
        torch.set_num_threads(options.threads if size == len(decisions) else 1)  # per thread
        piece = slice(start, start + size)
        log_probs = new[piece].requires_grad_()
        output = objective.loss(log_probs, torch.zeros_like(log_probs).requires_grad_(), decisions[piece])
        torch.autograd.grad(output.loss, [log_probs], allow_unused=True)

    with ThreadPoolExecutor(options.threads) as pool:
        before, cpu_before = time.perf_counter(), time.process_time()
        list(pool.map(work, range(0, len(decisions), size)))
        loss, cpu = time.perf_counter() - before, cpu + time.process_time() - cpu_before
    return {"advantages": advantages, "loss": loss, "step": advantages + loss, "step cpu": cpu}
