"""The golden runs: short computations whose results are compared with recorded ones, bit by bit."""

from __future__ import annotations

from golden_stage import Golden
from golden_steps import audit, engine, planner, recipes
from golden_trainings import methods, networks, variants


def all_golden() -> dict[str, Golden]:
    """Every golden run by its name."""
    runs = [*methods(), *variants(), *networks(), *engine(), *planner(), *recipes(), *audit()]
    return {golden.name: golden for golden in runs}
