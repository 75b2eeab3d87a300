r"""Formulas, ``$...$`` and ``$$...$$`` in the pages, as MathML: browsers set it without a script or a font."""

from __future__ import annotations

import html
import logging
import re
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element
from mkdocs.structure.pages import Page

logger = logging.getLogger("mkdocs.hooks.mathematics")

_LINE = "&#x02015;"
"""What the converter puts over a term for an overline; browsers do not stretch it, so style sheets draw the line."""

_UNKNOWN = re.compile(r"\\[A-Za-z]+")
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, *, page: Page, **_: object) -> str:
    """Replace what ``pymdownx.arithmatex`` has marked as formulas.

    Args:
        content: the page as HTML.
        page: the page, named in warnings.
    """

    def formula(match: re.Match[str]) -> str:
        latex, block = html.unescape(match[3]).strip(), match[2] == "["
        try:
            mathml = converted(latex, block=block)
        except ValueError as error:
            logger.warning("'%s' has the formula '%s': %s", page.file.src_uri, latex, error)
            return match[0]
        return f'<div class="formula">{mathml}</div>' if block else mathml

    return _FORMULA.sub(formula, content)


def converted(latex: str, *, block: bool) -> str:
    """Turn a formula into MathML.

    Args:
        latex: without the dollar signs.
        block: on a line of its own.

    Raises:
        ValueError: it cannot be read, or has a command that the converter does not know.
    """
    try:
        math = convert_to_element(latex.replace(r"\arg", r"\mathrm{arg}"), display="block" if block else "inline")
    except Exception as error:  # the converter has no common class of errors
        raise ValueError(f"cannot be read ({type(error).__name__})") from error
    for term in math.iter("mover"):
        if len(term) == 2 and term[1].text == _LINE:
            term.tag = "mrow"
            term.set("class", "overline")
            term.remove(term[1])
    for element in math.iter():
        element.text = html.unescape(element.text) if element.text else element.text
    mathml = ElementTree.tostring(math, encoding="unicode")
    if unknown := _UNKNOWN.search(mathml):
        raise ValueError(f"{unknown[0]} is not known")
    return mathml
