"""The spectrum of ``B A`` without forming it, cuts that are the best there are, and ranks that come and go."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlarl.errors import ConfigError
from vlarl.nn.adapters import LowRankLinear, adapters, add_adapters, set_ranks
from vlarl.nn.low_rank import resized, singular_values, truncate


def layer_with(b: torch.Tensor, a: torch.Tensor, alpha: float = 6.0) -> LowRankLinear:
    layer = LowRankLinear(a.shape[1], b.shape[0], bias=True, rank=a.shape[0], alpha=alpha).to(b.dtype)
    layer.set_factors(b, a)
    return layer


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.integers(2, 12), st.integers(2, 12), st.integers(1, 8), st.integers(1, 8))
def test_spectrum_and_cut_against_the_svd_of_the_product(seed, out, width, rank, kept):
    """Ranks above the layer's own sizes too: factors may have more directions than their product can."""
    generator = torch.Generator().manual_seed(seed)
    b = torch.randn(out, rank, generator=generator, dtype=torch.float64)
    a = torch.randn(rank, width, generator=generator, dtype=torch.float64)
    layer, product = layer_with(b, a), b @ a
    u, sigma, vh = torch.linalg.svd(product, full_matrices=False)
    found = singular_values(*layer.factors())
    count = min(len(found), len(sigma))
    torch.testing.assert_close(found[:count], sigma[:count], atol=1e-10, rtol=0)
    assert not found[count:].any() and (sigma[count:] < 1e-10).all()
    kept = min(kept, count)
    first, second = truncate(*layer.factors(), kept)
    assert first.shape == (out, kept) and second.shape == (kept, width)
    best = u[:, :kept] * sigma[:kept] @ vh[:kept]
    torch.testing.assert_close(first @ second, best, atol=1e-9, rtol=0)
    error = torch.linalg.norm(product - first @ second)  # Eckart and Young: what is left out, and no less is possible
    torch.testing.assert_close(error, sigma[kept:].norm(), atol=1e-9, rtol=0)
    torch.testing.assert_close(
        first.mT @ first, second @ second.mT, atol=1e-9, rtol=0
    )  # balanced: both are diag(sigma)


def test_a_cut_that_leaves_nothing_out_changes_no_output():
    torch.manual_seed(0)
    b, a = torch.randn(40, 3) @ torch.randn(3, 8), torch.randn(8, 30)  # rank 3 in factors of rank 8
    layer, x = layer_with(b, a), torch.randn(5, 30)
    before, scale, parameters = layer(x).detach(), layer.scale, [layer.lora_a, layer.lora_b]
    layer.set_factors(*truncate(*layer.factors(), 3))
    assert layer.rank == 3 and layer.scale == scale
    torch.testing.assert_close(layer(x), before, atol=1e-3, rtol=1e-4)
    assert layer.lora_a is parameters[0] and layer.lora_b is parameters[1]  # an optimiser's references stay good
    layer(x).sum().backward()
    assert layer.lora_a.grad.shape == (3, 30) and layer.lora_b.grad.shape == (40, 3)
    layer.set_factors(*resized(*layer.factors(), 6))
    assert layer.rank == 6 and layer.lora_a.grad is None
    torch.testing.assert_close(layer(x), before, atol=1e-3, rtol=1e-4)


def test_ranks_are_taken_over_from_what_is_loaded():
    net, other = (torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)) for _ in "ab")
    for module in (net, other):
        add_adapters(module, rank=4, alpha=4.0)
    for name, layer in adapters(net):
        layer.set_factors(torch.randn(layer.out_features, 1 + int(name)), torch.randn(1 + int(name), layer.in_features))
    other.load_state_dict(net.state_dict())
    assert {name: layer.rank for name, layer in adapters(other)} == {"0": 1, "2": 3}
    x = torch.randn(2, 4)
    assert torch.equal(net(x), other(x))
    wrong = net.state_dict() | {"0.lora_a": torch.zeros(1, 5)}
    with pytest.raises(RuntimeError, match=r"size mismatch for 0.lora_a"):
        other.load_state_dict(wrong)


def test_ranks_of_layers_that_have_no_adapter_are_refused():
    net = torch.nn.Sequential(torch.nn.Linear(4, 6))
    add_adapters(net, rank=4, alpha=4.0)
    set_ranks(net, {"0": 2})
    assert net[0].lora_b.shape == (6, 2)
    with pytest.raises(ConfigError, match=r"unknown adapted layer '00'. Did you mean '0'"):
        set_ranks(net, {"00": 2})
