from __future__ import annotations

import torch
from torch.testing import assert_close

from segmend.data.batch import Batch
from segmend.data.case import Quality
from segmend.data.sampling import Composition
from segmend.functional.supervision import cross_entropy_dice
from segmend.functional.voxel import IGNORE
from segmend.methods import Step, Supervised
from segmend.networks import UNet

STEP = Step(3, 10)


def batch(*quality: Quality) -> Batch:
    random = torch.Generator().manual_seed(0)
    count = len(quality)
    image = torch.randn(count, 1, 8, 8, generator=random)
    label = torch.randint(0, 2, (count, 8, 8), generator=random)
    for row, each in enumerate(quality):
        if each is Quality.NONE:
            label[row] = IGNORE
    return Batch(image, label, quality, tuple(map(str, range(count))))


def method() -> Supervised:
    torch.manual_seed(0)
    return Supervised(UNet(1, 2, 2, width=2, stages=2))


def test_every_label_counts_as_if_it_were_right():
    mixed = batch(Quality.EXPERT, Quality.NOISY, Quality.NOISY)
    supervised = method()
    expected = cross_entropy_dice(supervised.network(mixed.image), mixed.label)
    terms = supervised.loss(mixed, STEP)
    assert set(terms) == {"supervised"}
    assert_close(terms["supervised"], expected)


def test_unlabelled_samples_are_not_looked_at():
    labelled = batch(Quality.EXPERT, Quality.NOISY)
    with_others = batch(Quality.EXPERT, Quality.NOISY, Quality.NONE)
    both = Batch(
        torch.cat([labelled.image[:1], with_others.image[2:], labelled.image[1:]]),
        torch.cat([labelled.label[:1], with_others.label[2:], labelled.label[1:]]),
        (Quality.EXPERT, Quality.NONE, Quality.NOISY),
        ("a", "b", "c"),
    )
    # In training, batch norm would show the unlabelled image to the others if it were in the same pass.
    assert_close(method().loss(both, STEP), method().loss(labelled, STEP))


def test_draws_from_all_labels_alike():
    assert Supervised.needs == Composition(mixed=4)


def test_the_loss_does_not_change_over_the_run():
    mixed = batch(Quality.EXPERT, Quality.NOISY)
    assert_close(method().loss(mixed, Step(0, 10)), method().loss(mixed, Step(9, 10)))
