from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from segmend.functional.noise import clipped_gaussian


@pytest.mark.parametrize("sd", [0.1, 0.5])
def test_is_a_normal_distribution_clipped_at_twice_its_deviation(sd):
    torch.manual_seed(0)
    noise = clipped_gaussian(torch.zeros(1, 1, 400, 500), sd) / sd
    assert noise.abs().max().item() == pytest.approx(2)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(0.9594, abs=0.01)  # sqrt(erf(sqrt 2) - 4 phi(2) + 8 (1 - Phi(2)))
    assert (noise.abs() > 1.9999).float().mean().item() == pytest.approx(0.0455, abs=0.003)


def test_is_added_to_the_image():
    image = torch.randn(2, 3, 4, 5)
    torch.manual_seed(3)
    noisy = clipped_gaussian(image)
    torch.manual_seed(3)
    assert_close(noisy - image, clipped_gaussian(torch.zeros_like(image)))
    assert torch.equal(clipped_gaussian(image, 0.0), image)


def test_keeps_the_type_of_the_image():
    assert clipped_gaussian(torch.zeros(1, 1, 4, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16
