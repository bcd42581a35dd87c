"""Frames of all worlds, scored in batches by a thread of its own while the simulation goes on.

Every batch is filled up to the same size, and a row of a batch does not depend on the others: what a frame scores does
not hang on which frames it came with, so results repeat bit for bit however threads take turns.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NamedTuple

import torch

from vlarl.env_protocol import Float32Array, UInt8Image
from vlarl.errors import UserError

Score = Callable[[Sequence[UInt8Image]], Float32Array]


class ScoringError(UserError):
    """Frames could not be scored; nothing was learned from them."""


class Batch:
    """Frames that are scored together."""

    def __init__(self) -> None:
        self.frames: list[UInt8Image] = []
        self.scores: Future[Float32Array] | None = None
        """None while it is being filled."""


class Ticket(NamedTuple):
    """Where the scores of a frame will be."""

    batch: Batch
    row: int


class FrameScorer:
    """Scores frames.

    Example::

        scorer = FrameScorer(model.embed_images)
        tickets = [scorer.submit(frame) for frame in frames]
        rows = [scorer.result(ticket) for ticket in tickets]

    Args:
        score: rows ``float32 [N, K]`` of N frames; each a function of its own frame.
        size: frames per batch.
        blocking: score full batches at once in the caller's thread (how VLM-RL's code does it, for comparison).
        patience: seconds to wait for a batch before the scorer counts as stuck.
        most_batches: that may wait; ``submit`` then waits, too, so that memory is bounded.
    """

    def __init__(
        self, score: Score, *, size: int = 64, blocking: bool = False, patience: float = 300.0, most_batches: int = 64
    ) -> None:
        self.size, self.blocking, self.patience, self.most_batches = size, blocking, patience, most_batches
        self.frames = 0
        """Scored, or to be scored."""
        self.waiting_seconds = 0.0
        """For which callers have stood still."""
        self._score = score
        self._filling = Batch()
        self._sent: deque[Future[Float32Array]] = deque()
        self._thread: ThreadPoolExecutor | None = None

    def submit(self, frame: UInt8Image) -> Ticket:
        """Hand in a frame ``uint8 [H, W, 3]``; it must not be changed afterwards.

        Raises:
            ScoringError: an earlier batch has failed, or the scorer is stuck.
        """
        batch, self.frames = self._filling, self.frames + 1
        batch.frames.append(frame)
        ticket = Ticket(batch, len(batch.frames) - 1)
        if len(batch.frames) == self.size:
            self._send()
        return ticket

    def result(self, ticket: Ticket) -> Float32Array:
        """``float32 [K]`` of a frame; waits for it.

        Raises:
            ScoringError: its batch has failed, or the scorer is stuck.
        """
        if ticket.batch.scores is None:
            self._send()
        scores = ticket.batch.scores
        assert scores is not None  # it was sent just now
        return self._wait(scores)[ticket.row]

    def close(self) -> None:
        """End the thread; what waits is dropped."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    def _send(self) -> None:
        batch, self._filling = self._filling, Batch()
        if self.blocking:
            started = time.perf_counter()
            batch.scores = Future()
            try:
                batch.scores.set_result(self._run(batch))
            except Exception as error:
                batch.scores.set_exception(error)
            self.waiting_seconds += time.perf_counter() - started
        else:
            if self._thread is None:  # ends when this object does
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="frame-scorer")
            batch.scores = self._thread.submit(self._run, batch)
        self._sent.append(batch.scores)
        while self._sent and (self._sent[0].done() or len(self._sent) > self.most_batches):
            self._wait(self._sent.popleft())

    def _run(self, batch: Batch) -> Float32Array:
        torch.set_num_threads(1)  # per thread: the simulation has the other cores
        frames, batch.frames = batch.frames, []
        padded = frames + [frames[-1]] * (self.size - len(frames))
        rows = self._score(padded)
        if len(rows) != self.size:
            raise ValueError(f"the scorer gave {len(rows)} rows for {self.size} frames")
        return rows[: len(frames)]

    def _wait(self, scores: Future[Float32Array]) -> Float32Array:
        if not scores.done():
            started = time.perf_counter()
            wait([scores], timeout=self.patience)
            self.waiting_seconds += time.perf_counter() - started
        if not scores.done():
            raise ScoringError(
                f"the frame scorer has not answered for {self.patience:g} s; nothing was learned from these frames. "
                "A larger 'patience' waits longer; a smaller 'batch' or a GPU scores sooner."
            )
        if scores.cancelled():
            raise ScoringError("the frame scorer was closed before these frames were scored")
        error = scores.exception()
        if error is not None:
            raise ScoringError(f"frames could not be scored, and nothing was learned from them: {error}") from error
        return scores.result()
