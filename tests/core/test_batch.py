from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from segmend.core.batch import Batch, samples
from segmend.core.case import Quality

EXPERT, NOISY, NONE = Quality.EXPERT, Quality.NOISY, Quality.NONE


def batch(*quality: Quality) -> Batch:
    count = len(quality)
    return Batch(torch.rand(count, 1, 2, 2), torch.zeros(count, 2, 2).long(), quality, tuple("abcdef"[:count]))


def test_rows_are_found_by_quality_in_the_order_of_the_batch():
    mixed = batch(NOISY, EXPERT, NONE, NOISY)
    assert mixed.rows(EXPERT) == [1]
    assert mixed.rows(NOISY) == [0, 3]
    assert mixed.rows(NONE, NOISY) == [0, 2, 3]
    assert mixed.rows() == []
    assert batch(EXPERT).rows(NONE) == []


def test_rows_by_what_is_known_of_them():
    mixed = batch(NOISY, EXPERT, NONE, NOISY)
    assert mixed.labelled == [0, 1, 3]
    assert mixed.unsupervised == [0, 2, 3]


def test_goes_to_another_device_as_a_whole():
    here = batch(EXPERT, NOISY)
    there = here.to(torch.device("meta"))
    assert (there.image.device.type, there.label.device.type) == ("meta", "meta")
    assert (there.image.shape, there.label.dtype) == (here.image.shape, torch.long)
    assert (there.quality, there.cases) == (here.quality, here.cases)
    assert here.image.device.type == "cpu"


def test_both_tensors_are_pinned(monkeypatch):
    pinned = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor.clone())
    here = batch(EXPERT, NOISY)
    there = here.pin_memory()
    assert [tensor is mine for tensor, mine in zip(pinned, (here.image, here.label), strict=True)] == [True, True]
    assert torch.equal(there.image, here.image)
    assert (there.quality, there.cases) == (here.quality, here.cases)


def test_takes_all_that_was_revised_along():
    kept = {"layers": {"pseudo": torch.ones(2, 2, 2).long()}, "maps": {"regions": torch.ones(2, 2, 2).long()}}
    here = replace(batch(EXPERT, NOISY), **kept, values={"chance": torch.ones(2)}, place=torch.ones(2, 3, 3))
    there = here.to(torch.device("meta"))
    tensors = {"pseudo": there.layers["pseudo"], "regions": there.maps["regions"], "chance": there.values["chance"]}
    assert there.place is not None
    tensors["place"] = there.place
    assert {name: tensor.device.type for name, tensor in tensors.items()} == dict.fromkeys(tensors, "meta")
    assert there.layers["pseudo"].shape == there.maps["regions"].shape == (2, 2, 2)
    assert here.layers["pseudo"].device.type == "cpu"


def test_samples_are_those_of_an_index_and_a_view_where_they_follow_each_other():
    tensor = torch.arange(12).view(4, 3)
    for rows in ([], [0], [1, 2], [0, 1, 2, 3], [3, 0], [1, 3], [2, 2]):
        assert torch.equal(samples(tensor, rows), tensor[rows])
    assert samples(tensor, [1, 2]).data_ptr() == tensor[1].data_ptr()
