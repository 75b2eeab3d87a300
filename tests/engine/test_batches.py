from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segmend.core.batch import Composition
from segmend.core.case import Case, Quality
from segmend.core.masks import IGNORE
from segmend.data.augment import LEFT_ATRIUM_PROTOCOL, NO_AUGMENTATION
from segmend.data.cache import PreparedCase, prepare
from segmend.data.folder import DataFolder
from segmend.data.preprocess import Normalisation, Preprocessing
from segmend.data.sampling import BatchPlan
from segmend.engine.batches import CropBatches, StepSampler
from segmend.engine.label_store import LabelStore
from segmend.methods import Revision

PLAIN = NO_AUGMENTATION


def make_case(name, shape, quality=Quality.NOISY, label=None):
    """A case whose voxels count through the scan, so that every crop shows where it lies."""
    image = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(1, *shape)
    if quality is Quality.NONE:
        return PreparedCase(Case(name, (), None, quality=quality), image, None, None, "", (1.0,) * (image.ndim - 1))
    label = np.ones(shape, dtype=np.uint8) if label is None else label
    foreground = np.argwhere((label > 0) & (label < IGNORE)).astype(np.int32)
    return PreparedCase(Case(name, (), None, quality=quality), image, label, foreground, "", (1.0,) * (image.ndim - 1))


def batches_of(cases, patch, composition=None, seed=0, **options):
    composition = composition or Composition(noisy=len(cases))
    plan = BatchPlan.of([case.case for case in cases], composition, seed, "test")
    return CropBatches(cases, plan, patch, **{"augmentation": PLAIN, **options})


def same(one, other):
    return torch.equal(one.image, other.image) and torch.equal(one.label, other.label) and one.cases == other.cases


class TestBatch:
    def test_what_it_holds(self):
        cases = [
            make_case("a", (6, 6, 6), Quality.EXPERT),
            make_case("b", (7, 8, 9)),
            make_case("c", (6, 6, 6), Quality.NONE),
        ]
        batch = batches_of(cases, (4, 5, 6), Composition(expert=1, noisy=2, unlabelled=1))[0]
        assert batch.image.shape == (4, 1, 4, 5, 6)
        assert batch.image.dtype == torch.float32
        assert batch.label.shape == (4, 4, 5, 6)
        assert batch.label.dtype == torch.int64
        assert batch.cases == ("a", "b", "b", "c")
        assert batch.quality == (Quality.EXPERT, Quality.NOISY, Quality.NOISY, Quality.NONE)
        assert batch.label[:3].eq(1).all()
        assert batch.label[3].eq(IGNORE).all()

    @given(st.permutations(range(6)), st.integers(0, 2**20))
    def test_is_a_function_of_seed_step_and_process_alone(self, order, seed):
        cases = [make_case(name, (9, 8, 7)) for name in "abc"]
        options = {
            "seed": seed,
            "augmentation": replace(LEFT_ATRIUM_PROTOCOL, noise=0.1, contrast=0.2),
            "foreground": 0.5,
        }
        expected = [batches_of(cases, (4, 4, 4), **options)[step] for step in range(6)]
        again = batches_of(cases, (4, 4, 4), **options)
        assert all(same(again[step], expected[step]) for step in order)

    def test_seed_step_and_process_all_matter(self):
        cases = [make_case("a", (20, 20, 20))]
        crops = {
            float(batches_of(cases, (4, 4, 4), seed=seed, rank=rank, processes=2)[step].image[0, 0, 0, 0, 0])
            for seed, step, rank in product(range(3), range(3), range(2))
        }
        assert len(crops) == 18

    def test_soft_labels_are_cut_and_warped_with_the_image(self):
        case = make_case("a", (9, 8, 7))
        share = (case.image[0] % 3 / 2).astype(np.float16)
        soft = replace(case, soft=np.stack([1 - share, share]))
        unlabelled = make_case("u", (9, 8, 7), Quality.NONE)
        exact = batches_of(
            [soft, unlabelled], (4, 4, 4), Composition(noisy=1, unlabelled=1), augmentation=LEFT_ATRIUM_PROTOCOL
        )
        for step in range(5):
            batch = exact[step]
            assert torch.equal(batch.soft[0, 1], batch.image[0, 0] % 3 / 2)
            assert not batch.soft[1].any()
        warped = batches_of([soft], (6, 6, 6), augmentation=replace(PLAIN, rotation=30.0, zoom=0.3))
        seen = set()
        for step in range(5):
            total = warped[step].soft.sum(1)
            seen |= set(total.round(decimals=3).unique().tolist())
            assert torch.equal(total > 0.5, warped[step].label != IGNORE)
        assert seen == {0.0, 1.0}
        assert warped[0].soft.dtype == torch.float32
        assert batches_of([case], (4, 4, 4))[0].soft is None

    def test_beyond_the_scan_soft_labels_are_background(self):
        case = make_case("a", (2, 2, 2))
        soft = replace(case, soft=np.stack([np.zeros((2, 2, 2)), np.ones((2, 2, 2))]).astype(np.float16))
        found = batches_of([soft], (4, 4, 4))[0].soft[0]
        assert found[1].sum() == 8
        assert torch.equal(found[0], 1 - found[1])

    def test_image_and_label_are_cut_at_the_same_place(self):
        label = (np.arange(1, 9 * 8 * 7 + 1) % 3).astype(np.uint8).reshape(9, 8, 7)
        for step in range(10):
            batch = batches_of([make_case("a", (9, 8, 7), label=label)], (4, 4, 4), augmentation=LEFT_ATRIUM_PROTOCOL)[
                step
            ]
            assert torch.equal(batch.image[0, 0].long() % 3, batch.label[0])

    def test_two_processes_cover_what_one_would(self):
        cases = [make_case(name, (6, 6, 6)) for name in "abcde"]
        composition = Composition(noisy=1)
        alone = [batches_of(cases, (4, 4, 4), composition)[step].cases for step in range(10)]
        shared = [
            batches_of(cases, (4, 4, 4), composition, rank=rank, processes=2)[step].cases
            for step in range(5)
            for rank in range(2)
        ]
        assert shared == alone
        assert sorted(shared[:5]) == [("a",), ("b",), ("c",), ("d",), ("e",)]


def placed(batch):
    """The point of the scan that each voxel shows, ``[B, axes, *patch]``, by ``Batch.place``."""
    sides = batch.image.shape[2:]
    offsets = torch.from_numpy(np.indices(sides)).float() - torch.tensor(sides).sub(1).div(2).view(
        -1, *[1] * len(sides)
    )
    return torch.einsum("bad,d...->ba...", batch.place[..., :-1], offsets) + batch.place[..., -1].view(
        *batch.place.shape[:2], *[1] * len(sides)
    )


def fractions(shape):
    """An image ``[axes, *shape]`` of where each voxel lies, as fractions of the scan."""
    return ((np.indices(shape) + 0.5) / np.array(shape).reshape(-1, *[1] * len(shape))).astype(np.float32)


class TestPlace:
    @pytest.mark.parametrize(
        ("shape", "patch"),
        [((9, 8, 7), (4, 4, 3)), ((9, 8, 7), (5, 4)), ((9, 8), (4, 4)), ((6, 4, 3), (7, 4, 6)), ((4, 9, 5), (6, 6))],
        ids=str,
    )
    def test_of_every_voxel_is_known(self, shape, patch):
        case = make_case("a", shape)
        made = batches_of([replace(case, image=fractions(shape))], patch)
        for step in range(5):
            batch = made[step]
            inside = (batch.image[:, :1] > 0).expand_as(batch.image)
            assert inside.any()
            np.testing.assert_allclose(batch.image[inside], placed(batch)[inside], atol=1e-5)

    @pytest.mark.parametrize("shape", [(9, 9, 7), (9, 9)], ids=str)
    def test_is_turned_with_the_image(self, shape):
        case = replace(make_case("a", shape), image=fractions(shape))
        made = batches_of([case, case], shape, augmentation=replace(LEFT_ATRIUM_PROTOCOL, rotation=30.0, zoom=0.3))
        for step in range(10):
            batch = made[step]
            place, half = placed(batch), torch.tensor(shape).mul(2).reciprocal().view(-1, *[1] * len(shape))
            # Beyond the outermost centres, images are continued by the border's value.
            between = ((place > half) & (place < 1 - half)).all(1, keepdim=True).expand_as(place)
            assert between.float().mean() > 0.2
            np.testing.assert_allclose(batch.image[between], place[between], atol=1e-5)

    def test_annotators_are_told(self):
        cases = [make_case("a", (4, 4)), make_case("b", (4, 4))]
        cases[1] = replace(cases[1], case=replace(cases[1].case, annotator="ann"))
        batch = batches_of(cases, (4, 4))[0]
        assert dict(zip(batch.cases, batch.annotators, strict=True)) == {"a": "", "b": "ann"}

    def test_slices_have_a_position(self):
        batch = batches_of([make_case("a", (4, 4, 5))], (4, 4))[3]
        z = int(batch.image[0, 0, 0, 0] - 1) % 5
        assert batch.slice_positions.tolist() == [pytest.approx((z + 0.5) / 5)]
        assert batches_of([make_case("a", (4, 4))], (4, 4))[0].slice_positions is None

    def test_crops_lie_anywhere_with_equal_chance(self):
        case = make_case("a", (8, 4, 4))
        starts = [int(batches_of([case], (4, 4, 4))[step].image[0, 0, 0, 0, 0] - 1) // 16 for step in range(500)]
        counts = np.bincount(starts, minlength=5)
        assert len(counts) == 5
        assert counts.min() > 70  # 100 expected, standard deviation 9

    def test_small_scans_are_padded_on_both_sides(self):
        label = np.full((2, 5, 3), 2, dtype=np.uint8)
        batch = batches_of([make_case("a", label.shape, label=label)], (4, 4, 8))[0]
        inside = np.zeros((4, 4, 8), dtype=bool)
        inside[1:3, :, 2:5] = True  # of 5 missing slices, 2 before and 3 behind
        np.testing.assert_array_equal(batch.image[0, 0].numpy() != 0, inside)
        np.testing.assert_array_equal(batch.label[0].numpy(), np.where(inside, 2, 0))

    def test_2d_crops_of_volumes_lie_in_single_slices(self):
        case = make_case("a", (6, 6, 5))
        slices = set()
        for step in range(60):
            batch = batches_of([case], (4, 3))[step]
            assert batch.image.shape == (1, 1, 4, 3)
            assert batch.label.shape == (1, 4, 3)
            x, y, z = np.unravel_index(batch.image[0, 0].long().numpy() - 1, (6, 6, 5))
            assert len(np.unique(z)) == 1
            np.testing.assert_array_equal(x - x[0, 0], np.indices((4, 3))[0])
            np.testing.assert_array_equal(y - y[0, 0], np.indices((4, 3))[1])
            slices.add(int(z[0, 0]))
        assert slices == set(range(5))

    def test_pictures(self):
        case = make_case("a", (6, 5))
        assert batches_of([case], (4, 8))[0].image.shape == (1, 1, 4, 8)


class TestForeground:
    def test_all_crops_are_centred_on_the_object(self):
        label = np.zeros((20, 20, 20), dtype=np.uint8)
        label[0, 19, 10], label[17, 2, 3] = 1, 2
        case = make_case("a", label.shape, label=label)
        seen = {1: 0, 2: 0}
        for step in range(40):
            crop = batches_of([case], (4, 4, 4), foreground=1.0)[step].label[0]
            (value,) = crop[crop > 0].tolist()
            seen[value] += 1
            if value == 2:
                assert crop[2, 2, 2] == 2
            else:  # at the edge of the scan, as far as it allows
                assert crop[0, 3, 2] == 1
        assert min(seen.values()) > 10

    def test_share(self):
        label = np.zeros((40, 40), dtype=np.uint8)
        label[20, 20] = 1
        case = make_case("a", label.shape, label=label)
        centred = sum(int(batches_of([case], (4, 4), foreground=0.25)[step].label[0, 2, 2] == 1) for step in range(400))
        assert 70 < centred < 130

    def test_rare_classes_come_as_often_as_large_ones(self, make_folder, write_scan, tmp_path):
        root = make_folder(cases=("a",), labels={"background": 0, "x": 1, "y": 2}, shape=(32, 32, 32))
        label = np.zeros((32, 32, 32), dtype=np.uint8)
        label[:24, 2:30, 2:30], label[24:27] = 1, 2
        write_scan(root / "labelsTr" / "a.nii.gz", label, np.diag([1, 1, 1.5, 1]))
        folder = DataFolder.open(root)
        preprocessing = Preprocessing((None, None, None), (Normalisation(),))
        batches = batches_of(
            prepare(folder, folder.cases, preprocessing, tmp_path / "cache"), (2, 2, 2), foreground=1.0
        )
        centres = [int(batches[step].label[0, 1, 1, 1]) for step in range(200)]
        assert 70 < centres.count(1) < 130
        assert 70 < centres.count(2) < 130

    @pytest.mark.parametrize(("by", "expected"), [("voxel", (360, 40)), ("class", (200, 200))])
    def test_classes_may_be_drawn_before_voxels(self, by, expected):
        label = np.zeros((12, 12, 12), dtype=np.uint8)
        label[1, 1, 1:10], label[9, 9, 9] = 1, 4
        batches = batches_of([make_case("a", label.shape, label=label)], (2, 2, 2), foreground=1.0, foreground_by=by)
        centres = [int(batches[step].label[0, 1, 1, 1]) for step in range(400)]
        for value, wanted in zip((1, 4), expected, strict=True):
            assert abs(centres.count(value) - wanted) < 45  # standard deviation at most 10
        places = {int(batches[step].image[0, 0, 1, 1, 1]) for step in range(400) if centres[step] == 1}
        assert len(places) == 9

    def test_by_class_the_fraction_is_the_same(self):
        label = np.zeros((40, 40), dtype=np.uint8)
        label[20, 20] = 1
        batches = batches_of([make_case("a", label.shape, label=label)], (4, 4), foreground=0.25, foreground_by="class")
        assert 70 < sum(int(batches[step].label[0, 2, 2] == 1) for step in range(400)) < 130

    @pytest.mark.parametrize("quality", [Quality.NONE, Quality.NOISY])
    def test_no_label_influences_other_crops(self, quality):
        empty = make_case("a", (9, 9), quality, np.zeros((9, 9), dtype=np.uint8))
        full = make_case("a", (9, 9))
        other = make_case("b", (9, 9), Quality.EXPERT)
        one, two = (
            batches_of([first, other], (4, 4), composition, foreground=0.7, foreground_by="class")
            for first, composition in (
                (full, Composition(expert=1, noisy=1)),
                (empty, Composition(expert=1, **{"unlabelled" if quality is Quality.NONE else "noisy": 1})),
            )
        )
        assert all(torch.equal(one[step].image[0], two[step].image[0]) for step in range(20))

    def test_an_empty_label_is_cropped_anywhere(self):
        case = make_case("a", (9, 9), label=np.zeros((9, 9), dtype=np.uint8))
        options = {"seed": 3}
        for step in range(5):
            assert same(
                batches_of([case], (4, 4), foreground=1.0, **options)[step], batches_of([case], (4, 4), **options)[step]
            )


class TestLayers:
    @pytest.fixture
    def labels(self, tmp_path):
        """Two layers of one case; "new" is rewritten before step 2, to three times the given label."""
        case = make_case("a", (9, 8, 7), label=(np.arange(9 * 8 * 7) % 4).astype(np.uint8).reshape(9, 8, 7))
        store = LabelStore(tmp_path / "labels", ("new", "other"), {"a": case.given}, steps=(2,))
        store.append("test", [Revision("a", {"new": torch.tensor(3 * case.label)})])
        return case, store

    def test_are_cut_and_warped_with_the_label(self, labels):
        case, store = labels
        strong = replace(LEFT_ATRIUM_PROTOCOL, rotation=40, zoom=0.3)
        batches = batches_of([case], (6, 6, 4), augmentation=strong, labels=store)
        assert any(batches[step].label.eq(IGNORE).any() for step in range(2, 5))
        for step in range(5):
            batch = batches[step]
            expected = torch.where((batch.label == IGNORE) | (step < 2), batch.label, 3 * batch.label)
            assert torch.equal(batch.layers["new"], expected)
            assert torch.equal(batch.layers["other"], batch.label)
            assert batch.layers["new"].dtype == torch.int64

    def test_change_nothing_else(self, labels):
        case, store = labels
        strong = replace(LEFT_ATRIUM_PROTOCOL, rotation=40, noise=0.1)
        for step in range(3):
            one, other = (batches_of([case], (6, 6, 4), augmentation=strong, labels=it)[step] for it in (store, None))
            assert same(one, other)
            assert other.layers == {}

    def test_in_slices_and_beyond_the_scan(self, labels):
        case, store = labels
        batch = batches_of([case], (12, 4), labels=store)[3]
        assert torch.equal(batch.layers["new"], 3 * batch.label)
        assert batch.layers["new"][0, [0, -1]].eq(0).all()

    def test_of_an_unlabelled_case_may_be_known(self, tmp_path):
        case = make_case("a", (6, 5), Quality.NONE)
        store = LabelStore(tmp_path, ("new",), {"a": case.given}, steps=(1,))
        store.append("test", [Revision("a", {"new": torch.ones(6, 5).byte()})])
        before, after = (batches_of([case], (8, 5), Composition(unlabelled=1), labels=store)[step] for step in (0, 1))
        assert before.layers["new"].eq(IGNORE).all()
        assert after.label.eq(IGNORE).all()
        assert after.layers["new"][0, 1:7].eq(1).all()
        assert after.layers["new"][0, [0, 7]].eq(IGNORE).all()

    def test_cases_are_drawn_as_the_labels_say(self, tmp_path):
        cases = [make_case(name, (6, 5), label=np.ones((6, 5), np.uint8)) for name in "abc"]
        store = LabelStore(tmp_path, ("new",), {case.case.name: case.given for case in cases}, steps=(3, 6))
        store.append("test", [Revision(name, sampling_weight=0.0) for name in "ab"])
        store.append("test", [])
        batches, plain = (
            batches_of(cases, (4, 4), Composition(any_labelled=3), labels=labels) for labels in (store, None)
        )
        for step in (0, 2, 6, 8):
            assert batches[step].cases == plain[step].cases
        assert {case for step in (3, 4, 5) for case in batches[step].cases} == {"c"}

    def test_are_waited_for(self, labels, monkeypatch):
        case, store = labels
        awaited = []
        monkeypatch.setattr(store, "wait_for", awaited.append)
        for step in (1, 2, 7):
            batches_of([case], (4, 4, 4), labels=store)[step]
        assert awaited == [0, 1, 1]


class TestMapsAndValues:
    @pytest.fixture
    def labels(self, tmp_path):
        """A map of one case and a value of each slice, from step 2 on; the map is 300 times the label."""
        case = make_case("a", (9, 8, 7), label=(1 + np.arange(9 * 8 * 7) % 4).astype(np.uint8).reshape(9, 8, 7))
        store = LabelStore(tmp_path / "labels", (), {"a": case.given}, (2,), maps=("regions",), values=("chance",))
        regions, chances = 300 * torch.tensor(case.label).int(), [each / 8 for each in range(7)]
        store.append("test", [Revision("a", maps={"regions": regions}, values={"chance": chances})])
        return case, store

    def test_are_cut_and_warped_with_the_label(self, labels):
        case, store = labels
        strong = replace(LEFT_ATRIUM_PROTOCOL, rotation=40, zoom=0.3)
        batches = batches_of([case], (6, 6), augmentation=strong, labels=store)
        assert any(batches[step].label.eq(IGNORE).any() for step in range(2, 5))
        for step in range(5):
            batch = batches[step]
            known = 300 * batch.label if step >= 2 else torch.full_like(batch.label, -1)
            assert torch.equal(batch.maps["regions"], torch.where(batch.label == IGNORE, -1, known))
            assert batch.layers == {}

    def test_a_map_is_0_in_the_padding(self, labels):
        case, store = labels
        regions = batches_of([case], (12, 4), labels=store)[3].maps["regions"]
        assert regions[0, [0, -1]].eq(0).all()
        assert regions[0, 1:-2].ge(300).all()

    def test_a_value_is_that_of_the_slice(self, labels):
        case, store = labels
        batches = batches_of([case], (9, 8), labels=store)
        assert batches[1].values["chance"].isnan().all()
        for step in range(2, 12):
            batch = batches[step]
            assert batch.values["chance"].dtype == torch.float32
            for label, value in zip(batch.label, batch.values["chance"], strict=True):
                assert np.array_equal(label, case.label[..., int(8 * value)])

    def test_or_the_one_of_the_case(self, labels, tmp_path):
        case, _ = labels
        store = LabelStore(tmp_path / "one", (), {"a": case.given}, (0,), values=("chance",))
        store.append("test", [Revision("a", values={"chance": 0.37})])
        for patch in ((4, 4), (4, 4, 4)):
            found = batches_of([case], patch, labels=store)[5].values["chance"]
            assert torch.equal(found, torch.full_like(found, 37) / 100)


class TestUnlabelled:
    def test_hidden_labels_change_nothing(self, make_folder, write_scan, tmp_path):
        """Neither a label file of a case of quality 'none' nor its absence may be felt in any batch."""
        root = make_folder(table="case,quality\ncase_1,none\ncase_2,expert\n")
        preprocessing = Preprocessing((None, None, None), (Normalisation(),))

        def all_batches():
            folder = DataFolder.open(root)
            cases = prepare(folder, folder.cases, preprocessing, tmp_path / "cache")
            batches = batches_of(cases, (8, 8, 8), Composition(expert=1, noisy=1, unlabelled=2), foreground=1.0)
            return [batches[step] for step in range(6)]

        before = all_batches()
        path = root / "labelsTr" / "case_1.nii.gz"
        write_scan(path, np.ones((20, 18, 16), dtype=np.uint8), np.diag([1, 1, 1.5, 1]))
        changed = all_batches()
        path.unlink()
        absent = all_batches()
        for first, second, third in zip(before, changed, absent, strict=True):
            assert same(first, second)
            assert same(first, third)
            assert first.cases[2:] == ("case_1", "case_1")
            assert first.label[2:].eq(IGNORE).all()
            assert first.label[:2].ne(IGNORE).all()

    def test_their_crops_lie_where_those_of_labelled_cases_without_preference_lie(self):
        labelled = make_case("a", (12, 12, 12))
        unlabelled = replace(labelled, case=replace(labelled.case, quality=Quality.NONE), label=None, foreground=None)
        for step in range(5):
            one = batches_of([labelled], (4, 4, 4))[step]
            other = batches_of([unlabelled], (4, 4, 4), Composition(unlabelled=1), foreground=1.0)[step]
            assert torch.equal(one.image, other.image)


class TestStepSampler:
    @pytest.mark.parametrize("done", [0, 3, 7])
    def test_yields_what_is_left(self, done):
        sampler = StepSampler(7, done)
        assert list(sampler) == list(range(done, 7))
        assert len(sampler) == 7
