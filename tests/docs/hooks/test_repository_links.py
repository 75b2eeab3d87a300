from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from mkdocs.config.base import load_config
from mkdocs.structure.files import Files

HOOK = "repository_links"


@pytest.fixture
def rewritten(hook, tmp_path):
    for name in ("docs/methods/PLIL.md", "docs/decisions/001.md", "src/plil.py", "benchmarks/curve.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "mkdocs.yml").write_text("site_name: S\nrepo_url: https://example.org/s/\nplugins: []\n")
    config = load_config(str(tmp_path / "mkdocs.yml"))
    files = Files([])

    def call(markdown, source="methods/PLIL.md"):
        page = SimpleNamespace(file=SimpleNamespace(src_uri=source))
        return hook.on_page_markdown(markdown, page=page, config=config, files=files)

    call.files = files
    return call


def test_files_outside_of_the_pages_are_linked_in_the_repository(rewritten):
    assert rewritten("[a](../../src/plil.py#L3)") == "[a](https://example.org/s/blob/main/src/plil.py#L3)"
    assert rewritten("[a](../src)", "index.md") == "[a](https://example.org/s/tree/main/src)"
    assert rewritten("[a](decisions/)", "index.md") == "[a](https://example.org/s/tree/main/docs/decisions)"


@pytest.mark.parametrize("link", ["[a](../decisions/001.md)", "[a](https://x.org)", "[a](#b)", "[a](mailto:a@b.c)"])
def test_other_links_stay(rewritten, link):
    assert rewritten(link) == link


def test_code_stays(rewritten):
    assert rewritten("```\n[a](../../src/plil.py)\n```") == "```\n[a](../../src/plil.py)\n```"


def test_pictures_become_files_of_the_site(rewritten):
    assert rewritten("![c](../../benchmarks/curve.png)") == "![c](../benchmarks/curve.png)"
    assert rewritten("![c](../benchmarks/curve.png)", "results.md") == "![c](benchmarks/curve.png)"
    assert [file.src_uri for file in rewritten.files] == ["benchmarks/curve.png"]


def test_missing_files_are_warnings(rewritten, caplog):
    with caplog.at_level(logging.WARNING, logger="mkdocs.hooks.repository_links"):
        rewritten("[a](../../src/gone.py)")
    assert "../../src/gone.py" in caplog.text
