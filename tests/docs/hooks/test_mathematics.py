from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

HOOK = "mathematics"
PAGE = SimpleNamespace(file=SimpleNamespace(src_uri="methods/X.md"))


def test_formulas_become_mathml(hook):
    page = '<p>With <span class="arithmatex">\\(p_c &lt; 1\\)</span>:</p><div class="arithmatex">\\[\nL=1\n\\]</div>'
    shown = hook.on_page_content(page, page=PAGE)
    assert "arithmatex" not in shown
    assert "<msub><mi>p</mi><mi>c</mi></msub><mo>&lt;</mo>" in shown
    assert '<div class="formula"><math' in shown
    assert 'display="block"' in shown


def test_overlines_are_drawn_by_the_style_sheet(hook):
    mathml = hook.converted(r"\overline{a+b}^{\,m}", block=False)
    assert '<mrow class="overline">' in mathml
    assert "―" not in mathml


def test_arg_max_is_known(hook):
    assert "\\" not in hook.converted(r"\arg\max_c p_c", block=True)


def test_unknown_commands_are_errors_and_warnings_of_the_build(hook, caplog):
    with pytest.raises(ValueError, match="nosuch"):
        hook.converted(r"\nosuch x", block=False)
    formula = '<span class="arithmatex">\\(\\nosuch x\\)</span>'
    with caplog.at_level(logging.WARNING, logger="mkdocs.hooks.mathematics"):
        assert hook.on_page_content(formula, page=PAGE) == formula
    assert "methods/X.md" in caplog.text
