"""Everything an OpenVLA or OpenVLA-OFT policy needs to know besides its weights: the content of its ``config.json``.

Constants travel with the policy: normalisation statistics, cameras, image chain, prompt, chunk and token layout
all live here, so that a checkpoint means the same thing in training, in evaluation and on a robot.
The published 7B models and the compact ones differ in these numbers alone.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cattrs

from vlarl.errors import CheckpointError
from vlarl.files import read_json

MODEL_TYPE = "openvla_oft"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerConfig:
    """One of the two vision transformers."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    num_register_tokens: int = 0
    """Register tokens beside the class token (DINOv2 only; SigLIP has neither)."""
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6
    pixel_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    pixel_std: tuple[float, float, float] = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionConfig:
    """The vision backbone: DINOv2 with registers and SigLIP on the same patches, or SigLIP alone (OpenVLA v0.1)."""

    image_size: int
    patch_size: int
    dino: TowerConfig | None
    siglip: TowerConfig
    feature_layer: int = -2
    """Which block's output is used; -2, the second to last, is the published choice."""
    stem_channels: tuple[int, ...] = ()
    """Empty: the published linear patch embedding. Otherwise the widths of a strided convolution stem in its place."""

    @property
    def num_patches(self) -> int:
        """Patches per image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def feature_size(self) -> int:
        """Width of one patch's concatenated features."""
        return self.siglip.hidden_size + (0 if self.dino is None else self.dino.hidden_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageConfig:
    """The Llama. ``rms_norm_eps`` and ``rope_theta`` default to what OpenVLA's converter leaves in place."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    """Rows of the embedding, padding included; a multiple of ``pad_to_multiple_of``."""
    pad_to_multiple_of: int = 64
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    max_position_embeddings: int = 2048

    @property
    def token_vocab_size(self) -> int:
        """Vocabulary without padding; the last 256 of these ids are the action tokens (upstream's convention)."""
        return self.vocab_size - self.pad_to_multiple_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """From an upright camera image to the square the towers see."""

    mirror: bool = False
    """Flip left-right. Published checkpoints saw LIBERO's stock image rotated by 180 degrees, which is the
    mirror image of the upright one."""
    jpeg_quality: int = 0
    """Encode and decode as JPEG at this quality; 0: leave out. Published: 95."""
    lanczos_resize: bool = False
    """Resize to ``image_size`` with a Lanczos-3 filter; False: the camera must deliver that size."""
    bicubic_resize: bool = False
    """Resize with Pillow's bicubic filter instead: what OpenVLA's own processor does with an image of another size
    ("resize-naive"), and all that RLinf does on LIBERO."""
    camera_size: int = 0
    """Side of the square image that the camera must deliver [pixels]; 0: any. Published LIBERO checkpoints: 256."""
    crop_area: float = 1.0
    """Share of the area kept by a centre crop that is scaled back to full size. Published: 0.9."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileStatistics:
    """Normalisation of one vector: ``low`` maps to -1 and ``high`` to +1 where ``mask`` holds."""

    low: tuple[float, ...]
    """1 % quantile of the data in the published statistics (``q01``)."""
    high: tuple[float, ...]
    """99 % quantile (``q99``)."""
    mask: tuple[bool, ...] | None = None
    """None: every entry is normalised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptConfig:
    """How an instruction becomes token ids."""

    template: str = "In: What action should the robot take to {instruction}?\nOut:"
    """``{instruction}`` is replaced by the instruction in lower case."""
    suffix_ids: tuple[int, ...] = ()
    """Ids appended where the tokenised prompt does not end with them (29871, the empty piece, as published)."""
    max_tokens: int = 64
    """Prompts are padded to this length in ``PolicyOutput.inputs``; a longer one is an error."""
    stop_id: int = 2
    """Token after the placeholders."""
    pad_id: int = 32000


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """Size of the low-rank adapters; what they add is scaled by ``alpha / rank``, in layers of any rank."""

    rank: int
    alpha: float
    ranks: dict[str, int] = field(default_factory=dict)
    """Layer -> its rank, where that is another."""

    def __post_init__(self) -> None:
        for name, rank in {"rank": self.rank, **self.ranks}.items():
            if rank < 1:
                raise ValueError(f"adapter: {name}: expected a rank of at least 1, found {rank}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVlaOftConfig:
    """The whole of ``config.json``.

    Example::

        config = OpenVlaOftConfig.load("assets/openvla_oft_compact_object/config.json")
    """

    vision: VisionConfig
    language: LanguageConfig
    projector_hidden_size: int
    """Width between the projector's first and second layer (four times the feature width as published); 0: the
    two-layer projector of a single vision tower."""
    cameras: tuple[str, ...]
    """Names of the cameras, in sequence order."""
    action_statistics: QuantileStatistics
    proprio_statistics: QuantileStatistics | None
    """None: the policy takes no proprioception."""
    model_type: str = MODEL_TYPE
    format_version: int = FORMAT_VERSION
    decoding: Literal["parallel", "autoregressive"] = "parallel"
    """``parallel``: OpenVLA-OFT, all tokens of a chunk in one pass with full attention; ``autoregressive``: OpenVLA,
    one token after the other with causal attention."""
    head: Literal["tokens", "l1"] = "tokens"
    """``tokens``: a distribution over action tokens; ``l1``: continuous actions from a regression head, which can be
    evaluated but has no probabilities to learn from."""
    adapter: AdapterConfig | None = None
    """Low-rank adapters beside the linear layers of projector and language model; None: none."""
    value_head: bool = False
    """A critic on the hidden state that predicts the first action token."""
    chunk: int = 8
    action_dim: int = 7
    num_bins: int = 256
    epsilon: float = 1e-8
    """Added to ``high - low``, as OpenVLA-OFT does; the first OpenVLA adds nothing."""
    gripper: Literal["signed", "openvla"] = "openvla"
    """``signed``: the last action entry is -1 open, +1 close after un-normalisation. ``openvla``: it is 1 open, 0
    close, and becomes -sign(2 g - 1) for the environment."""
    action_space: str = "LIBERO OSC_POSE delta: x, y, z, rx, ry, rz, gripper; 20 Hz"
    image: ImageConfig = field(default_factory=ImageConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)

    def __post_init__(self) -> None:
        for name, condition, expected in self._checks():
            if not condition:
                raise ValueError(f"{name}: expected {expected}")

    def _checks(self) -> list[tuple[str, bool, str]]:
        """Field, whether it is usable, what was expected."""
        vision, language, proprio = self.vision, self.language, self.proprio_statistics
        dino = vision.dino
        widths = [len(self.action_statistics.low), len(self.action_statistics.high)]
        if self.action_statistics.mask is not None:
            widths.append(len(self.action_statistics.mask))
        return [
            ("model_type", self.model_type == MODEL_TYPE, f"{MODEL_TYPE!r}, found {self.model_type!r}"),
            (
                "format_version",
                self.format_version == FORMAT_VERSION,
                f"{FORMAT_VERSION}, found {self.format_version} (written by another version of vlarl)",
            ),
            (
                "vision.patch_size",
                vision.image_size % vision.patch_size == 0,
                f"a divisor of vision.image_size {vision.image_size}, found {vision.patch_size}",
            ),
            (
                "vision.dino.intermediate_size",
                dino is None or dino.intermediate_size % dino.hidden_size == 0,
                f"a multiple of its hidden_size, found {dino and dino.intermediate_size}",
            ),
            ("chunk", self.decoding == "parallel" or self.chunk == 1, "1 with decoding 'autoregressive'"),
            ("head", self.decoding == "parallel" or self.head == "tokens", "'tokens' with decoding 'autoregressive'"),
            (
                "language.vocab_size",
                language.token_vocab_size > self.num_bins,
                f"more than num_bins + pad_to_multiple_of, found {language.vocab_size}",
            ),
            ("cameras", len(self.cameras) > 0, "at least one camera name, found an empty list"),
            (
                "action_statistics",
                set(widths) == {self.action_dim},
                f"lists of action_dim = {self.action_dim} entries, found lengths {widths}",
            ),
            (
                "proprio_statistics",
                proprio is None or len(proprio.low) == len(proprio.high),
                "low and high of equal length",
            ),
            (
                "prompt.template",
                "{instruction}" in self.prompt.template,
                f"a text with {{instruction}} in it, found {self.prompt.template!r}",
            ),
        ]

    @property
    def num_action_tokens(self) -> int:
        """Logits, and with parallel decoding placeholders, per decision."""
        return self.chunk * self.action_dim

    @property
    def action_token_begin(self) -> int:
        """Id of the first of the ``num_bins`` action tokens."""
        return self.language.token_vocab_size - self.num_bins

    @property
    def proprio_size(self) -> int:
        """Width of the proprioceptive state, 0 without one."""
        return 0 if self.proprio_statistics is None else len(self.proprio_statistics.low)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``config.json``."""
        return dataclasses.asdict(self)

    @classmethod
    def load(cls, path: str | Path) -> OpenVlaOftConfig:
        """Read and check a ``config.json``.

        Raises:
            CheckpointError: names the file, the field, what was found and what was expected.
        """
        return cls.from_json(read_json(path), Path(path))

    @classmethod
    def from_json(cls, content: Any, path: Path) -> OpenVlaOftConfig:
        """The inverse of ``to_json``; ``path`` is named in errors.

        Raises:
            CheckpointError: see ``load``.
        """
        found = content.get("model_type") if isinstance(content, dict) else type(content).__name__
        if found != MODEL_TYPE:
            raise CheckpointError(
                f"{path}: field 'model_type' is {found!r}; expected {MODEL_TYPE!r}. This folder holds another "
                "kind of model; 'vlarl list' shows the policies there are."
            )
        try:
            return _converter().structure(content, cls)
        except Exception as error:  # cattrs groups several errors of several classes
            reasons = "; ".join(cattrs.transform_error(error, path="config", format_exception=_explain))
            raise CheckpointError(f"{path}: {reasons}") from error


def _explain(error: BaseException, kind: type | None) -> str:
    """What is said of one wrong field; our own messages already name what was found and expected."""
    if isinstance(error, TypeError | ValueError) and ("expected " in str(error)):
        return str(error)
    return cattrs.v.format_exception(error, kind)


def _converter() -> cattrs.Converter:
    """Strict: an unknown field is an error, and a text is not taken for a number."""
    converter = cattrs.Converter(forbid_extra_keys=True)

    def number(value: Any, kind: type) -> Any:
        accepted = (int, float) if kind is float else (kind,)
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"expected {kind.__name__}, found {value!r}")
        return kind(value)

    for kind in (int, float, bool, str):
        converter.register_structure_hook(kind, number)
    return converter
