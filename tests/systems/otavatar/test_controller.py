"""The motion controller: the official numbers, the paper's form, the ablations."""

from dataclasses import replace

import pytest
import torch

from portrayal.systems.otavatar.config import Config, ControllerConfig
from portrayal.systems.otavatar.controller import Controller, MagnitudeMlp, TemporalFilter
from portrayal.weights.convert.otavatar import controller_from_official
from tests.parity import parity_fixture

PAPER = ControllerConfig()


@torch.no_grad()
def test_parity() -> None:
    fixture = parity_fixture("otavatar_controller")
    controller = Controller(Config.official().controller, layers=14, w_dim=512)
    controller.load_state_dict(controller_from_official(fixture.state))
    window = fixture.inputs["coefficients"]
    fixture.check("descriptor", controller.filter(window)[..., None])
    fixture.check("alpha", controller.magnitudes(window))
    fixture.check("basis_q", controller.basis())
    fixture.check("directions", controller(window))


def test_weights_that_are_not_shared_are_refused() -> None:
    state = {f"mapping_Refine.{i}.weight": torch.full((2, 2), float(i)) for i in (0, 2)}
    with pytest.raises(ValueError, match=r"mapping_Refine\.2\.weight differs"):
        controller_from_official(state)


def test_the_paper_has_five_layers_of_its_own_weights() -> None:
    controller = Controller(PAPER, layers=14, w_dim=512)
    assert len(controller.mlp.hidden) + 1 == 5
    assert controller.mlp.last.weight.shape == (15 * 20, 256)
    assert controller(torch.randn(2, 73, 27)).shape == (2, 14, 512)


def test_the_mlp_by_hand() -> None:
    mlp = MagnitudeMlp(1, 1, shared=True)
    for layer, weight in ((mlp.hidden[0], 2.0), (mlp.last, 3.0)):
        torch.nn.init.constant_(layer.weight, weight)
        torch.nn.init.zeros_(layer.bias)
    # 2^5 x + x, then times 3; all positive, so the activations do nothing.
    assert mlp(torch.ones(1, 1)).item() == pytest.approx(3 * 33)
    # Negative: 4 activations between the five layers, one before the last.
    assert mlp(-torch.ones(1, 1)).item() == pytest.approx(3 * -(32 * 1e-4 + 1) * 0.1, rel=1e-5)


def test_every_frame_of_the_window_counts() -> None:
    torch.manual_seed(0)
    temporal = TemporalFilter(4, 8)
    window = torch.randn(1, 4, 27, requires_grad=True)
    temporal(window).sum().backward()
    assert bool((window.grad.abs().sum((0, 1)) > 0).all())


def test_the_code_book_is_orthonormal() -> None:
    basis = Controller(PAPER, layers=14, w_dim=512).basis()
    torch.testing.assert_close(basis.T @ basis, torch.eye(20), atol=1e-5, rtol=0)


def test_ablations() -> None:
    torch.manual_seed(0)
    window = torch.randn(2, 73, 27)
    alike = Controller(replace(PAPER, motion_space="w"), layers=14, w_dim=64)
    code = alike(window)
    assert alike.mlp.last.weight.shape[0] == 20
    assert code.shape == (2, 14, 64)
    assert torch.equal(code, code[:, :1].expand_as(code))
    free = Controller(replace(PAPER, code_book="linear"), layers=14, w_dim=64)
    assert torch.equal(free.basis(), free.book)
    assert free(window).std(1).max() > 0  # layers differ


def test_the_motion_of_a_fresh_controller_is_small() -> None:
    torch.manual_seed(0)
    assert Controller(PAPER, layers=14, w_dim=512)(torch.randn(4, 73, 27)).abs().max() < 1e-3


def test_windows_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected windows \(b, 73, 27\), got \(1, 70, 27\)"):
        Controller(PAPER, layers=14, w_dim=64)(torch.randn(1, 70, 27))


def test_with_larger_initial_weights_a_motion_comes_through_from_the_first_step() -> None:
    """What the last layer is told of two windows; the code's small weights leave nothing of them."""
    told = {}
    for gain in (0.02, 1.0):
        torch.manual_seed(0)
        controller = Controller(ControllerConfig(width=32, bases=4, hidden_gain=gain), layers=6, w_dim=16)
        seen: list[torch.Tensor] = []
        controller.mlp.last.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            controller(torch.randn(2, 73, 27))
        told[gain] = float((seen[0][0] - seen[0][1]).abs().mean())
    assert told[0.02] < 1e-6
    assert told[1.0] > 0.05
