"""ViT blocks: equation 5 and the layers against few-line references, tokens in their places, the filter."""

import pytest
import torch
from torch.nn import functional as F

from portrayal.systems.export3d.vit import (
    EAdaLnVitBlock,
    ExpressionNorm,
    MixFfn,
    OverlapPatchMerge,
    SelfAttention,
    ShuffleUp,
    VitBlock,
    gaussian_kernel,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_eadaln_is_equation_5():
    norm = ExpressionNorm(16, 8)
    x, expression = torch.randn(2, 5, 16), torch.randn(2, 8)
    torch.testing.assert_close(norm(x, expression), F.layer_norm(x, (16,)), atol=0.3, rtol=0.1)  # as it begins
    torch.nn.init.normal_(norm.scale_shift.weight)
    sigma = expression @ norm.scale_shift.weight[:16].T + 1
    mu = expression @ norm.scale_shift.weight[16:].T
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    by_hand = sigma[:, None] * (x - mean) / (variance + 1e-5).sqrt() + mu[:, None]
    torch.testing.assert_close(norm(x, expression), by_hand)


def test_attention_is_torchs():
    mine, torchs = SelfAttention(16, 4), torch.nn.MultiheadAttention(16, 4, batch_first=True)
    torchs.in_proj_weight.data, torchs.in_proj_bias.data = mine.query_key_value.weight, mine.query_key_value.bias
    torchs.out_proj.weight.data, torchs.out_proj.bias.data = mine.out.weight, mine.out.bias
    x = torch.randn(2, 6, 16)
    torch.testing.assert_close(mine(x), torchs(x, x, x)[0])


def test_mix_ffn_looks_at_the_neighbours_of_a_token_only():
    """Tokens of a map of 4 x 6: number 8 is row 1, column 2."""
    ffn = MixFfn(8, 2)
    x = torch.randn(1, 24, 8)
    changed = x.clone()
    changed[:, 8] += 1
    moved = (ffn(x, 4) != ffn(changed, 4)).any(-1)[0].reshape(4, 6)
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[0:3, 1:4] = True
    assert torch.equal(moved, expected)


def test_mix_ffn_is_segformers_equation_3():
    ffn = MixFfn(4, 3)
    x = torch.randn(1, 6, 4)
    wide = (x @ ffn.widen.weight.T + ffn.widen.bias)[0].T.reshape(12, 2, 3)
    mixed = torch.zeros_like(wide)
    padded = F.pad(wide, (1, 1, 1, 1))
    for c in range(12):
        for y in range(2):
            for z in range(3):
                mixed[c, y, z] = (padded[c, y : y + 3, z : z + 3] * ffn.mix.weight[c, 0]).sum() + ffn.mix.bias[c]
    made = F.gelu(mixed).reshape(12, 6).T @ ffn.narrow.weight.T + ffn.narrow.bias
    torch.testing.assert_close(ffn(x, 2)[0], made)


def test_patches_overlap_and_are_merged_where_they_are():
    merge = OverlapPatchMerge(3, 8)
    x = torch.randn(1, 3, 8, 12)
    changed = x.clone()
    changed[..., 3, 4] += 1  # row 3 is seen by the patches around rows 2 and 4, column 4 by one only
    moved = (merge(x) != merge(changed)).any(-1)[0].reshape(4, 6).nonzero().tolist()
    assert merge(x).shape == (1, 24, 8)
    assert moved == [[1, 2], [2, 2]]


def test_blocks_add_to_their_tokens():
    """With zeros at the end of both branches, a block is the identity; only EAdaLN's knows the expression."""
    conditional, plain = EAdaLnVitBlock(16, 8, heads=2, expansion=2), VitBlock(16, heads=2, expansion=2)
    x, expression = torch.randn(2, 12, 16), torch.randn(2, 8)
    assert not torch.allclose(conditional(x, expression, 3), x)
    plain.attention.load_state_dict(conditional.attention.state_dict())
    plain.ffn.load_state_dict(conditional.ffn.state_dict())
    torch.testing.assert_close(conditional(x, expression, 3), plain(x, 3), atol=0.2, rtol=0.1)  # as it begins
    for norm in (conditional.norm1, conditional.norm2):
        torch.nn.init.normal_(norm.scale_shift.weight)
        assert not torch.allclose(conditional(x, expression, 3), plain(x, 3), atol=1e-2)
        torch.nn.init.zeros_(norm.scale_shift.weight)
    for layer in (plain.attention.out, plain.ffn.narrow):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    assert torch.equal(plain(x, 3), x)


def test_a_shuffled_map_is_without_the_grid():
    """Channels 0 to 3 become the four pixels of a token's 2 x 2 (row, column)."""
    up = ShuffleUp(1.0)
    constant = torch.full((1, 12, 4), 2.5)
    torch.testing.assert_close(up(constant, 3), torch.full((1, 1, 6, 8), 2.5))
    grid = torch.tensor([1.0, -1, -1, 1]).expand(1, 12, 4)  # a chequerboard
    assert up(grid, 3)[..., 2:-2, 2:-2].abs().max() < 1e-3
    lines = torch.tensor([1.0, -1, 1, -1]).expand(1, 12, 4)
    assert up(lines, 3)[..., 2:-2, 2:-2].abs().max() < 0.03
    one = torch.zeros(1, 25, 4)
    one[0, 12, 1] = 1  # token of row 2, column 2; upper right pixel: row 4, column 5
    torch.testing.assert_close(up(one, 5)[0, 0, 2:7, 3:8], gaussian_kernel(1.0))


def test_gaussian_kernel():
    kernel = gaussian_kernel(0.8)
    assert kernel.sum().item() == pytest.approx(1)
    assert (kernel[2, 3] / kernel[2, 2]).item() == pytest.approx(2.718281828 ** (-0.5 / 0.64), rel=1e-5)
    torch.testing.assert_close(kernel, kernel.T)
