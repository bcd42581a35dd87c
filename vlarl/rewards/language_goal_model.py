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
from vlarl.errors import CheckpointError, NotFiniteError


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
        self.model, self.processor = _load(self.folder)
        self.model.to(self.device).eval().requires_grad_(False)
        self.side_padding: str | bool = "max_length" if "siglip" in self.model.config.model_type else True

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
        pixels = self.processor.image_processor(images=list(images), input_data_format="channels_last", return_tensors="pt")
        return self._unit(self.model.get_image_features(**pixels.to(self.device)), "picture")

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Float32Array:
        """``float32 [N, D]``, each row of length 1.

        Raises:
            ValueError: no sentence, or an empty one.
            NotFiniteError: an embedding is NaN, infinite or zero.
        """
        if not texts or not all(text.strip() for text in texts):
            raise ValueError(f"sentences are {list(texts)}; expected at least one, none of them empty")
        tokens = self.processor.tokenizer(list(texts), padding=self.side_padding, truncation=True, return_tensors="pt")
        return self._unit(self.model.get_text_features(**tokens.to(self.device)), "sentence")

    def _unit(self, features: Any, what: str) -> Float32Array:
        values: Tensor = features if isinstance(features, Tensor) else features.pooler_output
        values = F.normalize(values.float(), dim=-1, eps=0.0)  # 0 / 0 is NaN, and is refused here
        bad = (~torch.isfinite(values).all(dim=-1)).nonzero().flatten().tolist()
        if bad:
            raise NotFiniteError(
                f"the embedding of {what} {bad[0]} of {len(values)} by {self.folder} is not finite ({len(bad)} are not): "
                "the weights are damaged, or they overflow at their precision"
            )
        return values.cpu().numpy()


def _load(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoProcessor

    if not (folder / "config.json").is_file():
        what = "is no folder" if not folder.is_dir() else "holds no config.json"
        raise CheckpointError(
            f"{folder} {what}; expected a CLIP or SigLIP model as save_pretrained of transformers writes it. "
            "assets/driving_clip is one (tools/make_driving_clip.py)."
        )
    try:
        model = AutoModel.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: transformers cannot load the model: {error}") from error
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise CheckpointError(
            f"{folder} holds a {type(model).__name__}, which has no common space of pictures and sentences; "
            "expected a contrastive image-text model such as CLIP or SigLIP"
        )
    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise CheckpointError(f"{folder}: transformers cannot load its processor: {error}") from error
    missing = [part for part in ("image_processor", "tokenizer") if getattr(processor, part, None) is None]
    if missing:
        raise CheckpointError(f"{folder} lacks its {' and '.join(missing)}: save the whole processor beside the model")
    return model, processor
