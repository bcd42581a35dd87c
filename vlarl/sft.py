"""Supervised fine-tuning: imitation of demonstrations with the policy's own action tokens.

Cross-entropy over the 256 action tokens of every action in the chunk, with labels smoothed over neighbouring bins:
the temperature-1 policy then explores around what was demonstrated instead of jumping between bins.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlarl.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from vlarl.policies.normalisation import gripper_from_environment
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.seeding import stream
from vlarl.sft_data import Batch, DemonstrationSet, augment


@dataclass(frozen=True, kw_only=True)
class SftConfig:
    """Optimiser, batching, augmentation. Defaults are what worked for compact policies on a CPU."""

    epochs: int = 8
    learning_rate: float = 8e-4
    """AdamW's highest step size; warm-up over ``warmup_steps``, then a cosine to 5 % of it."""
    warmup_steps: int = 50
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.95)
    max_grad_norm: float = 1.0
    batch_size: int = 32
    microbatch_size: int = 8
    """Samples per forward and backward pass of one thread."""
    threads: int = 2
    """Threads that work on micro-batches side by side; does not change results."""
    label_sigma: float = 2.0
    """Width of the smoothed labels [bins]."""
    brightness: float = 0.1
    """Standard deviation of the random gain."""
    shift_pixels: int = 2
    """Largest random shift of the fixed camera (the first); the wrist camera's geometry means something."""
    proprio_noise: float = 0.05
    """Standard deviation of the noise on normalised proprioception, as a share of each entry's spread."""
    epoch_share: float = 1.0
    """Share of the samples visited per epoch."""
    seed: int = 0


class SupervisedTrainer:
    """Trains all of a policy, vision included.

    Args:
        policy: trained in place.
        data: demonstrations.
        config: see there.
        out: run folder with metrics and checkpoints.
        validation: demonstrations to measure on, never trained on.
    """

    def __init__(
        self,
        policy: OpenVlaOft,
        data: DemonstrationSet,
        config: SftConfig,
        out: str | Path,
        validation: DemonstrationSet | None = None,
    ) -> None:
        self.policy, self.data, self.config, self.out, self.validation = policy, data, config, Path(out), validation
        self.parameters = [p for p in policy.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )
        self.batches_per_epoch = max(1, int(len(data) * config.epoch_share) // config.batch_size)
        self.steps = 0
        self.seconds = 0.0
        spread = np.concatenate(data.states).std(axis=0)
        normaliser = policy.proprio_normaliser
        self.noise_scale = (
            np.zeros(0) if normaliser is None else config.proprio_noise * 2.0 * spread / normaliser.range
        ).astype(np.float32)

    def train(self, on_step: Callable[[int, float], None], on_epoch: Callable[[Mapping[str, Any], int], None]) -> None:
        """Run the epochs that are left; every finished epoch is a checkpoint in the run folder."""
        first = self._resume()
        self.policy.train()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(max_workers=self.config.threads) as pool:
                for epoch in range(first, self.config.epochs):
                    on_epoch(self._epoch(epoch, pool, on_step), epoch + 1)
                    self._save(epoch + 1)
        finally:
            torch.set_num_threads(threads)
            self.policy.eval()

    def measure(self, data: DemonstrationSet, limit: int = 2048) -> dict[str, float]:
        """Loss, token accuracy within two bins, and action error (normalised units) on evenly spaced samples."""
        chosen = np.linspace(0, len(data) - 1, min(limit, len(data))).astype(int)
        size = self.config.microbatch_size
        with ThreadPoolExecutor(max_workers=self.config.threads) as pool:
            pieces = [data.batch(chosen[i : i + size]) for i in range(0, len(chosen), size)]
            rows = list(pool.map(self._measure_piece, pieces))
        totals = np.sum(rows, axis=0)
        return dict(zip(("loss", "accuracy", "action_error"), totals[:3] / totals[3], strict=True))

    def _epoch(self, epoch: int, pool: ThreadPoolExecutor, on_step: Callable[[int, float], None]) -> dict[str, Any]:
        started, losses, norms = time.perf_counter(), [], []
        order = stream("sft-order", self.config.seed, epoch).permutation(len(self.data))
        for number in range(self.batches_per_epoch):
            chosen = order[number * self.config.batch_size : (number + 1) * self.config.batch_size]
            loss, norm = self._step(chosen, stream("sft-augment", self.config.seed, epoch, number), pool)
            losses.append(loss)
            norms.append(norm)
            on_step(number + 1, loss)
        self.seconds += time.perf_counter() - started
        metrics: dict[str, Any] = {
            "loss": float(np.mean(losses)),
            "grad_norm": float(np.mean(norms)),
            "learning_rate": self._learning_rate(),
            "steps": self.steps,
            "seconds/train": self.seconds,
        }
        if self.validation is not None and len(self.validation):
            self.policy.eval()
            metrics |= {f"validation/{name}": value for name, value in self.measure(self.validation).items()}
            self.policy.train()
        return metrics

    def _step(
        self, chosen: np.ndarray, generator: np.random.Generator, pool: ThreadPoolExecutor
    ) -> tuple[float, float]:
        """One optimiser step; returns loss and gradient norm."""
        config = self.config
        # Prompts of equal length side by side: less padding inside a micro-batch.
        lengths = [len(self.policy.prompt_ids(self.data.instructions[self.data.index[i][0]])) for i in chosen]
        chosen = chosen[np.argsort(lengths, kind="stable")]
        seeds = generator.integers(0, 2**63, size=math.ceil(len(chosen) / config.microbatch_size))
        pieces = [chosen[i : i + config.microbatch_size] for i in range(0, len(chosen), config.microbatch_size)]

        def work(piece: np.ndarray, seed: int) -> tuple[float, float, tuple[Tensor | None, ...]]:
            torch.set_num_threads(1)  # per thread: the pool is the parallelism
            batch, randomness = self.data.batch(piece), np.random.default_rng(seed)
            shift = [config.shift_pixels] + [0] * (len(self.data.cameras) - 1)
            images = augment(batch.images, randomness, shift=shift, brightness=config.brightness)
            loss = self._loss(batch, torch.from_numpy(images), randomness)
            gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            return float(loss.detach()), float(batch.mask.sum() * batch.actions.shape[2]), gradients

        total: list[Tensor | None] = [None] * len(self.parameters)
        loss_sum, tokens = 0.0, 0.0
        for loss, count, gradients in pool.map(work, pieces, seeds):  # map keeps the order, hence the rounding
            loss_sum, tokens = loss_sum + loss, tokens + count
            for index, gradient in enumerate(gradients):
                if gradient is not None:
                    total[index] = gradient if total[index] is None else total[index] + gradient
        for parameter, gradient in zip(self.parameters, total, strict=True):
            parameter.grad = None if gradient is None else gradient / tokens
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, config.max_grad_norm))
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"the gradient's norm is {norm} at step {self.steps}; the last finished epoch is saved. "
                "Lower --learning-rate and start again with --resume."
            )
        self.steps += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.step()
        return loss_sum / tokens, norm

    def _loss(self, batch: Batch, images: Tensor, randomness: np.random.Generator | None) -> Tensor:
        """Cross-entropy summed over the tokens that exist."""
        logits = self._logits(batch, images, randomness)
        targets = self.policy.bins.soft_targets(self._normalised(batch), self.config.label_sigma)
        cross_entropy = -(targets * torch.log_softmax(logits, dim=-1)).sum(dim=-1)
        return (cross_entropy * torch.from_numpy(batch.mask)[:, :, None]).sum()

    def _logits(self, batch: Batch, images: Tensor, randomness: np.random.Generator | None) -> Tensor:
        """``float32 [N, chunk, action_dim, bins]``, with gradients through vision."""
        policy = self.policy
        features = policy.vision_backbone(images.flatten(0, 1))
        features = features.view(len(images), -1, features.shape[-1])
        prompts = [policy.prompt_ids(instruction) for instruction in batch.instructions]
        longest = max(len(ids) for ids in prompts)
        padded = torch.full((len(prompts), longest), policy.config.prompt.pad_id, dtype=torch.int64)
        for row, ids in zip(padded, prompts, strict=True):
            row[: len(ids)] = ids
        lengths = torch.tensor([len(ids) for ids in prompts])
        proprio = None
        if policy.proprio_normaliser is not None:
            values = policy.proprio_normaliser.normalise(batch.state).astype(np.float32)
            if randomness is not None:
                values = values + self.noise_scale * randomness.standard_normal(values.shape, dtype=np.float32)
            proprio = torch.from_numpy(values)
        return policy.chunk_logits(features, padded, None if bool((lengths == longest).all()) else lengths, proprio)

    def _normalised(self, batch: Batch) -> Tensor:
        actions = gripper_from_environment(batch.actions, self.policy.config.gripper)
        return torch.from_numpy(self.policy.action_normaliser.normalise(actions).astype(np.float32))

    def _measure_piece(self, batch: Batch) -> np.ndarray:
        """Sums of loss, hits, absolute error, and their number."""
        torch.set_num_threads(1)
        with torch.no_grad():
            logits = self._logits(batch, torch.from_numpy(batch.images), None)
            target = self._normalised(batch)
            soft = self.policy.bins.soft_targets(target, self.config.label_sigma)
            mask = torch.from_numpy(batch.mask)[:, :, None].expand(target.shape)
            loss = -(soft * torch.log_softmax(logits, dim=-1)).sum(dim=-1)
            values = torch.from_numpy(self.policy.bins.values).float()
            error = (torch.softmax(logits, dim=-1) @ values - target).abs()
            close = (values[logits.argmax(dim=-1)] - target).abs() <= 2.5 * 2 / (len(values) - 1)
        return np.array([float((x * mask).sum()) for x in (loss, close.float(), error)] + [float(mask.sum())])

    def _learning_rate(self) -> float:
        total = max(1, self.batches_per_epoch * self.config.epochs)
        warm = min(1.0, (self.steps + 1) / max(1, self.config.warmup_steps))
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, self.steps / total)))
        return self.config.learning_rate * warm * (0.05 + 0.95 * cosine)

    def _save(self, epoch: int) -> None:
        meta = {"steps": self.steps, "seconds": self.seconds, "config": asdict(self.config)}
        save_checkpoint(
            self.out,
            epoch,
            self.policy.state_dict(),
            self.optimizer.state_dict(),
            meta,
            keep=2,
            write_extra=lambda folder: self.policy.save_pretrained(folder, {"epochs": epoch}),
        )

    def _resume(self) -> int:
        """Continue from the newest checkpoint of the run folder; returns the number of finished epochs."""
        folder = latest_checkpoint(self.out)
        if folder is None:
            return 0
        weights, optimizer, meta = load_checkpoint(folder)
        self.policy.load_state_dict(weights)
        self.optimizer.load_state_dict(optimizer)
        self.steps, self.seconds = int(meta["steps"]), float(meta["seconds"])
        return self.steps // self.batches_per_epoch
