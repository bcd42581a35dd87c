"""One update: mini-batches of trajectories, micro-batches of decisions, data-parallel threads.

The gradient of a mini-batch is the sum over fixed micro-batches added in a fixed order, so it does not
depend on how many threads there are or which one finishes first: a run can be repeated bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from vlarl.errors import ConfigError, unknown_name
from vlarl.nn.adapter_ranks import AdapterRankConfig, AdapterRanks
from vlarl.objective import Decisions, LossOutput, Objective, ObjectiveConfig
from vlarl.policy import TorchPolicy
from vlarl.seeding import stream
from vlarl.types import RolloutBatch


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """Optimiser and batching."""

    learning_rate: float = 2e-4
    """AdamW's step size after warm-up."""
    final_learning_rate: float | None = None
    """Step size at the run's end, reached linearly over its iterations; None: constant."""
    warmup_updates: int = 10
    """Optimiser steps over which the learning rate rises linearly."""
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    epochs: int = 2
    """Passes over the iteration's trajectories."""
    minibatch_trajectories: int = 16
    """Trajectories per optimiser step (about: the last one takes what is left, evenly split)."""
    microbatch_decisions: int = 32
    """Decisions per forward and backward; bounds memory, changes results only by rounding."""
    frozen: tuple[str, ...] = ()
    """Parts of the policy that keep their weights, by dotted name or a run of its words: ``lm_head``, ``layers.0``.
    A part whose gradient is mostly noise costs success; docs/benchmarks.md measures which ones."""
    average_decay: float = 0.0
    """Decay per optimiser step of a running average of the weights (Polyak); 0: none. Rollouts use the newest
    weights, evaluation and the saved policy the averaged ones: noise of single updates cancels."""
    adapter_ranks: AdapterRankConfig = field(default_factory=AdapterRankConfig)
    """Cut the ranks of low-rank adapters as training goes on."""
    threads: int = 2
    """Threads that work on micro-batches side by side; does not change results."""


def trained_parameters(policy: TorchPolicy, frozen: Sequence[str]) -> list[nn.Parameter]:
    """``policy.trainable_parameters()`` without those that a name in ``frozen`` covers.

    Raises:
        ConfigError: a name covers nothing (the message has the nearest), or nothing is left to train.
    """
    names = {id(parameter): name for name, parameter in policy.named_parameters()}
    for word in frozen:
        if not any(_covers(word, name) for name in names.values()):
            words = {part for name in names.values() for part in name.split(".")}
            raise ConfigError(unknown_name("part of the policy (learner.frozen)", word, sorted(words)))
    kept = [p for p in policy.trainable_parameters() if not any(_covers(word, names[id(p)]) for word in frozen)]
    if not kept:
        raise ConfigError(f"learner.frozen {list(frozen)} leaves nothing to train; name fewer parts")
    return kept


def _covers(word: str, name: str) -> bool:
    return f".{word}." in f".{name}."


class AnyLearner(Protocol):
    """What the loop asks of a learner; ``Learner`` is the on-policy one."""

    bootstraps: bool
    """Whether truncated trajectories need ``final_inputs``."""

    def update(self, batch: RolloutBatch, *, seed: int, iteration: int, progress: float = 0.0) -> dict[str, float]:
        """Learn from one iteration's trajectories; returns metrics."""
        ...

    def averaged(self) -> AbstractContextManager[None]:
        """Put the weights that are evaluated and saved into the policy for the time of a ``with`` block."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything beside the policy's weights that a resumed run needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        ...


def make_learner(
    policy: TorchPolicy, objective: ObjectiveConfig, config: LearnerConfig, *, seed: int = 0
) -> AnyLearner:
    """The learner of an objective: its own, where it has ``build_learner`` (off-policy), or the on-policy one.

    Args:
        policy: is updated in place.
        objective: what is learned.
        config: optimiser and batching.
        seed: of the initial weights of networks that the objective brings (critics).

    Raises:
        ConfigError: ranks of adapters are to be cut by a learner that has none.
    """
    build = getattr(objective, "build_learner", None)
    if build is None:
        return Learner(policy, objective.build(), config, seed=seed)
    if config.adapter_ranks.every:
        raise ConfigError(
            f"adapter_ranks.every is {config.adapter_ranks.every}, but {type(objective).__name__} brings a learner of "
            "its own, which trains no adapters: set --learner.adapter-ranks.every 0"
        )
    return build(policy, config, seed=seed)


class Learner:
    """Updates ``policy`` in place."""

    def __init__(self, policy: TorchPolicy, objective: Objective, config: LearnerConfig, *, seed: int = 0) -> None:
        self.policy = policy
        self.objective = objective
        self.config = config
        objective.attach(policy, seed)
        self.bootstraps = objective.bootstraps
        self.parameters = trained_parameters(policy, config.frozen)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        self.num_updates = 0
        self._base_rate = config.learning_rate
        self.average = [p.detach().clone() for p in self.parameters] if config.average_decay else []
        self._num_policy_parameters = len(self.parameters)
        plan = config.adapter_ranks
        self.adapter_ranks = AdapterRanks(cast(nn.Module, policy), self.parameters, plan) if plan.every else None
        self._adopt_parameters()

    def _adopt_parameters(self) -> None:
        """Train the objective's own networks too; some are made only when the first batch shows their size."""
        if not isinstance(self.objective, nn.Module):
            return
        known = {id(parameter) for parameter in self.parameters}
        added = [parameter for parameter in self.objective.parameters() if id(parameter) not in known]
        if added:
            self.parameters = [*self.parameters, *added]
            self.optimizer.add_param_group({"params": added, "rate_scale": getattr(self.objective, "rate_scale", 1.0)})

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averaged weights into the policy for the time of a ``with`` block, if there is an average."""
        if not self.average:
            yield
            return
        newest = [p.detach().clone() for p in self.parameters[: self._num_policy_parameters]]
        self._load(self.average)
        try:
            yield
        finally:
            self._load(newest)

    def _load(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=False):  # the policy's come first
                parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Everything beside the policy's weights that a resumed run needs."""
        state: dict[str, Any] = {
            "optimizer": self.optimizer.state_dict(),
            "num_updates": self.num_updates,
            "average": self.average,
        }
        if isinstance(self.objective, nn.Module):
            state["objective"] = self.objective.state_dict()
        if self.adapter_ranks is not None:
            state["ranks"] = self.adapter_ranks.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        if isinstance(self.objective, nn.Module):
            self.objective.load_state_dict(state["objective"])
            self._adopt_parameters()
        self.optimizer.load_state_dict(state["optimizer"])
        self.num_updates = int(state["num_updates"])
        self.average = list(state["average"])
        if self.adapter_ranks is not None:
            self.adapter_ranks.load_state_dict(state["ranks"])
        self.policy.version = self.num_updates

    def update(self, batch: RolloutBatch, *, seed: int, iteration: int, progress: float = 0.0) -> dict[str, float]:
        """Learn from one iteration's trajectories.

        Args:
            batch: trajectories that passed ``rewards.score``.
            seed: of the run; with ``iteration`` it names the mini-batch permutation.
            iteration: number of the iteration.
            progress: finished share of the run in [0, 1); drives the learning rate's decay.

        Returns:
            Metrics under the field's usual names; means over all mini-batches.
        """
        started, cpu = time.perf_counter(), time.process_time()
        self._set_base_rate(progress)
        batch, metrics = self.objective.prepare(batch)
        self._adopt_parameters()
        totals: dict[str, float] = {}
        grad_norms: list[float] = []
        steps = 0
        with ThreadPoolExecutor(max_workers=self.config.threads) as pool:
            for epoch in range(self.config.epochs if len(batch) else 0):
                order = stream("minibatches", seed, iteration, epoch).permutation(len(batch))
                count = max(1, round(len(batch) / self.config.minibatch_trajectories))
                for part in torch.tensor_split(torch.from_numpy(order), count):
                    sums, grad_norm = self._step(batch, part, pool)
                    if steps == 0:  # nothing has been updated yet: every ratio must be 1
                        metrics["ratio_before_update"] = sums["ratio"] / sums["tokens"]
                    steps += 1
                    grad_norms.append(grad_norm)
                    for name, value in sums.items():
                        totals[name] = totals.get(name, 0.0) + value
        if hasattr(self.policy, "learn_moments") and len(batch):
            self.policy.learn_moments(batch.inputs)
        if steps:
            tokens = totals.pop("tokens")
            metrics |= {name: value / tokens for name, value in totals.items()}
            metrics["grad_norm"] = sum(grad_norms) / len(grad_norms)
        metrics["learning_rate"] = self._current_learning_rate()
        if self.adapter_ranks is not None:
            self._begin_anew(self.adapter_ranks.cut_if_due(iteration + 1, self.num_updates))
            metrics |= self.adapter_ranks.metrics()
        metrics["updates"] = float(self.num_updates)
        metrics["seconds/update"] = time.perf_counter() - started
        metrics["cpu_seconds/update"] = time.process_time() - cpu
        return metrics

    def _step(self, batch: RolloutBatch, part: Tensor, pool: ThreadPoolExecutor) -> tuple[dict[str, float], float]:
        """One optimiser step on some trajectories; returns diagnostic sums and the gradient's norm before clipping."""
        minibatch = batch.select_without_inputs(part)
        decisions = Decisions.of(minibatch, self.objective.token_weights(minibatch), batch.places(part))
        tokens, temperature = minibatch.tokens[minibatch.decision_mask], minibatch.decision_temperatures()
        size = self.config.microbatch_decisions
        pieces = [slice(start, start + size) for start in range(0, len(decisions), size)]

        def evaluate(piece: slice) -> tuple[Tensor, Tensor, Decisions]:
            torch.set_num_threads(1)  # per thread: the pool is the parallelism
            part = decisions[piece]
            return *self.policy.evaluate(part.inputs, tokens[piece], temperature(piece)), part

        loss: Callable[[Tensor, Tensor, Decisions], LossOutput] = self.objective.loss
        sums: dict[str, float] = {}
        total: list[Tensor | None] = [None] * len(self.parameters)
        if self.objective.whole_minibatch and len(pieces) > 1:
            total, sums = self._linearise(decisions, pieces, evaluate, pool)
            loss = _linear_loss

        def work(piece: slice) -> tuple[tuple[Tensor | None, ...], LossOutput]:
            output = loss(*evaluate(piece))
            return torch.autograd.grad(output.loss, self.parameters, allow_unused=True), output

        alone = len(pieces) == 1 or self.config.threads == 1  # handing work to a thread costs more than a small piece
        for gradients, output in (map if alone else pool.map)(work, pieces):  # in order, hence the sum's rounding
            for index, gradient in enumerate(gradients):
                if gradient is not None:
                    previous = total[index]
                    total[index] = gradient if previous is None else previous + gradient
            for name, value in output.sums.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums, self._apply(total)

    def _linearise(
        self,
        decisions: Decisions,
        pieces: list[slice],
        evaluate: Callable[[slice], tuple[Tensor, Tensor, Decisions]],
        pool: ThreadPoolExecutor,
    ) -> tuple[list[Tensor | None], dict[str, float]]:
        """The chain rule in two passes, for losses that need a mini-batch whole while memory holds a piece of it.

        A first pass without gradients gives all log-probabilities; the loss's derivative with respect to them is put
        into ``decisions.columns``, where the second pass (``_linear_loss``) finds it.

        Returns:
            Gradients of the objective's own parameters, and diagnostic sums.
        """

        def look(piece: slice) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                return evaluate(piece)[:2]

        parts = list(pool.map(look, pieces))
        leaves = [torch.cat(column).requires_grad_() for column in zip(*parts, strict=True)]
        output = self.objective.loss(leaves[0], leaves[1], decisions[:])
        gradients = torch.autograd.grad(output.loss, [*leaves, *self.parameters], allow_unused=True)
        if gradients[0] is None and gradients[1] is None:
            pieces.clear()  # the loss knows the policy not at all: a critic is warmed up
        for name, leaf, gradient in zip(("d_log_probs", "d_entropies"), leaves, gradients, strict=False):
            decisions.columns[name] = torch.zeros_like(leaf) if gradient is None else gradient
        return list(gradients[2:]), {name: float(value) for name, value in output.sums.items()}

    def _apply(self, gradients: list[Tensor | None]) -> float:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        grad_norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm))
        if not math.isfinite(grad_norm):
            raise FloatingPointError(
                f"the gradient's norm is {grad_norm} at optimiser step {self.num_updates}; the weights were not "
                "changed. The last checkpoint is intact; lower --learner.learning-rate and resume."
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self._current_learning_rate() * group.get("rate_scale", 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.num_updates += 1
        self.policy.version = self.num_updates
        for average, parameter in zip(self.average, self.parameters, strict=False):  # none, or one each
            average.lerp_(parameter.detach(), 1.0 - self.config.average_decay)
        return grad_norm

    def _begin_anew(self, changed: list[nn.Parameter]) -> None:
        """Forget the moments and the average of parameters that have another shape now."""
        for parameter in changed:
            self.optimizer.state.pop(parameter, None)
        known = {id(parameter) for parameter in changed}
        for index, parameter in enumerate(self.parameters[: len(self.average)]):
            if id(parameter) in known:
                self.average[index] = parameter.detach().clone()

    def _set_base_rate(self, progress: float) -> None:
        first, last = self.config.learning_rate, self.config.final_learning_rate
        self._base_rate = first if last is None else first + (last - first) * progress

    def _current_learning_rate(self) -> float:
        after_cut = 1.0 if self.adapter_ranks is None else self.adapter_ranks.rate_factor(self.num_updates)
        return self._base_rate * min(1.0, (self.num_updates + 1) / max(self.config.warmup_updates, 1)) * after_cut


def _linear_loss(log_probs: Tensor, entropies: Tensor, decisions: Decisions) -> LossOutput:
    """A loss with the gradient that ``Learner._linearise`` found."""
    columns = decisions.columns
    return LossOutput((log_probs * columns["d_log_probs"]).sum() + (entropies * columns["d_entropies"]).sum())
