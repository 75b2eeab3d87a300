r"""Docstrings for the site: Greek letters for ``\alpha``, and examples as code.

Docstrings are written to be read in an editor and in ``--help``, so formulas are plain text with names of LaTeX.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import griffe

_ACCENTS = {"hat": "\u0302", "bar": "\u0304", "~": "\u0303", "tilde": "\u0303"}
_SYMBOLS = {"ell": "ℓ", "exp": "exp", "sum": "Σ", "epsilon": "ε", "nabla": "∇", "cdot": "·", "in": "∈"}
_ACCENTED = re.compile(r"\\(hat|bar|tilde)\s+(\\?[A-Za-z]+?)(?![A-Za-z])|\\(~)(\\?[A-Za-z]+)")
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_RETURNS = re.compile(r"^[ ]*Returns:\n[ ]*", re.MULTILINE)
_EXAMPLE = re.compile(r"^([ ]*)Example:\n((?:\1[ ]+.*\n?|[ ]*\n)+)", re.MULTILINE)


def letters(text: str) -> str:
    r"""Write the LaTeX names in a text as the characters they stand for; unknown ones stay.

    Args:
        text: such as ``\lambda (\bar p - p_s)``.
    """
    accented = _ACCENTED.sub(lambda match: _symbol(match[2] or match[4]) + _ACCENTS[match[1] or match[3]], text)
    return unicodedata.normalize("NFC", _COMMAND.sub(lambda match: _symbol(match[0]), accented))


def examples(text: str) -> str:
    """Make the section ``Example:`` of a docstring a block of code: Python, or a command line.

    Args:
        text: the docstring.
    """

    def fenced(match: re.Match[str]) -> str:
        indent, lines = match[1], [line.strip() for line in match[2].strip().splitlines()]
        python = any(line.startswith(">>>") for line in lines)
        code = [line.removeprefix(">>>").removeprefix("...").strip() for line in lines]
        block = ["**Example:**", "", "```python" if python else "```shell", *code, "```"]
        return "\n".join(indent + line if line else "" for line in block) + "\n"

    return _EXAMPLE.sub(fenced, text)


def _symbol(name: str) -> str:
    """The character of a name with its backslash; the name itself if it has none."""
    word = name.removeprefix("\\")
    if not name.startswith("\\"):
        return name
    if word in _SYMBOLS:
        return _SYMBOLS[word]
    size = "CAPITAL" if word[0].isupper() else "SMALL"
    spelling = {"lambda": "LAMDA"}.get(word.lower(), word.upper())
    try:
        return unicodedata.lookup(f"GREEK {size} LETTER {spelling}")
    except KeyError:
        return name


class ReadableDocstrings(griffe.Extension):
    """Rewrites each docstring when its object is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object, if it has one.

        Args:
            obj: module, class, function or attribute.
        """
        if obj.docstring:
            text = examples(letters(obj.docstring.value))
            if isinstance(obj, griffe.Function) and obj.returns is not None:
                # What stands before a colon would be taken for the type of what is returned.
                text = _RETURNS.sub(lambda match: f"{match[0]}{obj.returns}: ", text)
            obj.docstring.value = text
