"""CLeBS: equations 1 to 3 against their definitions, the basis in training, what the encoders react to."""

import math
from dataclasses import replace

import pytest
import torch

from portrayal.errors import InputError
from portrayal.systems.export3d.clebs import (
    ExpressionEncoder,
    ImageEncoder,
    contrastive_loss,
    orthonormal_basis,
    retrieval_accuracy,
    similarities,
)
from portrayal.systems.export3d.config import ClebsConfig, Config

TINY = Config.tiny().clebs


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def faces(b=2, n=6, d=16):
    return torch.randn(2, b, n, d, generator=torch.Generator().manual_seed(1))


def equation_1(expressions, images, temperature, with_positive):
    """Word for word, with loops."""
    terms = []
    for f_e, f_i in zip(expressions, images, strict=True):
        for k in range(len(f_e)):
            cos = [float(x @ f_e[k] / (x.norm() * f_e[k].norm())) for x in f_i]
            others = sum(math.exp(c / temperature) for j, c in enumerate(cos) if j != k or with_positive)
            terms.append(-math.log(math.exp(cos[k] / temperature) / others))
    return sum(terms) / len(terms)


@pytest.mark.parametrize(("objective", "with_positive"), [("paper", False), ("info-nce", True)])
def test_the_loss_is_equation_1(objective, with_positive):
    expressions, images = faces()
    loss = contrastive_loss(expressions, images, temperature=0.5, objective=objective)
    assert loss.item() == pytest.approx(equation_1(expressions, images, 0.5, with_positive), rel=1e-5)


def test_only_the_papers_sum_leaves_the_positive_out():
    """All alike: log of the number of pictures in the sum. Perfectly matched: the paper's loss is below zero."""
    same = torch.ones(1, 33, 4)
    assert contrastive_loss(same, same).item() == pytest.approx(math.log(32), rel=1e-5)
    assert contrastive_loss(same, same, objective="info-nce").item() == pytest.approx(math.log(33), rel=1e-5)
    apart = torch.eye(33)[None]
    assert contrastive_loss(apart, apart).item() == pytest.approx(math.log(32) - 1 / 0.07, rel=1e-5)
    assert 0 < contrastive_loss(apart, apart, objective="info-nce").item() < 1e-3


def test_the_loss_knows_directions_only_and_no_order_of_frames_or_clips():
    expressions, images = faces()
    loss = contrastive_loss(expressions, images)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(contrastive_loss(3 * expressions, 0.2 * images), loss)
    torch.testing.assert_close(contrastive_loss(expressions[:, order], images[:, order]), loss)
    torch.testing.assert_close(contrastive_loss(expressions.flip(0), images.flip(0)), loss)
    assert abs(contrastive_loss(expressions, images[:, order]) - loss) > 0.1


def test_clips_are_no_negatives_of_each_other():
    expressions, images = faces()
    alone = [contrastive_loss(expressions[i : i + 1], images[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(contrastive_loss(expressions, images), torch.stack(alone).mean())


def test_retrieval_accuracy():
    pictures = torch.eye(4)[None]
    assert retrieval_accuracy(pictures, pictures) == 1
    assert retrieval_accuracy(pictures[:, [1, 0, 2, 3]], pictures) == 0.5
    assert similarities(2 * pictures, pictures)[0, 1].tolist() == [0, 1, 0, 0]


def test_the_basis_is_gram_schmidt_of_the_weight():
    weight = torch.randn(12, 5, dtype=torch.float64)
    vectors = []
    for column in weight.T:
        rest = column - sum(((v @ column) * v for v in vectors), torch.zeros(12, dtype=torch.float64))
        vectors.append(rest / rest.norm())
    torch.testing.assert_close(orthonormal_basis(weight), torch.stack(vectors))


def test_the_basis_turns_no_vector_around_when_the_weight_moves_a_little():
    weight = torch.randn(64, 10)
    moved = orthonormal_basis(weight + 1e-3 * torch.randn(64, 10))
    assert (moved * orthonormal_basis(weight)).sum(-1).min() > 0.99


@pytest.mark.parametrize("config", [Config.tiny().clebs, Config.compact().clebs, Config.paper().clebs])
def test_the_basis_stays_orthonormal_in_training(config):
    net = ExpressionEncoder(config)
    before = net.basis().detach()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(5):
        loss = (net(torch.randn(8, 64)) - torch.randn(8, config.dimension)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = net.basis().detach()
    assert after.shape == (config.coefficients, config.dimension)
    assert (after - before).abs().max() > 0.01
    for basis in (before, after):
        torch.testing.assert_close(basis @ basis.mT, torch.eye(config.coefficients), atol=1e-5, rtol=0)


def test_equation_3():
    net = ExpressionEncoder(TINY)
    expression = torch.randn(3, 64)
    scale, basis = net.coefficients(expression), net.basis()
    summed = sum(scale[:, i : i + 1] * basis[i] for i in range(TINY.coefficients))
    torch.testing.assert_close(net(expression), summed)
    # An orthonormal basis keeps lengths and lets lambda be read back.
    torch.testing.assert_close(net(expression).norm(dim=-1), scale.norm(dim=-1))
    torch.testing.assert_close(net(expression) @ basis.mT, scale)
    torch.testing.assert_close(net.scale_basis(torch.eye(TINY.coefficients)), basis)


def test_any_leading_axes():
    net = ExpressionEncoder(TINY)
    expression = torch.randn(2, 3, 64)
    torch.testing.assert_close(net(expression)[1, 2], net(expression[1, 2]))


def test_the_basis_is_reckoned_in_float32_under_autocast():
    net = ExpressionEncoder(TINY)
    with torch.autocast("cpu", torch.bfloat16):
        made = net(torch.randn(3, 64))
        basis = net.basis()
    assert made.dtype == basis.dtype == torch.float32
    torch.testing.assert_close(basis @ basis.mT, torch.eye(TINY.coefficients), atol=1e-5, rtol=0)


def test_gaze_is_an_option():
    net = ExpressionEncoder(replace(TINY, gaze=True))
    expression, gaze = torch.zeros(2, 64), torch.zeros(2, 2, 2)
    gaze[1, 0, 1] = 0.2
    made = net(expression, gaze)
    assert (made[0] - made[1]).abs().max() > 1e-3
    with pytest.raises(InputError, match=r"clebs\.gaze is set: the expression encoder needs the gaze"):
        net(expression)
    with pytest.raises(InputError, match=r"clebs\.gaze is not set"):
        ExpressionEncoder(TINY)(expression, gaze)
    with pytest.raises(InputError, match="an expression has 64 coefficients, got 63"):
        ExpressionEncoder(TINY)(torch.zeros(2, 63))


def test_every_parameter_gets_a_gradient():
    expression, image = ExpressionEncoder(TINY), ImageEncoder(TINY)
    pictures = torch.rand(2 * 6, 3, 64, 64)
    made = image(pictures).unflatten(0, (2, 6))
    contrastive_loss(expression(torch.randn(2, 6, 64)), made).backward()
    for name, p in (*expression.named_parameters(), *image.named_parameters()):
        assert p.grad is not None, name
        assert p.grad.abs().max() > 0, name


def test_the_channels_weights_look_at_the_whole_map():
    """A change in one corner reaches the opposite one, which no convolution of one block could do."""
    block = ImageEncoder(TINY).blocks[0].eval()
    x = torch.rand(1, 8, 16, 16)
    changed = x.clone()
    changed[..., :2, :2] += 5
    assert (block(x) - block(changed))[..., 12:, 12:].abs().max() > 1e-5


def test_the_papers_sizes():
    count = lambda net: sum(p.numel() for p in net.parameters())  # noqa: E731
    paper = Config.paper().clebs
    assert count(ExpressionEncoder(paper)) == 65 * 256 + 257 * 10 + 256 * 10
    with torch.device("meta"):
        # ResNet-18 without its classifier, the squeeze-and-excitations, the last layer.
        assert count(ImageEncoder(paper)) == 11_176_512 + 89_080 + 513 * 256
    assert ImageEncoder(TINY).eval()(torch.rand(3, 3, 64, 64)).shape == (3, TINY.dimension)


def test_bad_configurations():
    with pytest.raises(ValueError, match=r"11 orthonormal vectors do not fit into clebs\.dimension 10"):
        ClebsConfig(coefficients=11, dimension=10)
    with pytest.raises(ValueError, match="must be equally many"):
        ClebsConfig(widths=(8,))
    with pytest.raises(ValueError, match=r"clebs\.temperature above 0"):
        ClebsConfig(temperature=0)


def test_an_expression_is_found_that_has_the_coefficients():
    torch.manual_seed(0)
    encoder = ExpressionEncoder(ClebsConfig())
    b, change = torch.randn(3, 64), torch.zeros(3, 10)
    change[:, 2] = torch.tensor([-0.5, 0.0, 0.5])
    moved = encoder.moved(b, change)
    torch.testing.assert_close(encoder.coefficients(moved), encoder.coefficients(b) + change, atol=0.02, rtol=0)
    assert torch.equal(moved[1], b[1])
    assert (moved - b).norm(dim=1).max() < 0.5 * b.norm(dim=1).min()  # the way there is short
