"""Makes assets/driving_clip: a small CLIP of transformers that knows driving from above, with no weights of others.

Pictures of our world drawn as ``--env.resolution 64 --env.view-metres 32`` draws them, sentences from its own state
(``envs/driving/views/captions.py``), the sigmoid loss of SigLIP (arXiv 2303.15343): a picture and a sentence belong
together or they do not. Trained on grid town, ring road and winding road; the roundabout and CARLA's Town02 (where the
file is) are looked at only to measure. Goes on where it was stopped; equal seeds draw equal pictures, sentences and
batches.

Example::

    OMP_NUM_THREADS=1 .venv/bin/python tools/make_driving_clip.py --out assets/driving_clip
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPProcessor, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from envs.driving.maps.map_generator import shipped_map
from envs.driving.views.captions import SENTENCES, UNDECIDED, VIEW
from tools.driving_clip_card import contrasts, measure, write_card
from tools.driving_frames import Frames, joined, kept_frames
from vlarl.cli import plain_description
from vlarl.files import atomic_write_json, read_json

SPECIAL = ("<pad>", "<start>", "<unknown>", "<end>")
END = 3
"""Not 2: transformers takes that for a broken CLIP file of old, and reads the word with the highest number instead."""
MEAN, STD = (0.4, 0.45, 0.4), (0.2, 0.2, 0.2)
WIDTH, PROJECTION, TEXT_WIDTH = 128, 64, 64
SLOWER = 0.1
"""The learning rate of the layer that sees the pixels: it adds up 12,288 of them, many of one colour."""
TOWN = Path(__file__).parents[2] / "shared" / "data" / "opendrive" / "Town02.xodr"


@dataclass(frozen=True)
class Options:
    """Flags of the tool."""

    out: Path = Path("assets/driving_clip")
    work: Path = Path("runs/make_driving_clip")
    """Pictures and the state of the training; may be deleted afterwards."""
    pictures: int = 24_000
    """To train on: half of them of grid town, a quarter of each of the others."""
    held_out: int = 4_000
    """Of each map that is only looked at."""
    town: Path = TOWN
    """A map that is measured beside the roundabout, where the file exists."""
    epochs: int = 6
    """Over which the learning rate rises and falls."""
    stop: int = 0
    """End after so many of them; 0: after all."""
    batch: int = 128
    learning_rate: float = 1e-3
    seed: int = 0


def main() -> None:
    """Draw, train, measure, write."""
    options = tyro.cli(Options, description=plain_description(__doc__ or ""))
    torch.set_num_threads(1)
    started = time.process_time()
    shares = {"grid_town": 2, "ring_road": 4, "winding_road": 4}
    parts = [
        kept_frames(options.work, shipped_map(name), options.pictures // share, options.seed + number)
        for number, (name, share) in enumerate(shares.items())
    ]
    towns = [shipped_map("roundabout"), *([options.town] if options.town.is_file() else [])]
    unseen = {path.stem: kept_frames(options.work, path, options.held_out, options.seed + 100) for path in towns}
    frames = joined(parts)
    print(f"{len(frames.pictures)} pictures, {time.process_time() - started:.0f} s")
    torch.manual_seed(options.seed)
    processor = make_processor()
    model = CLIPModel(make_config(len(processor.tokenizer)))
    history = train(model, processor, frames, options)
    model.eval()
    model.save_pretrained(options.out)
    processor.save_pretrained(options.out)
    results = {name: measure(options.out, held) for name, held in unseen.items()}
    known = joined([kept_frames(options.work, shipped_map(name), 2_000, options.seed + 200) for name in shares])
    results["training maps, other drives"] = measure(options.out, known)
    spread = contrasts(options.out, known)
    atomic_write_json(options.out / "zero_shot.json", {"accuracy": results, "contrast": spread})
    write_card(
        options.out, results, spread, history, parameters=sum(p.numel() for p in model.parameters()), options=options
    )
    print(f"written: {options.out}, {time.process_time() - started:.0f} s of CPU in this run")


def make_processor() -> CLIPProcessor:
    """Words of our sentences and pictures of our size."""
    words = sorted({word for fact in SENTENCES.values() for answer in fact for text in answer for word in text.split()})
    tokenizer = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate([*SPECIAL, *words])}, unk_token=SPECIAL[2])
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", END)]
    )
    names = dict(zip(("pad_token", "bos_token", "unk_token", "eos_token"), SPECIAL, strict=True))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=24, **names)
    size = {"height": VIEW.size, "width": VIEW.size}
    images = CLIPImageProcessorPil(
        size={"shortest_edge": VIEW.size}, crop_size=size, image_mean=list(MEAN), image_std=list(STD)
    )
    return CLIPProcessor(image_processor=images, tokenizer=fast)


def make_config(words: int) -> CLIPConfig:
    """A small CLIP whose picture is a single patch.

    The ego is always at the same place and heads up, so what a pixel means hangs on where it is: one linear layer over
    all of them can learn that. (A grid of patches was not compared.)
    """
    text = {
        "vocab_size": words,
        "max_position_embeddings": 24,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": END,
    }
    text |= {"hidden_size": TEXT_WIDTH, "intermediate_size": 2 * TEXT_WIDTH, "num_hidden_layers": 2}
    vision = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 3, "num_attention_heads": 4}
    vision |= {"image_size": VIEW.size, "patch_size": VIEW.size, "projection_dim": PROJECTION}
    text |= {"num_attention_heads": 2, "projection_dim": PROJECTION}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=PROJECTION, logit_scale_init_value=2.3)


class Matching(nn.Module):
    """The sigmoid loss of pictures and one sentence per answer, weighed so that rare answers count alike."""

    def __init__(self, model: CLIPModel, processor: CLIPProcessor, answers: Tensor) -> None:
        super().__init__()
        self.model = model
        self.bias = nn.Parameter(torch.zeros(()))
        longest = 2 + max(len(text.split()) for fact in SENTENCES.values() for answer in fact for text in answer)
        self.tokens = [
            [
                processor.tokenizer([text], return_tensors="pt", padding="max_length", max_length=longest)
                for text in answer[:-1]
            ]
            for fact in SENTENCES.values()
            for answer in fact
        ]
        self.place = [(fact, n) for fact, answer in enumerate(SENTENCES.values()) for n in range(len(answer))]
        true, known = self.truth(answers)
        self.shares = (true.sum(0) / known.sum(0).clamp(min=1)).clamp(1e-3, 1 - 1e-3)

    def truth(self, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Whether each sentence is true of each picture, and whether that is decided, ``float32 [N, S]`` each."""
        facts, numbers = (torch.tensor(column) for column in zip(*self.place, strict=True))
        given = answers[:, facts]
        return (given == numbers).float(), (given != UNDECIDED).float()

    def forward(self, pixels: Tensor, answers: Tensor, random: np.random.Generator) -> Tensor:
        """Mean loss."""
        chosen = [texts[random.integers(len(texts))] for texts in self.tokens]
        ids, mask = (torch.cat([text[name] for text in chosen]) for name in ("input_ids", "attention_mask"))
        said = F.normalize(self.model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output, dim=-1)
        seen = F.normalize(self.model.get_image_features(pixel_values=pixels).pooler_output, dim=-1)
        logits = self.model.logit_scale.exp() * seen @ said.T + self.bias
        true, known = self.truth(answers)
        weights = known * torch.where(true > 0, 0.5 / self.shares, 0.5 / (1 - self.shares))
        losses = F.binary_cross_entropy_with_logits(logits, true, weights, reduction="sum")
        return losses / weights.sum()


def train(model: CLIPModel, processor: CLIPProcessor, frames: Frames, options: Options) -> list[dict[str, float]]:
    """Train in place; one state file per epoch, from which a stopped training goes on."""
    answers = torch.from_numpy(frames.answers.astype(np.int64))
    matching = Matching(model, processor, answers)
    pixels = list(model.vision_model.embeddings.patch_embedding.parameters())
    others = [parameter for parameter in matching.parameters() if all(parameter is not p for p in pixels)]
    rates = [options.learning_rate, SLOWER * options.learning_rate]
    groups = [{"params": part, "lr": rate} for part, rate in zip((others, pixels), rates, strict=True)]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.05, fused=True)
    steps = options.epochs * (len(answers) // options.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=steps, pct_start=0.1)
    state, log = options.work / "state.pt", options.work / "log.json"
    history: list[dict[str, float]] = []
    parts: dict[str, Any] = {"matching": matching, "optimiser": optimiser, "schedule": schedule}
    if state.exists():
        history = read_json(log)
        for name, kept in torch.load(state, weights_only=True).items():
            parts[name].load_state_dict(kept)
    for epoch in range(len(history), options.stop or options.epochs):
        started, losses = time.process_time(), []
        random = np.random.default_rng([options.seed, epoch])
        order = random.permutation(len(answers))[: len(answers) // options.batch * options.batch]
        for rows in order.reshape(-1, options.batch):
            pictures = mirrored(frames.pictures[rows], random)
            loss = matching(prepared(processor, pictures), answers[rows], random)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(matching.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        history.append({"epoch": epoch + 1, "loss": float(np.mean(losses)), "seconds": time.process_time() - started})
        print(history[-1], flush=True)
        atomic_write_json(log, history)
        torch.save({name: part.state_dict() for name, part in parts.items()}, state.with_suffix(".part"))
        state.with_suffix(".part").rename(state)
    return history


def mirrored(pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Half of the pictures with left and right exchanged: no fact tells the sides apart."""
    chosen = random.random(len(pictures)) < 0.5
    return np.where(chosen[:, None, None, None], pictures[:, :, ::-1], pictures)


def prepared(processor: CLIPProcessor, pictures: np.ndarray) -> Tensor:
    """What the processor makes of pictures that have its size already (it neither resizes nor crops them)."""
    kept = processor.image_processor
    mean, std = torch.tensor(kept.image_mean), torch.tensor(kept.image_std)
    return ((torch.from_numpy(pictures).float() / 255.0 - mean) / std).permute(0, 3, 1, 2).contiguous()


if __name__ == "__main__":
    main()
