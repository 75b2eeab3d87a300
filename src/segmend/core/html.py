"""Templates of the HTML pages: all their inputs are escaped."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template


def template(package: str, name: str) -> Template:
    """A template of a package. All text that it is given is escaped: a case may be called ``<script>``.

    Args:
        package: that holds the file.
        name: of the file.
    """
    environment = Environment(
        loader=FunctionLoader(lambda file: files(package).joinpath(file).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
