"""Names and shapes of the published OpenVLA weights, translated to ours and back: the only place that knows both.

The published vision towers are timm's: fused ``qkv`` matrices, LayerScale as ``scale_factor``, position embeddings
without a row for the class token. Ours are transformers': separate matrices, ``lambda1``, and a row for the class
token (zero here, which is what "no row" means). Every tensor is renamed, cut or joined, never computed with, so a
round trip gives the same bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from vlarl.policies.oft_config import VisionConfig

UNUSED = re.compile(r"vision_backbone\.(fused_)?featurizer\.attn_pool\..+")
"""SigLIP's attention pool: stored, but no OpenVLA forward pass reads it."""

Pairs = tuple[tuple[str, str], ...]

_DINO: Pairs = (
    ("cls_token", "embeddings.cls_token"),
    ("reg_token", "embeddings.register_tokens"),
    ("mask_token", "embeddings.mask_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("patch_embed.proj.<rest>", "embeddings.patch_embeddings.projection.<rest>"),
    ("norm.<rest>", "layernorm.<rest>"),
    ("blocks.<n>.ls1.scale_factor", "encoder.layer.<n>.layer_scale1.lambda1"),
    ("blocks.<n>.ls2.scale_factor", "encoder.layer.<n>.layer_scale2.lambda1"),
    ("blocks.<n>.norm1.<rest>", "encoder.layer.<n>.norm1.<rest>"),
    ("blocks.<n>.norm2.<rest>", "encoder.layer.<n>.norm2.<rest>"),
    ("blocks.<n>.attn.<qkv>.<rest>", "encoder.layer.<n>.attention.<qkv>_proj.<rest>"),
    ("blocks.<n>.attn.proj.<rest>", "encoder.layer.<n>.attention.o_proj.<rest>"),
    ("blocks.<n>.mlp.<rest>", "encoder.layer.<n>.mlp.<rest>"),
)
"""timm's name and transformers' name of the same tensor; ``<qkv>`` is one of q, k, v after cutting."""

_SIGLIP: Pairs = (
    ("pos_embed", "embeddings.position_embedding.weight"),
    ("patch_embed.proj.<rest>", "embeddings.patch_embedding.<rest>"),
    ("norm.<rest>", "post_layernorm.<rest>"),
    ("blocks.<n>.norm1.<rest>", "encoder.layers.<n>.layer_norm1.<rest>"),
    ("blocks.<n>.norm2.<rest>", "encoder.layers.<n>.layer_norm2.<rest>"),
    ("blocks.<n>.attn.<qkv>.<rest>", "encoder.layers.<n>.self_attn.<qkv>_proj.<rest>"),
    ("blocks.<n>.attn.proj.<rest>", "encoder.layers.<n>.self_attn.out_proj.<rest>"),
    ("blocks.<n>.mlp.<rest>", "encoder.layers.<n>.mlp.<rest>"),
)

_L1_HEAD: Pairs = (
    ("model.mlp_resnet_blocks.<n>.ffn.<rest>", "action_head.blocks.<n>.<rest>"),
    ("model.<rest>", "action_head.<rest>"),
)


class PublishedNames:
    """Translates the tensors of one architecture.

    Args:
        vision: says which towers there are.
    """

    def __init__(self, vision: VisionConfig) -> None:
        fused = vision.dino is not None
        self._num_patches = vision.num_patches
        self._towers = [("vision_backbone.fused_featurizer.", "vision_backbone.siglip.model.", _SIGLIP)]
        if fused:
            self._towers.append(("vision_backbone.featurizer.", "vision_backbone.dino.model.", _DINO))
        else:
            self._towers = [("vision_backbone.featurizer.", "vision_backbone.siglip.model.", _SIGLIP)]

    def to_ours(self, name: str, tensor: Tensor) -> dict[str, Tensor]:
        """Our tensors from a published one: usually one, three from a fused ``qkv``, none from an unused one.

        Raises:
            KeyError: no OpenVLA checkpoint has a tensor of that name.
        """
        if UNUSED.fullmatch(name):
            return {}
        if name.startswith("language_model."):
            return {name.replace("language_model.", "language_model.model.", 1): tensor}
        if name.startswith(("projector.", "proprio_projector.", "action_head.", "value_head.")):
            return {name: tensor}
        for theirs, ours, pairs in self._towers:
            if not name.startswith(theirs):
                continue
            rest = re.sub(r"(ls[12])\.gamma$", r"\1.scale_factor", name.removeprefix(theirs))
            match = re.fullmatch(r"(blocks\.\d+\.attn\.)qkv\.(weight|bias)", rest)
            if match is None:
                return {ours + _rename(rest, pairs, 0): self._unfold(rest, tensor, pairs)}
            parts = zip("qkv", tensor.chunk(3, dim=0), strict=True)
            return {ours + _rename(f"{match[1]}{q}.{match[2]}", pairs, 0): part.contiguous() for q, part in parts}
        raise KeyError(name)

    def to_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All published tensors from our ``state_dict``; what cannot be renamed alone (``qkv``) is joined."""
        result: dict[str, Tensor] = {}
        for name, tensor in state.items():
            published = self.name(name)
            match = re.fullmatch(r"(.+\.attn\.)([qkv])(\.(?:weight|bias))", published)
            if match is not None:
                if match[2] == "q":
                    letters = [name.replace(".q_proj.", f".{letter}_proj.") for letter in "qkv"]
                    result[f"{match[1]}qkv{match[3]}"] = torch.cat([state[one] for one in letters], dim=0)
                continue
            if published.endswith(".mask_token") and not bool(tensor.any()):
                continue
            if published.endswith(".reg_token") and tensor.shape[1] == 0:
                continue
            result[published] = self._fold(published, tensor)
        return result

    def name(self, ours: str) -> str:
        """The published name of one of our tensors; for part of a ``qkv``, its name with q, k or v in that place."""
        for theirs, prefix, pairs in self._towers:
            if ours.startswith(prefix):
                return theirs + _rename(ours.removeprefix(prefix), pairs, 1)
        return ours.replace("language_model.model.", "language_model.", 1)

    def absent(self, vision: VisionConfig) -> dict[str, Tensor]:
        """Tensors that we have and published files leave out."""
        if vision.dino is None:
            return {}
        width, prefix = vision.dino.hidden_size, "vision_backbone.dino.model.embeddings."
        left_out = {f"{prefix}mask_token": torch.zeros(1, width)}
        if vision.dino.num_register_tokens == 0:
            left_out[f"{prefix}register_tokens"] = torch.zeros(1, 0, width)
        return left_out

    def _unfold(self, name: str, tensor: Tensor, pairs: Pairs) -> Tensor:
        if name != "pos_embed":
            return tensor
        if pairs is _SIGLIP:
            return tensor[0]
        missing_row = tensor.shape[1] == self._num_patches
        return torch.cat((torch.zeros_like(tensor[:, :1]), tensor), dim=1) if missing_row else tensor

    def _fold(self, name: str, tensor: Tensor) -> Tensor:
        if not name.endswith(".pos_embed"):
            return tensor
        if tensor.dim() == 2:
            return tensor[None]
        return tensor if bool(tensor[:, 0].any()) else tensor[:, 1:]


def head_to_ours(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Our names of an ``action_head--*`` file's tensors.

    Raises:
        KeyError: a tensor that no L1 head has.
    """
    return {_rename(name, _L1_HEAD, 0): tensor for name, tensor in tensors}


def _rename(name: str, pairs: Pairs, source: int) -> str:
    """``name`` in the other spelling; ``source`` is the column that it is written in."""
    for pair in pairs:
        match = re.fullmatch(_pattern(pair[source]), name)
        if match is not None:
            result = pair[1 - source]
            for key, value in match.groupdict().items():
                result = result.replace(f"<{key}>", value)
            return result
    raise KeyError(name)


def _pattern(template: str) -> str:
    """A template as a regular expression."""
    pattern = re.escape(template).replace("<n>", r"(?P<n>\d+)").replace("<qkv>", "(?P<qkv>[qkv])")
    return pattern.replace("<rest>", "(?P<rest>.+)")
