"""transformers' Llama with full attention over the whole sequence, as OpenVLA-OFT's parallel decoding needs it.

Upstream gets this from a fork whose SDPA class ignores the causal mask; its eager and flash classes, and every
stock transformers, stay causal without a word and lose half the success rate. Here the mask is ours: the decoder
layers are called one by one with an explicit mask (or none, with ``is_causal`` off), whatever the library's default.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, repeat_kv, rotate_half

from vlarl.nn.fused_vision import output_of
from vlarl.policies.oft_config import LanguageConfig

Rotation = tuple[Tensor, Tensor]


class BidirectionalLlama(nn.Module):
    """A Llama without causality that returns logits of a range of token ids at chosen positions.

    Args:
        config: dimensions.
    """

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.model = LlamaForCausalLM(_llama_config(config))
        for layer in self.model.model.layers:
            layer.self_attn.is_causal = False

    def embed(self, token_ids: Tensor) -> Tensor:
        """``int64 [...]`` to ``[..., hidden_size]``."""
        return self.model.model.embed_tokens(token_ids)

    def forward(self, embeddings: Tensor, positions: Tensor | slice, lengths: Tensor | None = None) -> Tensor:
        """Final hidden states at ``positions``.

        Args:
            embeddings: ``[N, S, D]``, padding at the end of a row.
            positions: a slice of the sequence, or ``int64 [N, K]`` (each row its own).
            lengths: ``int64 [N]`` real tokens per row; None: no padding, and no mask is built.

        Returns:
            ``[N, K, D]`` after the final norm.
        """
        llama = self.model.model
        length = embeddings.shape[1]
        rotation = llama.rotary_emb(embeddings, position_ids=torch.arange(length, device=embeddings.device)[None])
        mask = None
        if lengths is not None:
            real = torch.arange(length, device=embeddings.device) < lengths[:, None]
            mask = torch.zeros(real.shape, dtype=embeddings.dtype, device=embeddings.device)
            mask = mask.masked_fill(~real, torch.finfo(embeddings.dtype).min)[:, None, None, :]
            mask = mask.expand(-1, 1, length, -1)
        hidden = embeddings
        layers: list[LlamaDecoderLayer] = list(llama.layers)  # pyrefly: ignore
        for layer in layers[:-1]:
            hidden = output_of(layer(hidden, attention_mask=mask, position_embeddings=rotation))
        return llama.norm(_layer_at(layers[-1], hidden, positions, rotation, mask))

    @torch.no_grad()
    def initialise_from_scratch(self) -> None:
        """Random weights that can learn with placeholders that are all zero.

        A zero vector has zero queries and keys, so the first layer gives every placeholder the same content, and
        from the second layer on only rotary positions tell them apart. With the usual standard deviation of 0.02
        a narrow network's attention starts uniform, positions have no effect, and imitation from scratch stays
        at the marginal distribution of actions. Unit-variance projections, and queries and keys of twice that,
        give attention that depends on position from the first step.
        """
        for layer in self.model.model.layers:
            attention = layer.self_attn
            for parameter in layer.parameters():
                if parameter.dim() == 2:
                    nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
            for projection in (attention.q_proj, attention.k_proj):
                nn.init.normal_(projection.weight, std=2.0 * projection.weight.shape[1] ** -0.5)

    def logits(self, hidden: Tensor, begin: int, end: int) -> Tensor:
        """``float32 [..., end - begin]``: logits of the token ids ``begin .. end - 1`` alone."""
        return functional.linear(hidden, self.model.lm_head.weight[begin:end]).float()


def _layer_at(
    layer: LlamaDecoderLayer, hidden: Tensor, positions: Tensor | slice, rotation: Rotation, mask: Tensor | None
) -> Tensor:
    """One decoder layer, computed at ``positions`` only: nothing reads the last layer's other outputs.

    Same arithmetic as the library's layer (a test holds them together); keys and values still cover every token.
    """
    attention = layer.self_attn
    normed = layer.input_layernorm(hidden)
    rows, _, width = hidden.shape
    cos, sin = rotation
    if isinstance(positions, slice):
        chosen, residual = normed[:, positions], hidden[:, positions]
        query_cos, query_sin = cos[:, positions], sin[:, positions]
    else:
        index = positions[:, :, None].expand(-1, -1, width)
        chosen, residual = normed.gather(1, index), hidden.gather(1, index)
        query_cos, query_sin = cos[0, positions], sin[0, positions]

    def heads(projected: Tensor) -> Tensor:
        return projected.view(rows, projected.shape[1], -1, attention.head_dim).transpose(1, 2)

    query = _rotate(heads(attention.q_proj(chosen)), query_cos, query_sin)
    key = repeat_kv(_rotate(heads(attention.k_proj(normed)), cos, sin), attention.num_key_value_groups)
    value = repeat_kv(heads(attention.v_proj(normed)), attention.num_key_value_groups)
    count = query.shape[2]
    attended = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=None if mask is None else mask[:, :, :count], scale=attention.scaling
    )
    residual = residual + attention.o_proj(attended.transpose(1, 2).reshape(rows, count, -1))
    return residual + layer.mlp(layer.post_attention_layernorm(residual))


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of ``[N, heads, K, head_dim]``."""
    return states * cos.unsqueeze(1) + rotate_half(states) * sin.unsqueeze(1)


def _llama_config(config: LanguageConfig) -> LlamaConfig:
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
        attn_implementation="sdpa",  # pyrefly: ignore[unexpected-keyword]
    )
    if hasattr(settings, "rope_parameters"):
        settings.rope_parameters = {"rope_type": "default", "rope_theta": config.rope_theta}
    else:
        settings.rope_theta = config.rope_theta
    return settings
