"""Words that a reader in medical imaging would stop at. What is left of them may only become less."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORDS = (
    r"told|tells|undone|undo|mended|mends|mend|feared|spoilt|spoils|spoil|twins?|portraits?|crumbs?|by lot|as a rule|"
    r"alike|by heart|dealt|how far|likewise|so many|beside|stands? out|of which|doubted|drawers?|seldom|surer|"
    r"too wide|too tight|made-up|nobody|anybody|whoever|bad labels?|harmed|anew|how surely|as we read it"
)
AVOIDED = re.compile(rf"(?<![\w-])({WORDS})(?![\w-])", re.IGNORECASE)
LEFT = {"src": 3, "docs": 2, "benchmarks": 21, "README.md": 0, "CONTRIBUTING.md": 0, "CHANGELOG.md": 0}
"""How often they occur. Lower a number when you have replaced some; docs/glossary.md has better words."""


def files(place: str) -> list[Path]:
    path = ROOT / place
    return (
        [path]
        if path.is_file()
        else sorted(
            each
            for each in path.rglob("*")
            if each.suffix in (".py", ".md", ".js", ".html") and not each.name.startswith("niivue")
        )
    )


@pytest.mark.parametrize("place", LEFT)
def test_words_that_the_field_does_not_use_become_fewer(place):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in files(place)
        if path.name != "glossary.md"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for match in AVOIDED.finditer(line)
    ]
    assert len(found) <= LEFT[place], "\n".join(found[-20:])
    assert len(found) == LEFT[place], f"lower the number to {len(found)}"
