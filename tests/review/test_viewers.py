"""What ITK-SNAP and 3D Slicer are given; the programs are stand-ins."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from refusals import raises

from segmend.data.image import read_label, write_label
from segmend.review.viewers import edited_file, prepare


@pytest.fixture
def made(make_review_audit):
    return make_review_audit("a", channels=("T1", "T2"))


@pytest.fixture(autouse=True)
def no_programs(monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def prepared(made, tool, **options):
    scans = made.review().scans
    return prepare(scans, scans.case("a"), tool, **options)


class TestItkSnap:
    def test_command(self, made):
        found = prepared(made, "itksnap")
        words = shlex.split(found.command)
        assert words[:3] == ["itksnap", "-g", str(made.data / "imagesTr" / "a_0000.nii.gz")]
        assert words[3:5] == ["-s", str(found.file)]
        assert words[-2:] == ["-o", str(made.data / "imagesTr" / "a_0001.nii.gz")]

    def test_names_and_colours_by_value(self, made):
        words = prepared(made, "itksnap").words
        lines = Path(words[words.index("-l") + 1]).read_text().splitlines()[1:]
        assert [shlex.split(line) for line in lines] == [
            ["0", "0", "0", "0", "0", "0", "0", "Clear Label"],
            ["1", "230", "159", "0", "1", "1", "1", "organ"],
            ["4", "86", "180", "233", "1", "1", "1", "lesion"],
        ]

    def test_is_not_started_where_it_is_not_installed(self, made):
        assert prepared(made, "itksnap").start() is False

    @pytest.mark.skipif(os.name != "posix", reason="needs a script that can be run")
    def test_is_started_where_it_is_installed(self, made, tmp_path):
        program = tmp_path / "bin" / "itksnap"
        program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/given\n')
        program.chmod(0o755)
        found = prepared(made, "itksnap")
        assert found.start()
        for _ in range(200):
            if (tmp_path / "given").is_file() and (tmp_path / "given").read_text().endswith("\n"):
                break
            time.sleep(0.05)
        assert (tmp_path / "given").read_text().split() == list(found.words[1:])


class TestWorkingCopy:
    def test_begins_as_the_label_or_the_proposal(self, made, contents):
        before = contents(made.data)
        assert (read_label(prepared(made, "itksnap").file)[0] == made.arrays("a")[1]).all()
        edited_file(made.review().scans, made.review().scans.case("a")).unlink()
        assert (read_label(prepared(made, "itksnap", start="proposal").file)[0] == made.arrays("a")[2]).all()
        assert contents(made.data) == before

    def test_what_was_drawn_stays(self, made):
        file = prepared(made, "itksnap").file
        drawn = np.ones_like(made.arrays("a")[1])
        write_label(file, drawn, like=file)
        prepared(made, "slicer", start="proposal")
        assert (read_label(file)[0] == drawn).all()


@pytest.mark.parametrize(("tool", "start"), [("paint", "label"), ("", "label"), ("slicer", "other")])
def test_unknown_names(made, tool, start):
    with raises("unknown-name"):
        prepared(made, tool, start=start)
    assert not (made.place.root / "review").exists()


class Slicer:
    """As much of 3D Slicer as the script uses: label volumes as arrays z, y, x, and segmentations as masks."""

    def __init__(self):
        self.nodes, self.button, self.shown = [], None, []
        util = SimpleNamespace(
            loadVolume=lambda path, properties: SimpleNamespace(path=path, **properties),
            loadLabelVolume=lambda path, properties: SimpleNamespace(array=read_label(Path(path))[0].T.copy()),
            arrayFromVolume=lambda node: node.array,
            updateSegmentBinaryLabelmapFromArray=lambda mask, node, number, volume: node.masks.update({number: mask}),
            arrayFromSegmentBinaryLabelmap=lambda node, number, volume: node.masks.get(
                number, np.zeros_like(node.masks["organ"])
            ),
            updateVolumeFromArray=lambda node, array: setattr(node, "array", array),
            saveNode=self.save,
            setSliceViewerLayers=lambda **layers: None,
            showStatusMessage=lambda *text: self.shown.append(text),
            errorDisplay=lambda text: self.shown.append(text),
            selectModule=lambda name: None,
            mainWindow=lambda: SimpleNamespace(addToolBar=lambda bar: None),
        )
        self.module = ModuleType("slicer")
        self.module.util = util
        self.module.mrmlScene = SimpleNamespace(AddNewNodeByClass=self.add, RemoveNode=lambda node: None)
        self.qt = ModuleType("qt")
        self.qt.QToolBar = lambda name: SimpleNamespace(addAction=lambda text: SimpleNamespace(connect=self.connect))

    def connect(self, signal, action):
        assert signal == "triggered()"
        self.button = action

    def add(self, kind, name):
        assert kind == "vtkMRMLSegmentationNode"
        node = SimpleNamespace(name=name, masks={}, segments=[])

        def segment(number, title, colour):
            node.segments.append((title, colour))
            return number

        node.GetSegmentation = lambda: SimpleNamespace(
            AddEmptySegment=segment, GetSegmentIdBySegmentName=lambda title: title
        )
        node.GetDisplayNode = lambda: SimpleNamespace(
            SetVisibility2DFill=lambda on: None, SetVisibility3D=lambda on: None
        )
        node.CreateDefaultDisplayNodes = lambda: None
        node.SetReferenceImageGeometryParameterFromVolumeNode = lambda volume: None
        self.nodes.append(node)
        return node

    def save(self, node, path):
        write_label(Path(path), node.array.T, like=Path(path))
        return True


class TestSlicer:
    def test_the_script_shows_all_and_saves_the_values_of_the_data(self, made, monkeypatch):
        found = prepared(made, "slicer")
        words = found.words
        assert words[:2] == ("Slicer", "--python-script")
        slicer = Slicer()
        monkeypatch.setitem(sys.modules, "slicer", slicer.module)
        monkeypatch.setitem(sys.modules, "qt", slicer.qt)
        code = compile(Path(words[2]).read_text(), words[2], "exec")
        exec(code, {"__name__": "__main__", "__file__": words[2]})  # as Slicer runs it
        assert [node.name for node in slicer.nodes] == ["label", "proposal", "edited"]
        assert [name for name, _ in slicer.nodes[0].segments] == ["organ", "lesion"]
        assert slicer.nodes[0].segments[0][1] == pytest.approx([230 / 255, 159 / 255, 0])
        edited = slicer.nodes[-1]
        edited.masks["lesion"][0, 0, 0] = 1
        assert slicer.button()
        label = made.arrays("a")[1]
        label[0, 0, 0] = 4
        assert (read_label(found.file)[0] == label).all()

    def test_names_are_data_and_no_code(self, make_review_audit, tmp_path):
        name = "\"); import os; os.remove('x'); (\""
        made = make_review_audit(name)
        scans = made.review().scans
        words = prepare(scans, scans.case(name), "slicer").words
        assert name not in Path(words[2]).read_text()
        assert json.loads(Path(words[2]).with_name("case.json").read_text())["case"] == name
