from __future__ import annotations

import json

import pytest

from segmend.core.errors import InputError
from segmend.data.nnunet import declared_classes, declared_reader


@pytest.fixture
def model(tmp_path):
    """Folder of a model with the validation cases of a fold, and a data folder."""
    (tmp_path / "model" / "fold_0" / "validation").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    return tmp_path / "model"


def write(path, content):
    path.write_text(json.dumps(content))


def reader(model):
    found = declared_reader(model / "fold_0" / "validation", model.parent / "data")
    return found and found.value


def test_nothing_is_declared(model):
    assert reader(model) is None
    write(model.parent / "data" / "dataset.json", {"overwrite_image_reader_writer": "None"})
    assert reader(model) is None


def test_plans_of_the_model_come_before_the_data_folder(model):
    write(model.parent / "data" / "dataset.json", {"overwrite_image_reader_writer": "NibabelIO"})
    assert reader(model) == "NibabelIO"
    write(model / "plans.json", {"image_reader_writer": "SimpleITKIO"})
    assert reader(model) == "SimpleITKIO"
    write(model / "fold_0" / "validation" / "dataset.json", {"overwrite_image_reader_writer": "Tiff3DIO"})
    assert reader(model) == "Tiff3DIO"


def test_damaged_files_are_named_where_they_are_asked_for(model):
    (model.parent / "plans.json").write_text("of somebody else")
    assert reader(model) is None
    (model / "fold_0" / "validation" / "plans.json").write_text("{")
    with pytest.raises(InputError, match=r"validation/plans\.json: cannot be read"):
        reader(model)


def test_a_reader_that_is_no_name(model):
    write(model / "plans.json", {"image_reader_writer": ["NibabelIO"]})
    with pytest.raises(InputError, match=r"image_reader_writer is \['NibabelIO'\]"):
        reader(model)


def test_classes_of_the_model_in_the_order_of_their_values(model):
    arrays = model / "fold_0" / "validation"
    assert declared_classes(arrays) is None
    write(model / "dataset.json", {"labels": {"tumour": 2, "background": 0, "liver": 1, "ignore": 3}})
    found = declared_classes(arrays)
    assert found
    assert found.value == ("background", "liver", "tumour")


def test_regions_are_refused(model):
    write(model / "dataset.json", {"labels": {"background": 0, "whole": [1, 2], "core": [2]}})
    with pytest.raises(InputError, match=r"dataset\.json: is of a model of regions"):
        declared_classes(model / "fold_0" / "validation")
