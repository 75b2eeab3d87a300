from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform, map_coordinates
from torch import Tensor
from torch.nn import functional as F

from segmend.functional.geometry import Compose, Flip, QuarterTurn, Rotation, Warp, Zoom

few = settings(max_examples=25, deadline=None, derandomize=True)
DTYPES = (
    torch.bool,
    torch.uint8,
    torch.int16,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
)


def degrees(*angles: float, dimensions: int = 3, plane: tuple[int, int] = (0, 1)) -> Rotation:
    return Rotation(torch.tensor(angles), dimensions, plane)


def zoom(*factors: float, dimensions: int = 3) -> Zoom:
    return Zoom(torch.tensor(factors).unsqueeze(1), dimensions)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def smooth(count: int, shape: tuple[int, ...]) -> Tensor:
    """One channel of slow waves, different in each sample: [B, 1, *shape]."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, side) for side in shape], indexing="ij")
    waves = [sum(torch.sin((1 + i / 2) * axis + b) for i, axis in enumerate(axes)) for b in range(count)]
    return torch.stack(waves).unsqueeze(1)


def blob(shape: tuple[int, ...], at: tuple[float, ...], width: float = 2.0) -> Tensor:
    """A Gaussian bump [1, 1, *shape] around a place given in voxels from the centre."""
    axes = torch.meshgrid(*[torch.arange(side) - (side - 1) / 2 for side in shape], indexing="ij")
    square = sum((axis - place) ** 2 for axis, place in zip(axes, at, strict=True))
    return torch.exp(-square / (2 * width**2))[None, None]


def unfilled(first: Warp, second: Warp, shape: tuple[int, ...]) -> Tensor:
    """Voxels [B, 1, *shape] into which, one warp after the other, no filled voxel can have been interpolated."""
    view = F.pad(first.inside(shape).float(), [1] * 2 * len(shape)).unsqueeze(1)
    pool = F.max_pool2d if len(shape) == 2 else F.max_pool3d
    return second(-pool(-view, 3, stride=1), mode="nearest").bool()


def centre_of_mass(image: Tensor) -> list[float]:
    """In voxels from the centre, of [1, 1, *spatial]."""
    mass = image[0, 0].double()
    axes = torch.meshgrid(*[torch.arange(side) - (side - 1) / 2 for side in mass.shape], indexing="ij")
    return [float((axis * mass).sum() / mass.sum()) for axis in axes]


def each_kind(dimensions: int) -> list[Warp]:
    """Two samples of every warp, with different parameters for each sample."""
    plane = (dimensions - 1, 0)
    axes = torch.tensor([[True, False, True], [False, True, False]])[:, :dimensions]
    turns = torch.tensor([3, 2])
    kinds: list[Warp] = [
        Flip(axes),
        QuarterTurn(turns, dimensions, plane),
        degrees(25.0, -70.0, dimensions=dimensions, plane=plane),
        zoom(1.3, 0.7, dimensions=dimensions),
        Compose((Flip(axes), QuarterTurn(turns, dimensions))),
    ]
    return [*kinds, Compose((kinds[1], kinds[2], kinds[0], kinds[3]))]


@st.composite
def batches(draw: st.DrawFn, square: bool) -> tuple[Tensor, int]:
    """[B, C, *spatial] or [B, *spatial] of any dtype, the first two sides alike if square; number of spatial axes."""
    dimensions = draw(st.integers(2, 3))
    sides = draw(st.lists(st.integers(1, 5), min_size=dimensions, max_size=dimensions))
    if square:
        sides[1] = sides[0]
    lead = draw(st.sampled_from([(1,), (3,), (2, 1), (3, 2)]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    numbers = torch.randint(0, 256, (*lead, *sides), generator=generator)
    return numbers.to(draw(st.sampled_from(DTYPES))), dimensions


@few
@given(batches(square=False), st.data())
def test_flips_undo_themselves_bit_by_bit_and_equal_numpys(
    given_batch: tuple[Tensor, int], data: st.DataObject
) -> None:
    batch, dimensions = given_batch
    chosen = st.lists(st.booleans(), min_size=dimensions, max_size=dimensions)
    axes = [data.draw(chosen) for _ in batch]
    flip = Flip(torch.tensor(axes))
    flipped = flip(batch, mode="nearest", fill=7)
    assert flipped.dtype == batch.dtype
    assert torch.equal(flip.inverse()(flipped), batch)
    for item, given_item, mirrored in zip(flipped.double(), batch.double(), axes, strict=True):
        which = [axis - dimensions for axis in range(dimensions) if mirrored[axis]]
        np.testing.assert_array_equal(item, np.flip(given_item.numpy(), which))


@few
@given(batches(square=True), st.data())
def test_quarter_turns_undo_themselves_bit_by_bit_and_equal_numpys(
    given_batch: tuple[Tensor, int], data: st.DataObject
) -> None:
    batch, dimensions = given_batch
    plane = data.draw(st.sampled_from([(0, 1), (1, 0)]))
    turns = [data.draw(st.integers(0, 3)) for _ in batch]
    turn = QuarterTurn(torch.tensor(turns), dimensions, plane)
    turned = turn(batch)
    assert turned.dtype == batch.dtype
    assert torch.equal(turn.inverse()(turned), batch)
    axes = (plane[0] - dimensions, plane[1] - dimensions)
    for item, given_item, k in zip(turned.double(), batch.double(), turns, strict=True):
        np.testing.assert_array_equal(item, np.rot90(given_item.numpy(), k, axes))


def test_a_not_a_number_survives_a_flip() -> None:
    image = torch.tensor([[[[math.nan, 1.0]]]])
    flipped = Flip(torch.tensor([[True, True]]))(image)
    assert flipped[0, 0, 0, 0] == 1
    assert flipped[0, 0, 0, 1].isnan()


def test_odd_quarter_turns_need_a_square_plane_and_even_ones_do_not() -> None:
    image = random(2, 1, 4, 6, 4)
    with pytest.raises(ValueError, match=r"needs a square plane, but axes \(0, 1\) are 4 x 6"):
        QuarterTurn(torch.tensor([0, 1]), 3)(image)
    with pytest.raises(ValueError, match="square plane"):
        Compose((QuarterTurn(torch.tensor([0, 1]), 3), degrees(5.0, 5.0)))(image)
    half = QuarterTurn(torch.tensor([0, 2]), 3)(image)
    assert torch.equal(half[1], image[1].flip(-3, -2))
    assert torch.equal(QuarterTurn(torch.tensor([1, 1]), 3, (0, 2))(image), image.rot90(1, (2, 4)))


@pytest.mark.parametrize("side", [6, 7, 50, 51])
def test_rotation_by_90_degrees_is_a_quarter_turn(side: int) -> None:
    image = random(4, 2, side, side)
    label = (255 * image[:, 0]).long()
    turn = QuarterTurn(torch.tensor([0, 1, 2, 3]), 2)
    rotation = degrees(0.0, 90.0, 180.0, -90.0, dimensions=2)
    torch.testing.assert_close(rotation(image), turn(image), atol=1e-5, rtol=0)
    assert torch.equal(rotation(label, mode="nearest", fill=-1), turn(label))
    assert rotation.inside((side, side)).all()


@pytest.mark.parametrize("plane", [(0, 1), (1, 0), (0, 2), (2, 1)])
def test_rotation_takes_a_point_from_the_first_towards_the_second_axis(plane: tuple[int, int]) -> None:
    shape = (34, 35, 36)
    start = [0.0, 0.0, 0.0]
    start[plane[0]] = 8.0
    place = centre_of_mass(degrees(30.0, plane=plane)(blob(shape, tuple(start))))
    expected = [0.0, 0.0, 0.0]
    expected[plane[0]], expected[plane[1]] = 8 * math.cos(math.pi / 6), 8 * 0.5
    np.testing.assert_allclose(place, expected, atol=0.02)


@pytest.mark.parametrize("spacing", [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[1.0, 2.0, 3.0]])])
def test_rotation_with_spacing_turns_in_mm(spacing: Tensor) -> None:
    quarter = Rotation(torch.tensor([90.0]), 3, spacing=spacing)
    place = centre_of_mass(quarter(blob((40, 40, 25), (8.0, 0.0, 1.0), width=2.0)))
    np.testing.assert_allclose(place, [0, 4, 1], atol=0.02)  # 8 mm along the first axis are 4 voxels of the second
    eighth = Rotation(torch.tensor([-45.0]), 3, plane=(1, 2), spacing=spacing)
    place = centre_of_mass(eighth(blob((9, 41, 41), (0.0, 0.0, 4.0))))
    half = 12 / math.sqrt(2)
    np.testing.assert_allclose(place, [0, half / 2, half / 3], atol=0.02)


def test_zoom_by_two_doubles_the_side_of_a_cube() -> None:
    label = torch.zeros(1, 12, 12, 12, dtype=torch.uint8)
    label[:, 4:7, 5:8, 6:9] = 3
    doubled = zoom(2.0)(label, mode="nearest", fill=255)
    expected = torch.zeros_like(label)
    expected[:, 2:8, 4:10, 6:12] = 3  # edges at -2, -1, 0 and 1, 2, 3 from the centre, doubled
    assert torch.equal(doubled, expected)


def test_zoom_may_differ_between_axes() -> None:
    warp = Zoom(torch.tensor([[1.5, 0.5, 1.0]]), 3)
    place = centre_of_mass(warp(blob((41, 41, 41), (6.0, 6.0, 6.0))))
    np.testing.assert_allclose(place, [9, 3, 6], atol=0.02)


@pytest.mark.parametrize("shape", [(13, 10), (9, 12, 7)])
def test_interpolation_equals_scipys(shape: tuple[int, ...]) -> None:
    dimensions = len(shape)
    angle, factor = 33.0, 0.83
    image = random(1, 2, *shape).double()
    warp = Compose((degrees(angle, dimensions=dimensions), zoom(factor, dimensions=dimensions)))
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    backwards = np.eye(dimensions)
    backwards[:2, :2] = [[c, s], [-s, c]]
    backwards /= np.float32(factor)
    centre = (np.array(shape) - 1) / 2
    offset = centre - backwards @ centre
    expected = [affine_transform(channel.numpy(), backwards, offset, order=1, mode="nearest") for channel in image[0]]
    places = np.einsum("ij,j...->i...", backwards, np.indices(shape) - centre.reshape(-1, *[1] * dimensions))
    inside = np.all([np.abs(p) <= side / 2 for p, side in zip(places, shape, strict=True)], axis=0)
    assert 0.2 < inside.mean() < 0.8
    np.testing.assert_array_equal(warp.inside(shape)[0], inside)
    np.testing.assert_allclose(warp(image, fill=-3.0)[0], np.where(inside, expected, -3.0), atol=1e-5)
    indices = places + centre.reshape(-1, *[1] * dimensions)
    nearest = map_coordinates(image[0, 1].numpy(), indices, order=0, mode="nearest")
    np.testing.assert_array_equal(warp(image, "nearest", -3.0)[0, 1], np.where(inside, nearest, -3.0))


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_fill_is_found_exactly_outside(mode: str) -> None:
    warp = Compose((degrees(20.0, -50.0), zoom(0.8, 1.1)))
    filled = warp(random(2, 3, 10, 12, 8), mode, fill=99.0)
    outside = ~warp.inside((10, 12, 8))
    assert outside.any()
    assert torch.equal(filled == 99.0, outside.unsqueeze(1).expand_as(filled))
    assert filled[filled != 99].max() <= 1


def test_inside_a_halved_image_is_its_middle() -> None:
    expected = torch.zeros(1, 8, 12, dtype=torch.bool)
    expected[:, 2:6, 3:9] = True
    assert torch.equal(zoom(0.5, dimensions=2).inside((8, 12)), expected)
    assert Flip(torch.tensor([[True, False]])).inside((8, 12)).all()
    assert zoom(2.0, dimensions=2).inside((8, 12)).all()


@pytest.mark.parametrize("shape", [(32, 32), (30, 34, 28)])
def test_inverse_brings_a_smooth_image_back_where_it_is_defined(shape: tuple[int, ...]) -> None:
    for warp in each_kind(len(shape))[2:4]:
        image = smooth(2, shape)
        back = warp.inverse()
        again = back(warp(image))
        defined = unfilled(warp, back, shape)
        assert defined.flatten(1).float().mean(1).min() > 0.2
        assert (again - image)[defined].abs().max() < 0.03
        assert (again - image).abs().max() > 0.3


def test_rotation_keeps_and_zoom_scales_the_mass() -> None:
    image = blob((40, 41, 38), (3.0, -4.0, 2.0), width=2.5)
    turned = Compose((degrees(37.0), degrees(-61.0, plane=(1, 2))))(image)
    assert turned.sum().item() == pytest.approx(image.sum().item(), rel=1e-3)
    grown = Zoom(torch.tensor([[1.3, 0.75, 1.4]]), 3)(image)
    assert grown.sum().item() == pytest.approx(1.3 * 0.75 * 1.4 * image.sum().item(), rel=1e-3)


def test_merged_rotation_and_zoom_equal_one_after_the_other() -> None:
    image = smooth(2, (30, 34, 28))
    turn, grow = degrees(20.0, -35.0), Zoom(torch.tensor([[1.2, 1.1, 1.3], [1.1, 1.5, 1.2]]), 3)
    for first, second in ((turn, grow), (grow, turn)):
        apart = second(first(image))
        defined = unfilled(first, second, (30, 34, 28))
        assert defined.float().mean() > 0.5
        merged = Compose((first, second))(image)
        assert (apart - merged)[defined].abs().max() < 0.02
    assert (Compose((turn, grow))(image) - Compose((grow, turn))(image)).abs().max() > 0.1


def test_merging_interpolates_once_and_keeps_what_only_passes_outside() -> None:
    image = random(2, 1, 12, 12, 12)
    for warp in each_kind(3):
        there_and_back = Compose((warp, warp.inverse()))
        torch.testing.assert_close(there_and_back(image), image, atol=1e-5, rtol=0)
        assert there_and_back.inside((12, 12, 12)).all()
    image = random(2, 1, 12, 9, 7)
    nested = Compose((Compose((degrees(33.0, 8.0), zoom(0.5, 3.0))), Compose((zoom(2.0, 1 / 3), degrees(-33.0, -8.0)))))
    torch.testing.assert_close(nested(image), image, atol=1e-5, rtol=0)


def test_exact_warps_mean_the_same_alone_and_merged() -> None:
    image = random(2, 1, 9, 9, 9)
    still = degrees(0.0, 0.0)
    for warp in each_kind(3):
        if warp.exact:
            torch.testing.assert_close(Compose((warp, still))(image), warp(image), atol=1e-5, rtol=0)
            torch.testing.assert_close(Compose((still, warp))(image), warp(image), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_composed_exact_warps_are_undone_in_reverse_order_bit_by_bit(dtype: torch.dtype) -> None:
    image = (4 * random(3, 2, 5, 5, 4)).long().to(dtype)
    turn = QuarterTurn(torch.tensor([1, 3, 1]), 3)
    flip = Flip(torch.tensor([[True, False, True]] * 3))
    both = Compose((turn, flip))
    assert both.exact
    assert torch.equal(both(image), flip(turn(image)))
    assert not torch.equal(both(image), turn(flip(image)))
    assert torch.equal(both.inverse()(both(image)), image)
    assert not Compose((turn, zoom(1.0, 1.0, 1.0))).exact


@pytest.mark.parametrize("dimensions", [2, 3])
def test_gradients_flow(dimensions: int) -> None:
    image = random(2, 1, *[3] * dimensions).double().requires_grad_()
    for warp in each_kind(dimensions):
        for mode in ("linear", "nearest"):
            assert torch.autograd.gradcheck(lambda x, w=warp, m=mode: w(x, m), image, fast_mode=True)


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 6)])
def test_each_sample_is_warped_as_if_it_were_alone(shape: tuple[int, ...]) -> None:
    dimensions = len(shape)
    image = random(2, 3, *shape)
    axes, turns = torch.tensor([[True, False, True], [False, True, True]])[:, :dimensions], torch.tensor([1, 3])
    angles, factors = torch.tensor([20.0, -80.0]), torch.tensor([[0.8], [1.4]])

    def warp(rows: list[int]) -> Compose:
        exact = (Flip(axes[rows]), QuarterTurn(turns[rows], dimensions))
        return Compose((*exact, Rotation(angles[rows], dimensions), Zoom(factors[rows], dimensions)))

    together = warp([0, 1])(image)
    for row in (0, 1):
        alone = warp([row])
        assert torch.equal(together[row], alone(image[[row]])[0])
        for part, whole in zip(alone.warps, warp([0, 1]).warps, strict=True):
            assert torch.equal(whole(image)[row], part(image[[row]])[0])


@few
@given(st.floats(-360, 360), st.floats(0.3, 3), st.integers(0, 2**31))
def test_nearest_makes_no_new_values_however_large(angle: float, factor: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    label = 2**53 + 2 * torch.randint(0, 5, (1, 6, 7, 5), generator=generator) + 1  # odd: not even float64 has them
    warped = Compose((degrees(angle), zoom(factor)))(label, mode="nearest", fill=255)
    assert warped.dtype == torch.int64
    assert set(warped.unique().tolist()) <= {*label.unique().tolist(), 255}


def test_labels_and_images_with_one_channel_are_warped_alike() -> None:
    label = (5 * random(2, 8, 9, 7)).to(torch.uint8)
    for warp in each_kind(3)[2:4]:
        as_image = warp(label.unsqueeze(1).float(), mode="nearest", fill=255)
        assert torch.equal(warp(label, mode="nearest", fill=255).float(), as_image[:, 0])
        assert (as_image == 255).any()


def test_linear_keeps_the_dtype_and_refuses_labels() -> None:
    warp, image = degrees(30.0, 10.0), random(2, 1, 8, 8, 8)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        warped = warp(image.to(dtype))
        assert warped.dtype == dtype
        torch.testing.assert_close(warped.float(), warp(image.to(dtype).float()), atol=4e-3, rtol=0)
    with pytest.raises(ValueError, match=r'torch.int64 cannot be interpolated; use mode="nearest"'):
        warp(image.long())


def test_mixed_precision_does_not_touch_the_places() -> None:
    image = random(1, 1, 40, 40)
    warp = Compose((degrees(12.3, dimensions=2), zoom(1.07, dimensions=2)))
    outside_autocast = warp(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(warp(image), outside_autocast)


def test_the_given_batch_stays_as_it_was() -> None:
    image = random(2, 1, 6, 6, 6)
    copy = image.clone()
    for warp in each_kind(3):
        warp(image).zero_()
        assert torch.equal(image, copy)


def test_batches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="a warp of 2 samples got a batch of 3"):
        degrees(1.0, 2.0)(random(3, 1, 4, 4, 4))
    with pytest.raises(ValueError, match=r"a warp in 3D got a batch of shape \(2, 4, 4\)"):
        Flip(torch.zeros(2, 3, dtype=torch.bool))(random(2, 4, 4))
    with pytest.raises(ValueError, match="a warp of 1 samples got a batch of 2"):
        QuarterTurn(torch.tensor([1]), 2)(random(2, 1, 4, 4))
    with pytest.raises(ValueError, match="a warp in 2D"):
        zoom(1.0, 1.0, dimensions=2)(random(2, 1, 4, 4, 4))


def test_parameters_that_make_no_warp_are_refused() -> None:
    with pytest.raises(ValueError, match=r"factors must be positive, not \[\[1.0\], \[0.0\]\]"):
        zoom(1.0, 0.0)
    with pytest.raises(ValueError, match="must be positive"):
        zoom(math.nan)
    with pytest.raises(ValueError, match=r"factors must be \[B, 1\] or \[B, 3\], not \(2, 2\)"):
        Zoom(torch.ones(2, 2), 3)
    with pytest.raises(ValueError, match=r"axes must be boolean \[B, dimensions\], not torch.int64 \(2,\)"):
        Flip(torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="turns must be integer"):
        QuarterTurn(torch.tensor([1.0]), 2)
    with pytest.raises(ValueError, match=r"degrees must be \[B\], not \(\)"):
        Rotation(torch.tensor(3.0), 2)
    with pytest.raises(ValueError, match=r"two different axes of 0..1, not \(0, 2\)"):
        degrees(3.0, dimensions=2, plane=(0, 2))
    with pytest.raises(ValueError, match=r"two different axes of 0..2, not \(1, 1\)"):
        degrees(3.0, plane=(1, 1))
    with pytest.raises(ValueError, match="spacing must be positive"):
        Rotation(torch.tensor([3.0]), 2, spacing=torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"must agree in \(samples, dimensions\), not \[\(1, 3\), \(2, 3\)\]"):
        Compose((degrees(1.0), zoom(1.0, 1.0)))
