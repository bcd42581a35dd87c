"""Rewards from the similarity of pictures to sentences, and what VLM-RL makes of them: plain functions of arrays.

A similarity is the cosine of a picture's and a sentence's embedding. Sources: VLM-RL (arXiv 2412.15544) and its code
for the contrasting goals, the synthesis and the baselines LORD, VLM-SR and RoboCLIP; VLM-RM (arXiv 2310.12921) for the
goal-baseline projection.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def contrast(positive: ArrayLike, negative: ArrayLike, alpha: float = 1.0, beta: float = 1.0) -> Floats:
    """Contrasting language goals: ``alpha positive - beta negative``, high where the picture is as it should be.

    The paper weighs with ``alpha + beta = 1``. Its code has no weights and the other sign, ``z = negative - positive``,
    which it turns around again in ``1 - clip(z, 0, 0.03) / 0.03``: that is ``normalised(contrast(...), -0.03, 0)``.
    """
    return alpha * _floats(positive) - beta * _floats(negative)


def normalised(value: ArrayLike, low: float, high: float) -> Floats:
    """0 at ``low`` and below, 1 at ``high`` and above, straight between; NaN stays NaN."""
    return np.clip((_floats(value) - low) / (high - low), 0.0, 1.0)


def lord(negative: ArrayLike) -> Floats:
    """LORD: distance from what must not be, ``1 - negative``."""
    return 1.0 - _floats(negative)


def lord_speed(negative: ArrayLike, speed: ArrayLike, wanted: float = 20.0) -> Floats:
    """LORD-Speed: LORD and how near the speed [km/h] is to the wanted one, ``1 - |v - wanted| / wanted``."""
    return lord(negative) + 1.0 - np.abs(_floats(speed) - wanted) / wanted


def goal_baseline(target: ArrayLike, baseline: ArrayLike, target_to_baseline: float, alpha: float = 0.5) -> Floats:
    """VLM-RM: ``1 - |P (x - t)|^2 / 2``, with P pulling towards the line from baseline b to target t.

    ``P = alpha u u' + (1 - alpha) I`` with ``u = (t - b) / |t - b|``. As all embeddings have length 1, it follows from
    similarities alone: ``|P (x - t)|^2 = (1 - alpha)^2 |x - t|^2 + alpha (2 - alpha) (u . (x - t))^2``.

    Args:
        target: similarities ``x . t``.
        baseline: similarities ``x . b``.
        target_to_baseline: ``t . b``, below 1.
        alpha: 0 is the plain similarity to the target, 1 the projection.

    Raises:
        ValueError: target and baseline are the same sentence to the model.
    """
    if not target_to_baseline < 1.0 - 1e-6:
        raise ValueError(f"target and baseline have similarity {target_to_baseline}: there is no line between them")
    to_target, to_baseline = _floats(target), _floats(baseline)
    squared = 2.0 - 2.0 * to_target
    along = (to_target - to_baseline - 1.0 + target_to_baseline) / np.sqrt(2.0 - 2.0 * target_to_baseline)
    return 1.0 - 0.5 * ((1.0 - alpha) ** 2 * squared + alpha * (2.0 - alpha) * along**2)


def thresholded(similarity: ArrayLike, threshold: float = 0.32) -> Floats:
    """VLM-SR: 1 where the picture is similar enough to the goal, else -1; NaN stays NaN."""
    values = _floats(similarity)
    return np.where(np.isnan(values), np.nan, np.where(values >= threshold, 1.0, -1.0))


def lasting_deviation(distance: ArrayLike, steps: int) -> Floats:
    """Standard deviation of a distance ``[T]`` over the last ``steps`` entries, or as many as there are."""
    values = _floats(distance)
    padded = np.concatenate([np.full(steps - 1, np.nan), values])
    return np.nanstd(np.lib.stride_tricks.sliding_window_view(padded, steps), axis=1) if len(values) else values


def synthesis(
    language: ArrayLike,
    speed: ArrayLike,
    distance: ArrayLike,
    angle: ArrayLike,
    deviation: ArrayLike,
    *,
    top_speed: float = 25.0,
    most_distance: float = 3.0,
    most_angle: float = 90.0,
    most_deviation: float = 0.4,
) -> Floats:
    """VLM-RL's hierarchical synthesis: the language sets the wanted speed, the vehicle's state says how well it drives.

    ``(1 - |v - language top| / top) max(0, 1 - d / 3 m) max(0, 1 - |angle| / 90) max(0, 1 - deviation / 0.4 m)``

    Args:
        language: in [0, 1].
        speed: km/h.
        distance: from the centre of the lane or route, metres.
        angle: to it, degrees.
        deviation: standard deviation of the distance of late, metres.
        top_speed: wanted where the language says 1, km/h.
        most_distance: metres at which nothing is left.
        most_angle: degrees at which nothing is left.
        most_deviation: metres at which nothing is left.
    """
    kept = 1.0 - np.abs(_floats(speed) - _floats(language) * top_speed) / top_speed
    centred = np.maximum(0.0, 1.0 - np.abs(_floats(distance)) / most_distance)
    straight = np.maximum(0.0, 1.0 - np.abs(_floats(angle)) / most_angle)
    steady = np.maximum(0.0, 1.0 - _floats(deviation) / most_deviation)
    return kept * centred * straight * steady


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
