"""Commands and arguments that are called like keywords of Python."""

from __future__ import annotations

from refusals import raises

import segmend
from segmend.cli import main
from segmend.cli.flags import in_flags
from segmend.cli.names import command_name, flag_of
from segmend.commands.export_labels import export_labels
from segmend.commands.import_data import import_data
from segmend.core.errors import InputError


def test_names_of_commands_and_arguments():
    assert [command_name(each) for each in (import_data, export_labels)] == ["import", "export-labels"]
    assert [flag_of(name) for name in ("from_", "out")] == ["--from", "--out"]
    assert segmend.import_data.__name__ == "import_data"


def test_messages_have_the_names_of_the_command_line(tmp_path, capsys):
    assert main(["import", "--data", str(tmp_path), "--out", "x"]) == 2
    assert "segmend import: --from must be given. Add --from." in capsys.readouterr().err
    assert main(["import", "--from", "dicomm", "--data", str(tmp_path), "--out", "x"]) == 2
    assert "--from must be msd, totalsegmentator or dicom, got 'dicomm'" in capsys.readouterr().err
    error = InputError("from_", "is wrong", "give another `from_`")
    assert in_flags(error, import_data) == "--from: is wrong. Give another --from."


def test_a_file_of_arguments_may_write_either_name(tmp_path, capsys):
    for name in ("from", "from_"):
        file = tmp_path / f"{name}.yaml"
        file.write_text(f"{name}: msd\ndata: {tmp_path}\nout: {tmp_path}_out\n")
        assert main(["import", "--config", str(file)]) == 1
        assert f"{tmp_path / 'dataset.json'}: does not exist" in capsys.readouterr().err
    (tmp_path / "wrong.yaml").write_text("data: x\nout: y\nfrom: nnunet\n")
    assert main(["import", "--config", str(tmp_path / "wrong.yaml")]) == 1
    assert "wrong.yaml line 3: from_ must be msd, totalsegmentator or dicom" in capsys.readouterr().err


def test_python_callers_give_paths_as_text(tmp_path):
    with raises("missing-file", tmp_path / "dataset.json"):
        segmend.import_data("msd", str(tmp_path), f"{tmp_path}_out")
