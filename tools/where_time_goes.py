"""Where the time of a rollout in the ``fast`` profile goes, in one process without any transport.

Example::

    .venv/bin/python tools/where_time_goes.py assets/openvla_oft_compact_object --perf runs/perf.data
    perf report -i runs/perf.data --no-children -g none --sort dso,symbol

Plays a policy's episodes, then repeats their actions without the policy (chunk by chunk over all slots, and one episode
after the other), then plays the random motion of ``vlarl bench rollout``. Comparing the rows tells what interleaving
with the policy costs, what switching between slots costs, and what contact costs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from envs.libero import Libero, LiberoConfig
from vlarl.bench.phases import physics_share
from vlarl.bench.rollout import bench_actions
from vlarl.cli import plain_description
from vlarl.env_protocol import EpisodeSpec, Float32Array, StepResult
from vlarl.policy import Decoding, load_policy
from vlarl.seeding import episode_noise


@dataclass(frozen=True)
class Options:
    """Flags of the tool."""

    policy: Annotated[str, tyro.conf.Positional]
    """Policy folder."""
    suite: str = "libero_object"
    """Whose task to play."""
    task: int = 0
    """Task index."""
    episodes: int = 8
    """Episodes, each from its own initial state."""
    horizon: int = 160
    """Control steps per episode."""
    temperature: float = 0.6
    """Sampling temperature of the policy."""
    perf: Path | None = None
    """Let ``perf record`` watch the repetition of the policy's episodes and write this file."""


class Costs:
    """CPU seconds by phase over executed control steps."""

    def __init__(self) -> None:
        self.steps, self.phases = 0, dict[str, float]()

    def add(self, result: StepResult) -> StepResult:
        """Count a chunk and hand it on."""
        self.steps += int(result.executed.sum())
        for name, seconds in result.events.items():
            self.phases[name] = self.phases.get(name, 0.0) + seconds
        return result

    def show(self, name: str) -> None:
        """One row."""
        figures = " | ".join(f"{1e3 * seconds / self.steps:.3f}" for seconds in self.phases.values())
        print(f"| {name} | {figures} | {self.steps} |", flush=True)


def play_policy(options: Options, envs: list[Libero], specs: list[EpisodeSpec]) -> list[list[Float32Array]]:
    """Episodes with the policy between the chunks; returns their action chunks."""
    policy: Any = load_policy(options.policy)
    decoding = Decoding(mode="sample", temperature=options.temperature)
    noise = [episode_noise(spec, policy.noise_shape) for spec in specs]
    seen = [env.reset(spec) for env, spec in zip(envs, specs, strict=True)]
    chunks: list[list[Float32Array]] = [[] for _ in specs]
    costs, playing, busy, decisions = Costs(), list(range(len(specs))), 0.0, 0
    while playing:
        started = time.process_time()
        outputs = policy.act([seen[i] for i in playing], [next(noise[i]) for i in playing], decoding)
        busy += time.process_time() - started
        decisions += len(outputs)
        for index, output in zip(list(playing), outputs, strict=True):
            chunks[index].append(output.actions)
            result = costs.add(envs[index].step_chunk(output.actions))
            if result.observation is None or result.outcome.has_ended:
                playing.remove(index)
            else:
                seen[index] = result.observation
    costs.show("policy's actions, policy between the chunks")
    print(f"policy: {1e3 * busy / decisions:.2f} ms per decision")
    return chunks


def repeat(name: str, order: Callable[[], Iterator[tuple[int, Float32Array]]], envs: list[Libero], specs: Any) -> None:
    """Play ``(slot, chunk)`` in that order."""
    for env, spec in zip(envs, specs, strict=True):
        env.reset(spec)
    costs = Costs()
    ended: set[int] = set()
    for slot, chunk in order():
        if slot not in ended and costs.add(envs[slot].step_chunk(chunk)).outcome.has_ended:
            ended.add(slot)
    costs.show(name)


@contextmanager
def watched(path: Path | None) -> Iterator[None]:
    """``perf record`` on this process while the block runs."""
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["perf", "record", "-o", str(path), "-F", "997", "-g", "-p", str(os.getpid())]
    recorder = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    time.sleep(1.0)
    try:
        yield
    finally:
        recorder.send_signal(signal.SIGINT)
        recorder.wait()


def main(options: Options) -> None:
    torch.set_num_threads(1)
    config = LiberoConfig(profile="fast", controller="compiled", horizon=options.horizon)
    info = next(task for task in config.task_specs(options.suite) if task.task == options.task)
    specs = [
        EpisodeSpec(suite=options.suite, task=options.task, instruction=info.instruction, init_state=i, seed=i)
        for i in range(options.episodes)
    ]
    envs = [config.make() for _ in specs]
    print("| CPU ms per control step | simulate | success | render | steps |\n|---|---|---|---|---|")
    chunks = play_policy(options, envs, specs)
    longest = max(map(len, chunks))
    with watched(options.perf):
        repeat(
            "the same without the policy, slots in turn",
            lambda: ((i, chunks[i][k]) for k in range(longest) for i in range(len(specs)) if k < len(chunks[i])),
            envs,
            specs,
        )
    repeat(
        "the same, one episode after the other",
        lambda: ((i, c) for i in range(len(specs)) for c in chunks[i]),
        envs,
        specs,
    )
    random = bench_actions(options.episodes, 80)
    repeat(
        "random motion of the benchmark",
        lambda: ((i, c) for i in range(len(specs)) for c in random[i].reshape(10, 8, 7)),
        envs,
        specs,
    )
    for name, actions in (("policy's actions", np.concatenate(chunks[0])), ("random motion", random[0])):
        share = physics_share(options.suite, options.task, "compiled", actions, repeats=3)
        print(f"{name}: {share:.1%} of 'simulate' is MuJoCo's physics, {1 - share:.1%} the controller")


if __name__ == "__main__":
    main(tyro.cli(Options, description=plain_description(__doc__ or "")))
