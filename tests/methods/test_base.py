from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from written_networks import ImageAsLogits

from segmend.methods import Method, Step, all_methods
from segmend.networks import VNet


class Nothing(Method):
    kind = "supervised"

    def loss(self, batch, step):
        return {}


def test_progress_is_the_share_of_the_run_that_is_done():
    assert [Step(index, 8).progress for index in (0, 2, 8)] == [0, 0.25, 1]


def test_predicts_the_softmax_of_its_network_in_float32():
    image = torch.randn(2, 3, 4, 5)
    assert_close(Nothing(ImageAsLogits(3, 3, gain=2.0)).predict(image), (2 * image).softmax(1))
    assert Nothing(ImageAsLogits(3, 3, gain=2.0)).predict(image.bfloat16()).dtype == torch.float32


def test_owns_its_network():
    network = VNet(1, 2, 2, width=2)
    method = Nothing(network)
    assert method.network is network
    assert set(method.state_dict()) == {f"network.{name}" for name in network.state_dict()}
    assert method.arguments == {"network": network}


def test_does_nothing_after_a_step_unless_it_says_so():
    method = Nothing(VNet(1, 2, 2, width=2))
    before = [value.clone() for value in method.state_dict().values()]
    method.after_step(Step(3, 10))
    assert all(torch.equal(*pair) for pair in zip(before, method.state_dict().values(), strict=True))


def test_must_have_a_loss():
    with pytest.raises(TypeError, match="abstract"):
        Method(nn.Identity())


def test_all_are_listed_in_alphabetical_order():
    names = list(all_methods())
    assert names == sorted(names)
    assert {"PLIL", "MeanTeacher", "Supervised"} <= set(names)
    assert not {"Method", "Step"} & set(names)
    for name, cls in all_methods().items():
        assert cls.__name__ == name
