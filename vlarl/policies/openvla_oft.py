"""OpenVLA and OpenVLA-OFT; size, decoding and head are configuration.

OpenVLA-OFT: fused DINOv2 + SigLIP patches -> projector -> Llama with bidirectional attention over
``[BOS][patches of each camera][proprio][prompt][56 zeroed placeholders][stop]`` -> logits of the 256 action tokens,
one position to the left of each placeholder -> bins -> un-normalised actions. One forward pass gives a chunk.
With an L1 head the hidden states at the same positions give continuous actions instead.

OpenVLA: the same parts with causal attention over ``[BOS][patches][prompt][action tokens so far]``, one action of
seven tokens, each decoded from those before it.

Source: "OpenVLA: An Open-Source Vision-Language-Action Model" (arXiv 2406.09246), "Fine-Tuning Vision-Language-Action
Models: Optimizing Speed and Success" (arXiv 2502.19645) and the upstream repositories' ``modeling_prismatic.py``; the
sampled policy is SimpleVLA-RL's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from vlarl.env_protocol import Float32Array, Observation
from vlarl.errors import CheckpointError
from vlarl.nn.action_llama import AttentionKind
from vlarl.nn.openvla_network import OpenVlaNetwork
from vlarl.policies.action_tokens import (
    ActionTokens,
    expected_values,
    log_probs_and_entropy,
    log_probs_of,
    sample_tokens,
)
from vlarl.policies.checkpoint_files import read_policy_files, save_policy_files
from vlarl.policies.image_chain import prepare_image
from vlarl.policies.image_chain_torch import prepare_images
from vlarl.policies.loading import build
from vlarl.policies.normalisation import Normaliser, gripper_to_environment
from vlarl.policies.oft_config import ImageConfig, OpenVlaOftConfig
from vlarl.policies.prompt_tokenizer import build_tokenizer
from vlarl.policy import DEFAULT_LOAD, Decoding, LoadConfig
from vlarl.types import PolicyOutput

NO_TOKEN_RL = (
    "this checkpoint has an L1 regression head: it was trained to predict actions directly, and its language head "
    "never learned chunks of action tokens, so there are no probabilities to learn from and sampling tokens would be "
    "noise. It can be evaluated (--decoding greedy). For reinforcement learning take a checkpoint trained with "
    "discrete action tokens, for example one of SimpleVLA-RL's SFT checkpoints."
)


class OpenVlaOft(OpenVlaNetwork):
    """The policy.

    Args:
        config: dimensions and constants.
        tokenizer: of the prompts; part of the checkpoint.
        attention: implementation of the language model's attention.

    Example::

        policy = OpenVlaOft.from_pretrained("assets/openvla_oft_compact_object")
        output = policy.act([observation], [noise], Decoding())[0]
        env.step_chunk(output.actions)
    """

    def __init__(self, config: OpenVlaOftConfig, tokenizer: Tokenizer, *, attention: AttentionKind = "sdpa") -> None:
        super().__init__(config, attention=attention)
        self.tokenizer = tokenizer
        self.version = 0
        self.bins = ActionTokens(config.num_bins)
        self.action_normaliser = Normaliser(config.action_statistics, config.epsilon)
        proprio = config.proprio_statistics
        self.proprio_normaliser = None if proprio is None else Normaliser(proprio, config.epsilon)
        self._prompts: dict[str, Tensor] = {}

    @classmethod
    def from_scratch(cls, config: OpenVlaOftConfig, seed: int) -> Self:
        """A compact policy with random weights and the tokenizer of its vocabulary size."""
        torch.manual_seed(seed)
        policy = cls(config, build_tokenizer(config.language.token_vocab_size, config.num_bins))
        policy.language_model.initialise_from_scratch()
        return policy.eval()

    # ---- the protocol -------------------------------------------------------------------------------------------

    @property
    def noise_shape(self) -> tuple[int, int]:
        """One uniform number per action token."""
        return self.config.chunk, self.config.action_dim

    @torch.no_grad()
    def act(
        self, observations: Sequence[Observation], noise: Sequence[Float32Array], decoding: Decoding
    ) -> list[PolicyOutput]:
        """See ``vlarl.policy.Policy.act``; tokens number the bins in the order of their ids (see ``action_tokens``)."""
        if not observations:
            return []
        temperature = decoding.temperature
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; expected more than 0. For argmax use mode 'greedy'.")
        rows = self.prepare(observations)
        inputs = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        uniform = torch.from_numpy(np.stack([np.asarray(n, dtype=np.float32) for n in noise]))
        if self.action_head is not None:
            tokens, log_probs, normalised = self._regress(inputs, decoding)
        else:
            if self.config.decoding == "autoregressive":
                chosen = self._decode_in_turn(inputs, uniform, decoding)
                logits = self._logits(inputs, chosen)
            else:
                logits = self._logits(inputs, None)
            _require_finite(logits)
            tokens, normalised = self.choose(logits, uniform, decoding)
            log_probs = log_probs_of(logits, tokens, temperature)
        actions = self.actions_of(normalised)
        tokens_out, log_probs_out = tokens.cpu().numpy().astype(np.int16), log_probs.cpu().numpy()
        return [
            PolicyOutput(
                actions=actions[i],
                tokens=tokens_out[i],
                log_probs=log_probs_out[i],
                inputs=row,
                temperature=temperature,
                version=self.version,
            )
            for i, row in enumerate(rows)
        ]

    def evaluate(
        self, inputs: Mapping[str, Tensor], tokens: Tensor, temperature: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Differentiable log-probabilities and entropies ``float32 [N, chunk, action_dim]``, where ``tokens`` are.

        Rows of padding (an empty prompt) are computed with a one-token prompt; their values mean nothing.

        Raises:
            CheckpointError: the policy has no distribution over tokens.
        """
        if self.action_head is not None:
            raise CheckpointError(NO_TOKEN_RL)
        logits = self._logits(inputs, tokens)
        log_probs, entropies = log_probs_and_entropy(logits, tokens.to(logits.device), temperature)
        return log_probs.to(tokens.device), entropies.to(tokens.device)

    def values(self, inputs: Mapping[str, Tensor], *, head_only: bool = False) -> Tensor:
        """Differentiable value of each state, ``float32 [N]``; ``head_only``: in the value head's weights alone.

        Raises:
            CheckpointError: this policy has no value head.
        """
        if self.value_head is None:
            raise CheckpointError("this policy has no critic: load it with --load.value-head")
        assert self.value_head is not None
        with torch.set_grad_enabled(torch.is_grad_enabled() and not head_only):
            hidden = self._by_prompt(inputs, self.first_hidden)
        with self.computing():
            return self.value_head(hidden).to(inputs["prompt_ids"].device)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What reinforcement learning updates; the vision backbone is frozen after imitation.

        Raises:
            CheckpointError: the policy has no distribution over tokens.
        """
        if self.action_head is not None:
            raise CheckpointError(NO_TOKEN_RL)
        return [parameter for name, parameter in self.named_parameters() if self.is_trained(name)]

    def save_pretrained(self, folder: str | Path, card: dict[str, Any] | None = None) -> None:
        """Write ``config.json``, ``model.safetensors``, ``tokenizer.json`` and ``README.md`` (the model card)."""
        save_policy_files(folder, self.present_config(), self.state_dict(), self.tokenizer, card or {})

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, load: LoadConfig = DEFAULT_LOAD, seed: int = 0) -> Self:
        """Load a folder that ``save_pretrained`` wrote, a published one, or a LoRA adapter; nothing in it changes.

        Args:
            folder: of either layout.
            load: what the folder does not say, and how to compute.
            seed: of parts that are new (adapters, critic).

        Raises:
            CheckpointError: a file is missing or damaged, or holds another architecture.
        """
        return build(cls, read_policy_files(folder, load), load, seed)

    # ---- the parts ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def prepare(self, observations: Sequence[Observation]) -> list[dict[str, Tensor]]:
        """What ``evaluate`` needs of each observation: cached vision features, prompt, normalised proprioception.

        Features are rounded to 16 bits here, before anything is computed from them, so that the stored ones
        reproduce the log-probabilities exactly.
        """
        images = [self._image(seen, camera) for seen in observations for camera in self.config.cameras]
        if self.device.type == "cpu":
            prepared = torch.from_numpy(np.stack([prepare_image(image, *self._chain) for image in images]))
        else:
            prepared = prepare_images(images, *self._chain, self.device)
        rows = []
        for seen, features in zip(observations, self._features(prepared), strict=True):
            ids = self.prompt_ids(seen.instruction)
            padded = torch.full((self.config.prompt.max_tokens,), self.config.prompt.pad_id, dtype=torch.int32)
            padded[: len(ids)] = ids
            mask = torch.arange(len(padded)) < len(ids)
            row = {"features": features.half().cpu(), "prompt_ids": padded, "prompt_mask": mask}
            if self.proprio_normaliser is not None:
                proprio = self.proprio_normaliser.normalise(seen.state)
                row["proprio"] = torch.from_numpy(proprio.astype(np.float32))
            rows.append(row)
        return rows

    def _features(self, images: Tensor) -> Tensor:
        """``uint8 [N * cameras, size, size, 3]`` to vision features ``[N, cameras * patches, F]``.

        A single image is computed twice over: the library takes another kernel for it, with other rounding.
        """
        images = images.to(self.device)
        alone = len(images) == 1
        with self.computing():
            features = self.vision_backbone(torch.cat((images, images)) if alone else images)[: len(images)]
        return features.reshape(len(images) // len(self.config.cameras), -1, features.shape[-1])

    def prompt_ids(self, instruction: str) -> Tensor:
        """Token ids of the prompt, BOS first, ``int32 [L]``; kept per instruction."""
        if instruction not in self._prompts:
            prompt = self.config.prompt
            ids = self.tokenizer.encode(prompt.template.format(instruction=instruction.lower())).ids
            suffix = list(prompt.suffix_ids)
            if suffix and ids[-len(suffix) :] != suffix:
                ids += suffix
            if len(ids) > prompt.max_tokens:
                raise ValueError(
                    f"the prompt has {len(ids)} tokens; this policy takes {prompt.max_tokens} "
                    f"(field prompt.max_tokens): {instruction!r}"
                )
            self._prompts[instruction] = torch.tensor(ids, dtype=torch.int32)
        return self._prompts[instruction]

    def choose(self, logits: Tensor, noise: Tensor, decoding: Decoding) -> tuple[Tensor, np.ndarray]:
        """Tokens ``int64 [N, chunk, action_dim]`` and normalised actions of the same shape, by the decoding mode."""
        if decoding.mode == "expectation":
            values = torch.from_numpy(self.bins.values).to(logits.device)
            normalised = expected_values(logits, values, decoding.temperature).cpu().numpy()
            return torch.from_numpy(self.bins.encode(normalised).astype(np.int64)).to(logits.device), normalised
        if decoding.mode == "sample":
            tokens = sample_tokens(logits, noise.to(logits.device), decoding.temperature)
        else:
            tokens = logits.argmax(dim=-1)
        return tokens, self.bins.decode(tokens.cpu().numpy())

    def actions_of(self, normalised: np.ndarray) -> Float32Array:
        """Normalised actions ``[..., action_dim]`` to environment units ``float32``."""
        actions = self.action_normaliser.unnormalise(normalised)
        return gripper_to_environment(actions, self.config.gripper).astype(np.float32)

    def _logits(self, inputs: Mapping[str, Tensor], tokens: Tensor | None) -> Tensor:
        """Logits of stacked ``PolicyOutput.inputs``; token by token, each sees the true ``tokens`` before it."""
        return self._by_prompt(inputs, lambda *parts: self.action_logits(self.action_hidden(*parts)), tokens)

    def _by_prompt(
        self, inputs: Mapping[str, Tensor], function: Callable[..., Tensor], tokens: Tensor | None = None
    ) -> Tensor:
        """``function(features, ids, lengths, proprio, tokens)`` of stacked inputs, rows in their order.

        On the CPU, rows are grouped by prompt length, so no padding is ever computed: quicker, and the bits of a
        row do not depend on its neighbours. Elsewhere one padded batch with a mask (decoding in turn: groups too).
        """
        inputs = {name: value.to(self.device) for name, value in inputs.items()}
        tokens = None if tokens is None else tokens.to(self.device)
        lengths = inputs["prompt_mask"].sum(dim=1).clamp(min=1)
        ids, features, proprio = inputs["prompt_ids"].long(), inputs["features"], inputs.get("proprio")
        with self.computing():
            if features.device.type != "cpu" and self.config.decoding == "parallel":
                return function(features, ids[:, : int(lengths.max())], lengths, proprio, tokens)
            distinct = lengths.unique().tolist()
            if len(distinct) == 1:
                return function(features, ids[:, : distinct[0]], None, proprio, tokens)
            parts, order = [], []
            for length in distinct:
                rows = (lengths == length).nonzero()[:, 0]
                some = [None if value is None else value[rows] for value in (proprio, tokens)]
                parts.append(function(features[rows], ids[rows, :length], None, *some))
                order.append(rows)
            return torch.cat(parts)[torch.cat(order).argsort()]

    def _decode_in_turn(self, inputs: Mapping[str, Tensor], noise: Tensor, decoding: Decoding) -> Tensor:
        """Action tokens ``int64 [N, 1, action_dim]``, each decoded from those before it, with cached keys and values.

        Their probabilities are computed afterwards by ``_logits``, so that an update repeats them exactly.
        """

        def decode(features: Tensor, ids: Tensor, _: None, proprio: Tensor | None, noise: Tensor) -> Tensor:
            new, past = self.prompt_sequence(features, ids, proprio), []
            logits = noise.new_zeros(*noise.shape, self.config.num_bins)
            begin = self.config.action_token_begin
            for index in range(self.config.action_dim):
                hidden, past = self.language_model.extend(new, past)
                logits[:, 0, index] = self.language_model.logits(hidden, begin, begin + self.config.num_bins)
                chosen = self.choose(logits, noise, decoding)[0]
                new = self.language_model.embed(chosen[:, 0, index : index + 1] + begin)
            return chosen

        return self._by_prompt(inputs, decode, noise)

    def _regress(self, inputs: Mapping[str, Tensor], decoding: Decoding) -> tuple[Tensor, Tensor, np.ndarray]:
        """Nearest tokens, zeros, and the normalised actions of the L1 head."""
        if decoding.mode == "sample":
            raise CheckpointError(f"decoding 'sample' asks for a distribution over tokens, but {NO_TOKEN_RL}")
        head = self.action_head
        assert head is not None
        predicted = self._by_prompt(inputs, lambda *parts: head(self.action_hidden(*parts)).float())
        _require_finite(predicted)
        normalised = predicted.cpu().numpy().astype(np.float64)
        tokens = torch.from_numpy(self.bins.encode(normalised).astype(np.int64))
        return tokens, torch.zeros(tokens.shape), normalised

    def _image(self, observation: Observation, camera: str) -> np.ndarray:
        """One camera's image."""
        if camera not in observation.images:
            raise ValueError(
                f"the observation has no camera {camera!r} (it has {sorted(observation.images)}); this policy sees "
                f"{list(self.config.cameras)} (field cameras)"
            )
        return observation.images[camera]

    @property
    def _chain(self) -> tuple[ImageConfig, int]:
        """Steps and size of the prepared image."""
        return self.config.image, self.config.vision.image_size


def _require_finite(values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise FloatingPointError("the policy's logits are not finite: its weights or an observation hold NaN")
