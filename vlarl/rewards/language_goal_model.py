"""CLIP and SigLIP models of transformers from a local folder: embeddings of pictures and sentences, of length 1.

Pictures go through the checkpoint's own processor (resize, crop, scale, mean and deviation as its files say; Pillow's
resampling, so that torchvision is not needed). Sentences are padded as the model was trained: SigLIP's to full length.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vlarl.env_protocol import Float32Array, UInt8Image
from vlarl.errors import CheckpointError, ConfigError, NotFiniteError, nearest


class ImageTextModel:
    """A contrastive image-text model.

    Example::

        model = ImageTextModel("assets/driving_clip")
        model.embed_images([frame]) @ model.embed_texts(["a car is close ahead"]).T     # cosines float32 [1, 1]

    Args:
        folder: with ``config.json``, weights, tokenizer and processor, as ``save_pretrained`` writes them; nothing is
            downloaded and no code of the folder is run.
        device: for example ``cuda``; "auto": a GPU if there is one.

    Raises:
        CheckpointError: no such folder, or not an image-text model.
    """

    def __init__(self, folder: str | Path, *, device: str = "auto") -> None:
        self.folder = Path(folder)
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(chosen if device == "auto" else device)
        self.model, self._prepare, self._tokenizer = _load(self.folder)
        self.model.to(self.device).eval().requires_grad_(False)
        config = self.model.config
        self._padding: str | bool = "max_length" if "siglip" in config.model_type else True
        self._longest = min(config.get_text_config().max_position_embeddings, self._tokenizer.model_max_length)

    @torch.inference_mode()
    def embed_images(self, images: Sequence[UInt8Image]) -> Float32Array:
        """``float32 [N, D]``, each row of length 1.

        Args:
            images: ``uint8 [H, W, 3]`` each.

        Raises:
            ValueError: an image of another kind.
            NotFiniteError: an embedding is NaN, infinite or zero.
        """
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"image is {image.dtype} {image.shape}; expected uint8 [H, W, 3]")
        pixels = self._prepare(images=list(images), input_data_format="channels_last", return_tensors="pt")
        # A copy: torch's own memory is aligned, numpy's need not be, and the order of sums may hang on that.
        inputs = {name: values.clone().to(self.device) for name, values in pixels.items()}
        return self._unit(self.model.get_image_features(**inputs), "picture")

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Float32Array:
        """``float32 [N, D]``, each row of length 1.

        Raises:
            ValueError: no sentence, or an empty one.
            ConfigError: a word that the model has never seen.
            NotFiniteError: an embedding is NaN, infinite or zero.
        """
        if not texts or not all(text.strip() for text in texts):
            raise ValueError(f"sentences are {list(texts)}; expected at least one, none of them empty")
        self._check_words(texts)
        tokens = self._tokenizer(
            list(texts), padding=self._padding, truncation=True, max_length=self._longest, return_tensors="pt"
        )
        return self._unit(self.model.get_text_features(**tokens.to(self.device)), "sentence")

    def _check_words(self, texts: Sequence[str]) -> None:
        """Small vocabularies do not hold every word; those of CLIP and SigLIP can spell any."""
        unknown = self._tokenizer.unk_token_id
        if unknown is None or unknown in (self._tokenizer.eos_token_id, self._tokenizer.pad_token_id):
            return
        words = {word for text in texts for word in text.split()}
        strange = sorted(word for word in words if unknown in self._tokenizer(word).input_ids)
        if strange:
            known = [word for word in self._tokenizer.get_vocab() if word.isalpha()]
            guess = nearest(strange[0], known)
            raise ConfigError(
                f"{self.folder} does not know the words {', '.join(strange)}."
                + (f" Did you mean '{guess}'?" if guess else "")
                + f" It knows: {', '.join(sorted(known)[:200])}."
            )

    def _unit(self, features: Any, what: str) -> Float32Array:
        values: Tensor = features if isinstance(features, Tensor) else features.pooler_output
        values = F.normalize(values.float(), dim=-1, eps=0.0)  # 0 / 0 is NaN, and is refused here
        bad = (~torch.isfinite(values).all(dim=-1)).nonzero().flatten().tolist()
        if bad:
            raise NotFiniteError(
                f"the embedding of {what} {bad[0]} of {len(values)} by {self.folder} is not finite "
                f"({len(bad)} are not): the weights are damaged, or they overflow at their precision"
            )
        return values.cpu().numpy()


def _load(folder: Path) -> tuple[Any, Any, Any]:
    """Model, image processor and tokenizer.

    Raises:
        CheckpointError: one of them cannot be had.
    """
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, PreTrainedTokenizerFast

    if not (folder / "config.json").is_file():
        what = "holds no config.json" if folder.is_dir() else "is no folder"
        raise CheckpointError(
            f"{folder} {what}; expected a CLIP or SigLIP model as save_pretrained of transformers writes it. "
            "assets/driving_clip is one (tools/make_driving_clip.py)."
        )
    here = {"local_files_only": True, "trust_remote_code": False}
    try:
        what = "model"
        model = AutoModel.from_pretrained(folder, **here)
        if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
            raise CheckpointError(
                f"{folder} holds a {type(model).__name__}, which has no common space of pictures and sentences; "
                "expected a contrastive image-text model such as CLIP or SigLIP"
            )
        what = "image processor"
        prepare = AutoImageProcessor.from_pretrained(folder, backend="pil", **here)
        what = "tokenizer"
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **here)
        except ImportError:  # SigLIP's own class needs sentencepiece, its tokenizer.json does not
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, **here)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
        raise CheckpointError(f"{folder}: transformers cannot load its {what}: {error}") from error
    return model, prepare, tokenizer
