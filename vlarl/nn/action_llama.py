"""transformers' Llama with the attention that OpenVLA needs: full for parallel decoding, causal for the first OpenVLA.

OpenVLA-OFT attends over the whole sequence in both directions. Upstream gets this from a fork whose SDPA class ignores
the causal mask; its eager and flash classes, and every stock transformers, stay causal without a word and lose half
the success rate. Here the mask is ours: the decoder layers are called one by one with an explicit mask (or none, with
``is_causal`` off), whatever the library's default, and ``attention_probe`` measures what came out of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, repeat_kv, rotate_half

from vlarl.nn.fused_vision import output_of
from vlarl.policies.oft_config import LanguageConfig

AttentionKind = Literal["sdpa", "eager"]
KeysAndValues = tuple[Tensor, Tensor]
Rotation = tuple[Tensor, Tensor]


class ActionLlama(nn.Module):
    """A Llama that returns logits of a range of token ids at chosen positions.

    Args:
        config: dimensions.
        causal: every token sees itself and what stands before it; False: every token sees all.
        attention: which implementation computes it; results differ by rounding.
    """

    def __init__(self, config: LanguageConfig, *, causal: bool = False, attention: AttentionKind = "sdpa") -> None:
        super().__init__()
        self.model = LlamaForCausalLM(_llama_config(config, attention))
        self.causal = causal
        self.attention: AttentionKind = attention
        self.recompute = False
        """Keep only each layer's input for the backward pass and compute the layer again there."""
        for layer in self.layers:
            layer.self_attn.is_causal = False

    @property
    def layers(self) -> list[LlamaDecoderLayer]:
        """The decoder layers, first to last."""
        return list(self.model.model.layers)  # pyrefly: ignore

    def embed(self, token_ids: Tensor) -> Tensor:
        """``int64 [...]`` to ``[..., hidden_size]``."""
        return self.model.model.embed_tokens(token_ids)

    def forward(self, embeddings: Tensor, positions: Tensor | slice, lengths: Tensor | None = None) -> Tensor:
        """Final hidden states at ``positions``.

        Args:
            embeddings: ``[N, S, D]``, padding at the end of a row.
            positions: a slice of the sequence, or ``int64 [N, K]`` (each row its own).
            lengths: ``int64 [N]`` real tokens per row; None: no padding.

        Returns:
            ``[N, K, D]`` after the final norm.
        """
        rotation = self._rotation(embeddings, 0)
        mask = self._mask(embeddings, lengths)
        hidden = embeddings
        for layer in self.layers[:-1]:
            hidden = self._run(_whole_layer, layer, hidden, rotation, mask)
        hidden = self._run(_last_layer, self.layers[-1], hidden, positions, rotation, mask, self.attention)
        return self.model.model.norm(hidden)

    def extend(self, embeddings: Tensor, past: list[KeysAndValues]) -> tuple[Tensor, list[KeysAndValues]]:
        """Causal decoding: the next tokens after those whose keys and values are in ``past`` (empty at first).

        Returns:
            The final hidden state of the last token ``[N, D]``, and the keys and values of all tokens so far.
        """
        before = past[0][0].shape[2] if past else 0
        rotation = self._rotation(embeddings, before)
        mask = self._mask(embeddings, None) if not past else None  # a single new token sees everything
        hidden, collected = embeddings, []
        for index, layer in enumerate(self.layers):
            keys_and_values = past[index] if past else None
            hidden, new = _layer_at(layer, hidden, slice(None), rotation, mask, self.attention, keys_and_values)
            collected.append(new)
        return self.model.model.norm(hidden[:, -1]), collected

    @torch.no_grad()
    def initialise_from_scratch(self) -> None:
        """Random weights that can learn with placeholders that are all zero.

        A zero vector has zero queries and keys, so the first layer gives every placeholder the same content, and
        from the second layer on only rotary positions tell them apart. With the usual standard deviation of 0.02
        a narrow network's attention starts uniform, positions have no effect, and imitation from scratch stays
        at the marginal distribution of actions. Unit-variance projections, and queries and keys of twice that,
        give attention that depends on position from the first step.
        """
        for layer in self.layers:
            attention = layer.self_attn
            for parameter in layer.parameters():
                if parameter.dim() == 2:
                    nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
            for projection in (attention.q_proj, attention.k_proj):
                nn.init.normal_(projection.weight, std=2.0 * projection.weight.shape[1] ** -0.5)

    def logits(self, hidden: Tensor, begin: int, end: int) -> Tensor:
        """``float32 [..., end - begin]``: logits of the token ids ``begin .. end - 1`` alone."""
        return functional.linear(hidden, self.model.lm_head.weight[begin:end]).float()

    def _rotation(self, embeddings: Tensor, before: int) -> Rotation:
        length = embeddings.shape[1]
        place = torch.arange(before, before + length, device=embeddings.device)[None]
        return self.model.model.rotary_emb(embeddings, position_ids=place)

    def _mask(self, embeddings: Tensor, lengths: Tensor | None) -> Tensor | None:
        """Additive mask ``[N or 1, 1, S, S]``; None where every token sees every token."""
        length, device = embeddings.shape[1], embeddings.device
        if lengths is None and not self.causal:
            return None
        place = torch.arange(length, device=device)
        hidden = torch.zeros(1, 1, length, dtype=torch.bool, device=device)
        if lengths is not None:
            hidden = (place >= lengths[:, None])[:, None, :]
        if self.causal:
            hidden = hidden | (place[None, :] > place[:, None])
        mask = torch.zeros(hidden.shape, dtype=embeddings.dtype, device=device)
        mask = mask.masked_fill(hidden, torch.finfo(embeddings.dtype).min)
        return mask[:, None].expand(-1, 1, length, -1)

    def _run(self, function: Callable[..., Tensor], *arguments: object) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
        return function(*arguments)


@torch.no_grad()
def attention_probe(llama: ActionLlama, length: int = 6) -> float:
    """How much the first position's output moves when only the last token changes (0 for causal attention)."""
    weight = llama.model.model.embed_tokens.weight
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(1, length, weight.shape[1], generator=generator) for _ in range(2))
    other[:, :-1] = one[:, :-1]
    outputs = [llama(row.to(weight.device, weight.dtype), slice(0, 1)).float() for row in (one, other)]
    return float((outputs[0] - outputs[1]).abs().max())


def _whole_layer(layer: LlamaDecoderLayer, hidden: Tensor, rotation: Rotation, mask: Tensor | None) -> Tensor:
    return output_of(layer(hidden, attention_mask=mask, position_embeddings=rotation))


def _last_layer(
    layer: LlamaDecoderLayer,
    hidden: Tensor,
    positions: Tensor | slice,
    rotation: Rotation,
    mask: Tensor | None,
    attention: AttentionKind,
) -> Tensor:
    return _layer_at(layer, hidden, positions, rotation, mask, attention)[0]


def _layer_at(
    layer: LlamaDecoderLayer,
    hidden: Tensor,
    positions: Tensor | slice,
    rotation: Rotation,
    mask: Tensor | None,
    attention: AttentionKind,
    past: KeysAndValues | None = None,
) -> tuple[Tensor, KeysAndValues]:
    """One decoder layer, computed at ``positions`` only: nothing reads the last layer's other outputs.

    Same arithmetic as the library's layer (a test holds them together); keys and values still cover every token.
    """
    block = layer.self_attn
    normed = layer.input_layernorm(hidden)
    rows, _, width = hidden.shape
    cos, sin = rotation
    if isinstance(positions, slice):
        chosen, residual = normed[:, positions], hidden[:, positions]
        query_cos, query_sin = cos[:, positions], sin[:, positions]
        mask = None if mask is None else mask[:, :, positions]
    else:
        index = positions[:, :, None].expand(-1, -1, width)
        chosen, residual = normed.gather(1, index), hidden.gather(1, index)
        query_cos, query_sin = cos[0, positions], sin[0, positions]
        if mask is not None:
            mask = mask.expand(rows, 1, -1, -1).gather(2, positions[:, None, :, None].expand(-1, -1, -1, mask.shape[3]))

    def heads(projected: Tensor) -> Tensor:
        return projected.view(rows, projected.shape[1], -1, block.head_dim).transpose(1, 2)

    query = _rotate(heads(block.q_proj(chosen)), query_cos, query_sin)
    key, value = _rotate(heads(block.k_proj(normed)), cos, sin), heads(block.v_proj(normed))
    if past is not None:
        key, value = torch.cat((past[0], key), dim=2), torch.cat((past[1], value), dim=2)
    keys, values = (repeat_kv(states, block.num_key_value_groups) for states in (key, value))
    attended = _attend(query, keys, values, mask, block.scaling, attention)
    residual = residual + block.o_proj(attended.transpose(1, 2).reshape(rows, query.shape[2], -1))
    return residual + layer.mlp(layer.post_attention_layernorm(residual)), (key, value)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, attention: AttentionKind
) -> Tensor:
    if attention == "sdpa":
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    scores = query @ key.transpose(2, 3) * scale
    if mask is not None:
        scores = scores + mask
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype) @ value


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of ``[N, heads, K, head_dim]``."""
    return states * cos.unsqueeze(1) + rotate_half(states) * sin.unsqueeze(1)


def _llama_config(config: LanguageConfig, attention: AttentionKind) -> LlamaConfig:
    """The library's configuration of these dimensions (RoPE's base moved into ``rope_parameters`` in version 5)."""
    settings = LlamaConfig(
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads,
        vocab_size=config.vocab_size,
        rms_norm_eps=config.rms_norm_eps,
        max_position_embeddings=config.max_position_embeddings,
        tie_word_embeddings=False,
        attention_dropout=0.0,
        use_cache=False,
        attn_implementation=attention,  # pyrefly: ignore[unexpected-keyword]
    )
    if hasattr(settings, "rope_parameters"):
        settings.rope_parameters = {"rope_type": "default", "rope_theta": config.rope_theta}
    else:
        settings.rope_theta = config.rope_theta
    return settings
