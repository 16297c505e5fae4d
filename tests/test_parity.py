"""The reader of the parity fixtures itself."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.parity import normal, parity_fixture


def test_the_generator_is_the_one_that_the_parity_fixtures_were_made_with():
    expected = np.float32([2.0561693, -1.0834869, -0.98964018])
    np.testing.assert_array_equal(normal("check", (3,), 1), expected)


def test_parity_reader_refuses_other_names_and_outputs():
    fixture = parity_fixture("vgg19_perceptual")
    with pytest.raises(AssertionError, match="names of the state dict"):
        fixture.load(nn.Linear(2, 2))
    right = torch.from_numpy(fixture.arrays["out.mean_abs_difference"])
    fixture.check("mean_abs_difference", right)
    with pytest.raises(AssertionError, match="largest difference"):
        fixture.check("mean_abs_difference", right * 1.01)
    with pytest.raises(AssertionError, match="shape"):
        fixture.check("mean_abs_difference", right[:2])
