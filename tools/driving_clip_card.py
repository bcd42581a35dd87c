"""Zero-shot accuracy of a driving CLIP and its model card, for ``tools/make_driving_clip.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.drive_language import config as drive_language
from envs.driving.views.captions import SENTENCES
from tools.driving_frames import Frames
from vlarl.files import atomic_write_text
from vlarl.rewards.language_goal_driving import LanguageGoalDrivingConfig
from vlarl.rewards.language_goal_formulas import contrast
from vlarl.rewards.language_goal_model import ImageTextModel
from vlarl.statistics import bootstrap

WORDINGS = {"accuracy": 0, "new_wording": -1}
"""Figure -> which sentence of each answer is compared: the first, or the one that was kept from training."""


def measure(folder: Path, frames: Frames) -> dict[str, Any]:
    """Per fact: the answer whose sentence is most similar to the picture, against the truth.

    Returns:
        Per fact ``accuracy`` (mean of the answers' recalls, so that guessing gives ``chance``) with its interval (BCa
        bootstrap over drives), the same for sentences never trained on, and how many pictures have each answer.
    """
    model = ImageTextModel(folder, device="cpu")
    seen = np.concatenate([model.embed_images(list(part)) for part in np.array_split(frames.pictures, 100)])
    found: dict[str, Any] = {}
    for column, (fact, answers) in enumerate(SENTENCES.items()):
        truth = frames.answers[:, column]
        known = [number for number in range(len(answers)) if (truth == number).sum() >= 20]
        if len(known) < 2:
            continue
        figures: dict[str, Any] = {"chance": 1.0 / len(known)}
        for name, place in WORDINGS.items():
            similar = seen @ model.embed_texts([answers[number][place] for number in known]).T
            guess = np.array(known)[similar.argmax(axis=1)]
            estimate = _balanced(truth, guess, known, frames.drives)
            figures |= {name: estimate.value, f"{name}_ci95": estimate.ci}
        found[fact] = figures | {"pictures": {answers[n][0]: int((truth == n).sum()) for n in known}}
    return found


def contrasts(folder: Path, frames: Frames) -> dict[str, list[float]]:
    """``drive_language``'s contrast where the road is clear and where not: tenth, fiftieth, ninetieth percentile."""
    (reward,) = drive_language().rewards
    assert isinstance(reward, LanguageGoalDrivingConfig)
    model = ImageTextModel(folder, device="cpu")
    seen = np.concatenate([model.embed_images(list(part)) for part in np.array_split(frames.pictures, 100)])
    good, bad = ((seen @ model.embed_texts(goal).T).max(axis=1) for goal in (reward.positive, reward.negative))
    values, clear = contrast(good, bad, reward.alpha, reward.beta), frames.answers[:, list(SENTENCES).index("clear")]
    return {
        name: [round(float(value), 3) for value in np.percentile(values[clear == answer], (10, 50, 90))]
        for name, answer in (("clear", 1), ("not clear", 0))
    }


def _balanced(
    truth: NDArray[np.int8], guess: NDArray[np.int64], known: Sequence[int], drives: NDArray[np.int32]
) -> Any:
    """Mean recall over the answers, with an interval over drives."""
    _, drive = np.unique(drives, return_inverse=True)
    hits, counts = np.zeros((2, drive.max() + 1, len(known)))
    for place, answer in enumerate(known):
        mine = truth == answer
        np.add.at(counts[:, place], drive[mine], 1.0)
        np.add.at(hits[:, place], drive[mine & (guess == answer)], 1.0)

    def recall(rows: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        chosen = np.moveaxis(rows, axis, -1).astype(np.int64)
        totals = counts[chosen].sum(axis=-2)
        return (hits[chosen].sum(axis=-2) / np.maximum(totals, 1.0)).mean(axis=-1)

    return bootstrap(np.arange(len(hits), dtype=np.float64), recall, resamples=1000)


def write_card(
    folder: Path,
    results: Mapping[str, Any],
    spread: Mapping[str, Sequence[float]],
    history: Sequence[Mapping[str, float]],
    *,
    parameters: int,
    options: Any,
) -> None:
    """Write ``README.md``."""
    seconds = sum(epoch["seconds"] for epoch in history)
    lines = [
        "---\nlibrary_name: transformers\npipeline_tag: zero-shot-image-classification\nlicense: mit\n---\n",
        "# Driving CLIP: pictures of driving from above, and sentences about them\n",
        f"A CLIP of {parameters / 1e6:.2f} M parameters that transformers loads by itself"
        " (`AutoModel.from_pretrained(folder)`, `AutoProcessor.from_pretrained(folder)`). It knows the flat-coloured"
        " pictures of `envs/drive.py` (`--env.resolution 64 --env.view-metres 32`) and the words of"
        " `envs/driving/views/captions.py`; it knows nothing of photographs, nor of speed, which a still picture does"
        " not show.\n",
        "## How it was made\n",
        f"`python tools/make_driving_clip.py`: random weights, seed {options.seed}, {options.pictures} pictures of grid"
        " town, ring road and winding road with sentences from the world's own state,"
        f" {len(history)} of {options.epochs} epochs of SigLIP's sigmoid loss (in the last one"
        f" {history[-1]['loss']:.3f}; guessing gives 0.693), {seconds:.0f} s of one core.\n",
        "## Zero-shot accuracy\n",
        "Which of the sentences of a fact's answers is most similar to the picture. Accuracy is the mean of the"
        " answers' recalls, with a 95 % interval over drives (BCa bootstrap); *new wording* uses sentences that were"
        " kept from training.\n",
    ]
    for place, facts in results.items():
        lines += [f"**{place}**\n", "| fact | accuracy | new wording | chance | pictures |", "|---|---|---|---|---|"]
        for fact, row in facts.items():
            cells = [
                f"{row[name]:.3f} [{row[f'{name}_ci95'][0]:.3f}, {row[f'{name}_ci95'][1]:.3f}]" for name in WORDINGS
            ]
            count = sum(row["pictures"].values())
            lines.append(f"| {fact} | {cells[0]} | {cells[1]} | {row['chance']:.2f} | {count} |")
        lines.append("")
    spoken = "; ".join(f"{name} {low}, {middle}, {high}" for name, (low, middle, high) in spread.items())
    lines.append(
        "**Contrast** of `configs/drive_language.py`'s sentences, where the road is clear and where there is danger"
        f" (training maps, other drives; tenth, fiftieth, ninetieth percentile): {spoken}.\n"
    )
    atomic_write_text(folder / "README.md", "\n".join(lines))
