"""Recipes on the command line: their settings are read like a file of arguments that comes before all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import yaml

from segmend.cli.parameters import grouped, kinds_of
from segmend.core.documents import yaml_text
from segmend.core.values import choices
from segmend.engine.recipes import settings_of


def with_recipe_first(given: Sequence[str], command: Callable[..., Any]) -> list[str]:
    """The words of a command line behind the settings of their recipe, so that words and files win over it.

    The network is left out: the command takes that of the recipe where none is named.

    Args:
        given: words in their checked form: files of arguments are replaced by their content.
        command: function of the command.

    Raises:
        InputError: there is no such recipe.
    """
    if not choices(kinds_of(command).get("--recipe")):
        return list(given)
    named: object = None
    for option, words in grouped(given)[1]:
        if option == "--config" and words:
            content = yaml.safe_load(" ".join(words))
            named = content.get("recipe", named) if isinstance(content, dict) else named
    for option, words in grouped(given)[1]:
        if option == "--recipe" and words:
            named = words[-1]
    settings = settings_of(named) if isinstance(named, str) and named != "null" else {}
    settings.pop("network", None)
    return ["--config", yaml_text(settings), *given] if settings else list(given)
