from __future__ import annotations

import sys

import pytest
import yaml

from segmend.cli import main
from segmend.cli.config_files import ConfigError, checked
from segmend.commands.audit import audit
from segmend.commands.corrupt import corrupt
from segmend.commands.train import train
from segmend.core.config import class_named
from segmend.core.errors import InputError
from segmend.engine.run import Run
from segmend.methods import Method, Supervised, all_methods

RUNS_AND_LEAVES_A_FILE = "from pathlib import Path\nPath(r'{mark}').touch()\n"
OWN_METHOD = """
from segmend.methods import Supervised

class Mine(Supervised):
    "A method of one's own."
"""


@pytest.fixture
def write(tmp_path):
    def write(content: str):
        path = tmp_path / "config.yaml"
        path.write_text(content, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that can be imported, and leaves a file when it is."""
    mark = tmp_path / "OWNED"
    (tmp_path / "someones_module.py").write_text(RUNS_AND_LEAVES_A_FILE.format(mark=mark) + OWN_METHOD)
    monkeypatch.syspath_prepend(tmp_path)
    yield mark
    sys.modules.pop("someones_module", None)


def arguments(words: list[str]):
    """What a file became."""
    return yaml.safe_load(words[words.index("--config") + 1])


class TestOfSomebodyElse:
    @pytest.mark.parametrize(
        "chosen",
        [
            "method: {class_path: os.system, init_args: {command: 'touch OWNED'}}",
            "network: {class_path: os.system, init_args: {command: 'touch OWNED'}}",
            "method: {class_path: subprocess.Popen, init_args: {args: [touch, OWNED]}}",
            "method: {class_path: os.remove, init_args: {path: kept}}",
            "method: os.system",
        ],
    )
    def test_runs_nothing(self, make_folder, tmp_path, monkeypatch, capsys, write, chosen):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "kept").touch()
        path = write(f"data: {make_folder()}\nout: {tmp_path / 'out'}\n{chosen}\n")
        words = ["--iterations", "1", "--patch", "16", "16", "16"]
        if "network" not in chosen:
            words += ["--network", "UNet", "--network.width", "4"]
        assert main(["train", "--config", path, *words]) == 1
        printed = capsys.readouterr().err
        assert "class_path" in printed
        assert path in printed
        assert "Traceback" not in printed
        assert not (tmp_path / "OWNED").exists()
        assert not (tmp_path / "out").exists()
        assert (tmp_path / "kept").exists()

    @pytest.mark.parametrize(
        "content",
        [
            "method: someones_module.Mine",
            "method: {class_path: someones_module.Mine}",
            "network: {class_path: SegResNetDS, init_args: {preprocess: {class_path: someones_module.Mine}}}",
            "network: {class_path: SwinUNETR, init_args: {downsample: {class_path: someones_module.Mine}}}",
            "augmentation: {class_path: someones_module.Mine}",
            "optimisation: {clip: {class_path: someones_module.Mine}}",
            "data: {class_path: someones_module.Mine}",
            "patch: [{class_path: someones_module.Mine}]",
        ],
    )
    def test_imports_nothing(self, write, module, content):
        with pytest.raises(ConfigError, match=r"config\.yaml line 1: .*class_path"):
            checked(["--config", write(content)], train)
        assert not module.exists()

    def test_imports_nothing_where_a_library_takes_a_function(self, write, module, capsys):
        path = write(
            "data: d\nout: o\nnetwork: {class_path: SegResNetDS, init_args: {preprocess: someones_module.Mine}}"
        )
        assert main(["train", "--config", path]) != 0
        assert "preprocess" in capsys.readouterr().err
        assert not module.exists()

    def test_imports_nothing_in_the_recipes_of_a_recipe(self, write, module):
        path = write("recipe: {class_path: MixedNoise, init_args: {recipes: [{MissingLabel: {class_path: a.B}}]}}")
        with pytest.raises(ConfigError, match="names a class_path"):
            checked(["--config", path], corrupt)

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("method.class_path: os.system", "'method.class_path' is not an argument of 'segmend train'"),
            ("config: other.yaml", "'config' is not an argument"),
            ("import: os", "'import' is not an argument"),
            ("methd: PLIL", "Did you mean method"),
            ("method: PLILL", "class_path 'PLILL' is not known. Did you mean PLIL"),
            ("method: VNet", "is not known"),
            ("method: segmend.networks.VNet", "is not a Method"),
            ("method: [PLIL]", "names no method"),
            ("method: {class_path: 5}", "class_path of the method is not text"),
            ("method: {class_path: PLIL, dict_kwargs: {}}", "'dict_kwargs' is not known of a method"),
            ("method: {class_path: PLIL, init_args: [1]}", "init_args is not a mapping"),
            ("method: {class_path: PLIL, init_args: {pases: 1}}", "PLIL has no argument 'pases'. Did you mean passes"),
            ("method: {class_path: PLIL, init_args: {network: 1}}", "PLIL has no argument 'network'"),
            ("method: PLIL\nmethod: ALC", "line 2: 'method' stands twice"),
            ("augmentation: other.yaml", "'augmentation' is not a mapping"),
            ("optimisation: {learning_rate: .nan}", "'learning_rate' is NaN"),
            ("- 1", "holds no arguments"),
            ("", "holds no arguments"),
            ("a: !!python/name:os.system", "only plain values"),
        ],
    )
    def test_what_it_cannot_say(self, write, content, problem):
        with pytest.raises(ConfigError) as error:
            checked(["--config", write(content)], train)
        assert problem in str(error.value)

    def test_an_unusable_file_is_no_misuse_of_the_command_line(self, write, capsys):
        assert main(["train", "--config", write("method: {class_path: builtins.int}")]) == 1
        assert "See 'segmend" not in capsys.readouterr().err
        assert main(["train", "--config", "nowhere.yaml"]) == 2
        assert "there is no file 'nowhere.yaml'" in capsys.readouterr().err


class TestFile:
    def test_comes_first_with_complete_paths(self, write):
        path = write("data: here\nmethod: PLIL\nnetwork: {class_path: UNet, init_args: {width: 4}}\n")
        words = checked(["--seed", "1", "--config", path, "--out", "there"], train)
        assert words[2:] == ["--seed", "1", "--out", "there"]
        assert arguments(words) == {
            "data": "here",
            "method": "segmend.methods.mixed.plil.PLIL",
            "network": {"class_path": "segmend.networks.unet.UNet", "init_args": {"width": 4}},
        }

    def test_two_files_come_in_their_order(self, write, tmp_path):
        (tmp_path / "second.yaml").write_text("seed: 2")
        words = checked(["--config", write("seed: 1"), "--config", str(tmp_path / "second.yaml")], train)
        assert [yaml.safe_load(word) for word in words[1::2]] == [{"seed": 1}, {"seed": 2}]

    def test_the_environment_gives_no_arguments(self, monkeypatch, capsys):
        for name in ("METHOD", "SEGMEND_TRAIN_METHOD", "SEGMEND_TRAIN__METHOD", "CONFIG"):
            monkeypatch.setenv(name, "os.system")
        monkeypatch.setenv("JSONARGPARSE_DEFAULT_ENV", "true")
        assert main(["train", "--out", "o"]) == 2
        assert "data" in capsys.readouterr().err

    def test_a_part_may_lie_in_a_file_of_its_own(self, tmp_path):
        (tmp_path / "a.yaml").write_text("zoom: 0.1")
        words = checked(["--augmentation", str(tmp_path / "a.yaml")], train)
        assert yaml.safe_load(words[1]) == {"zoom": 0.1}
        (tmp_path / "a.yaml").write_text("zoom: {class_path: os.system}")
        with pytest.raises(ConfigError, match="names a class_path"):
            checked(["--augmentation", str(tmp_path / "a.yaml")], train)


class TestOwnClasses:
    def test_are_imported_if_the_user_names_them(self, module):
        words = checked(["--method", "someones_module.Mine"], train)
        assert words == ["--method", "someones_module.Mine"]
        assert module.exists()

    def test_may_be_named_by_a_file_if_the_user_names_them_too(self, write, module):
        path = write("method: {class_path: someones_module.Mine, init_args: {q: 0.5}}")
        with pytest.raises(ConfigError, match="`import someones_module` if you trust"):
            checked(["--config", path], train)
        for words in (["--import", "someones_module"], ["--method", "someones_module.Mine"]):
            found = arguments(checked(["--config", path, *words], train))["method"]
            assert found == {"class_path": "someones_module.Mine", "init_args": {"q": 0.5}}

    def test_are_found_in_runs_once_they_are_imported(self, module):
        with pytest.raises(InputError, match="is not known"):
            class_named("someones_module.Mine", all_methods(), Method)
        __import__("someones_module")
        assert issubclass(class_named("someones_module.Mine", all_methods(), Method), Supervised)

    @pytest.mark.parametrize(
        ("words", "problem"),
        [
            (["--method", "os.system"], "is not known"),
            (["--method", "subprocess.Popen"], "is not a Method"),
            (["--method.help", "os.system"], "is not known"),
            (["--network", "segmend.methods.PLIL"], "is not a Network"),
            (["--method", "no_such_module.Mine"], "cannot be imported"),
            (["--import", "no_such_module"], "cannot be imported"),
            (["--method", "{class_path: os.system}"], "is not known"),
            (["--method", "{init_args: {}}"], "give NAME"),
            (["--method", "{a: [}"], "cannot be read"),
            (["--method.class_path", "os.system"], "names a class"),
            (["--network.downsample", "{class_path: os.system}"], "names a class"),
            (["--config", "{method: os.system}"], "is not known"),
        ],
    )
    def test_what_the_command_line_cannot_say(self, words, problem):
        with pytest.raises(InputError) as error:
            checked(words, train)
        assert problem.lower() in str(error.value).lower()

    def test_as_a_mapping_on_the_command_line(self):
        (word,) = checked(["--method", "{class_path: PLIL, init_args: {passes: 3}}"], audit)[1:]
        assert yaml.safe_load(word) == {"class_path": "segmend.methods.mixed.plil.PLIL", "init_args": {"passes": 3}}


class TestPythonCallers:
    def test_a_function_that_gives_no_method_is_refused_and_not_replaced_by_the_default(self, make_folder, tmp_path):
        with pytest.raises(InputError, match=r"^method: gives 0, which is not a Method"):
            train(data=make_folder(), method=lambda _: 0, out=tmp_path / "out", patch=(16, 16, 16))
        assert not (tmp_path / "out").exists()

    def test_a_function_that_gives_no_network_is_refused(self, make_folder, tmp_path):
        with pytest.raises(InputError, match=r"^network: gives 0, which is not a Network"):
            train(data=make_folder(), network=lambda *_: 0, out=tmp_path / "out", patch=(16, 16, 16))


@pytest.mark.parametrize("width", [-1, 0, 2.5])
def test_a_network_that_cannot_be_built_is_an_error_in_words(make_folder, tmp_path, write, capsys, width):
    path = write(f"data: {make_folder()}\nnetwork: {{class_path: ResUNet, init_args: {{width: {width}}}}}")
    assert main(["train", "--config", path, "--out", str(tmp_path / "out")]) != 0
    assert "width" in capsys.readouterr().err


def test_a_run_is_repeated_from_its_configuration(make_folder, tmp_path):
    small = ["--network", "UNet", "--network.width", "2", "--network.stages", "2", "--patch", "16", "16", "16"]
    words = ["--iterations", "1", "--cache", str(tmp_path / "cache")]
    data, first, second = str(make_folder()), tmp_path / "first", tmp_path / "second"
    assert main(["train", "--data", data, "--out", str(first), *small, *words]) == 0
    again = ["--config", str(first / "config.yaml"), "--seed", "1", "--out", str(second)]
    assert main(["train", *again, "--cache", str(tmp_path / "cache")]) == 0
    before, after = Run(first).config, Run(second).config
    assert {name for name in before if before[name] != after[name]} == {"seed", "out"}
