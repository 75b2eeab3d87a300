from __future__ import annotations

import griffe
import pytest

HOOK = "docstrings"


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        (r"\lambda (1 - \tau)", "λ (1 - τ)"),
        (r"mean_{R_2} \ell_1", "mean_{R_2} ℓ_1"),
        (r"\bar p_k < 0.5", "p\u0304_k < 0.5"),
        (r"onehot(\hat y)", "onehot(ŷ)"),
        (r"Dir(\~\alpha)", "Dir(α\u0303)"),
        (r"\Sigma", "Σ"),
        (r"a\b and \unknown", r"a\b and \unknown"),
    ],
)
def test_names_of_latex_become_characters(hook, text, readable):
    assert hook.letters(text) == readable


def test_examples_become_code(hook):
    assert hook.examples("Text.\n\nExample:\n    >>> f(1)\n    >>> f(2)\n") == (
        "Text.\n\n**Example:**\n\n```python\nf(1)\nf(2)\n```\n"
    )
    assert "```shell\nsegmend check --data DATA\n```" in hook.examples("Example:\n    segmend check --data DATA\n")


def test_colon_in_what_is_returned_is_no_type(hook, tmp_path):
    code = 'def f() -> int:\n    r"""Count \\alpha.\n\n    Returns:\n        One number: the count.\n    """\n'
    (tmp_path / "counting.py").write_text(code)
    extensions = griffe.Extensions(hook.ReadableDocstrings())
    docstring = griffe.load("counting", search_paths=[tmp_path], extensions=extensions)["f"].docstring
    sections = docstring.parse("google", returns_multiple_items=False, returns_named_value=False)
    assert docstring.value.startswith("Count α.")
    (returned,) = sections[-1].value
    assert str(returned.annotation) == "int"
    assert returned.description == "One number: the count."
