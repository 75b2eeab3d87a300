from __future__ import annotations

import warnings

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from segmend.core.errors import printable
from segmend.core.rendering import legend_name, save_picture, template

NASTY = ["$x_{1", "a$b$c", "\x1b[2J", "\ud800", "\\frac", "a\nb"]


@pytest.mark.parametrize("name", NASTY)
def test_any_name_can_be_drawn_letter_by_letter(tmp_path, name):
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], label=name)
    axes.set(title=name, xlabel=name)
    axes.set_xticks([0, 1], [printable(name), "b"])
    axes.legend()
    save_picture(figure, tmp_path / "a.png", dpi=50)
    assert (tmp_path / "a.png").stat().st_size > 0
    shown = [text for text in figure.findobj(Text) if text.get_text()]
    assert not any(text.get_parse_math() for text in shown)
    assert all(letter.isprintable() or letter == "\n" for text in shown for letter in text.get_text())


def test_names_that_begin_with_an_underscore_are_in_the_legend():
    axes = Figure().subplots()
    axes.plot([0, 1], label=legend_name("_bob"))
    axes.plot([0, 1], label=legend_name("anna"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [text.get_text() for text in axes.legend().get_texts()] == [" _bob", "anna"]


def test_names_in_a_page_are_no_markup():
    page = template("segmend.demo", "page.html")
    assert page.environment.from_string("{{ name }}").render(name="<script>") == "&lt;script&gt;"
