from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.testing import assert_close

from segmend.functional.reduce import masked_mean

SHAPES = arrays.array_shapes(max_dims=3, max_side=4)


def test_by_hand():
    assert masked_mean(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([True, False, True])).item() == 3.5


def test_weights_count_by_their_share():
    assert masked_mean(torch.tensor([1.0, 5.0]), torch.tensor([3.0, 1.0])).item() == 2.0


def test_a_mask_of_one_row_counts_for_every_row():
    values = torch.tensor([[1.0, 2.0], [3.0, 8.0]])
    assert masked_mean(values, torch.tensor([[False, True]])).item() == 5.0


def test_an_empty_mask_gives_zero_and_pulls_nowhere():
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    mean = masked_mean(values, torch.zeros(2, dtype=torch.bool))
    mean.backward()
    assert mean.item() == 0
    assert values.grad.tolist() == [0, 0]


@given(st.data())
def test_is_the_mean_of_the_selected(data):
    shape = data.draw(SHAPES)
    values = data.draw(arrays.arrays(np.float32, shape, elements=st.floats(-100, 100, width=32)))
    mask = data.draw(arrays.arrays(np.bool_, shape))
    expected = values[mask].astype(np.float64).mean() if mask.any() else 0.0
    mean = masked_mean(torch.from_numpy(values), torch.from_numpy(mask))
    assert_close(mean.double(), torch.tensor(expected).double(), atol=1e-4, rtol=1e-5)
