"""Breaks small valid folders in hundreds of ways and looks what commands say: ``make fuzz``.

Never a traceback, never a hang, never more than 2 GiB, never silence about what changes the meaning, never anything of
the user's changed. Folder NUMBER of a seed is always the same: ``python tests/robustness/fuzz.py --only NUMBER`` makes
it again, keeps it, and prints what the commands said.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import multiprocessing
import os
import random
import shutil
import stat
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import psutil
from fuzz_bases import SHAPES, Base, make_base
from fuzz_damage import Damage
from fuzz_mutations import MUTATIONS

MOST_MEMORY = 2 * 2**30
MOST_SECONDS = 60.0
NEW = ("new_run", "noisy", "fused", "predicted", "scores", "new_audit", "corrected", "cache")
"""Beginnings of the names of what the commands write."""

_LOOK = 0.02
_PRELOADED = [f"segmend.commands.{name}" for name in ("train", "audit", "predict", "correct", "fuse", "check")]


@dataclass(frozen=True)
class Outcome:
    """What became of one command on one folder; ``fault`` is empty where all is well."""

    number: int
    damage: Damage
    command: str
    fault: str
    said: str


def fuzz(
    work: Path, folders: Mapping[int, int], jobs: int = 2, endings: Sequence[str] = tuple(SHAPES), commands: int = 2
) -> Iterator[Outcome]:
    """Tries the commands on folders, and gives the outcome of each.

    Args:
        work: where to make the folders.
        folders: seed of each folder by its number.
        jobs: folders at a time.
        endings: of the files in them.
        commands: how many are tried on each folder at most.
    """
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    if os.name == "posix":
        context.set_forkserver_preload(_PRELOADED)
    bases = _call(context, work, None, partial(_make_bases, work / "bases", endings), 600.0)
    if bases.get("fault"):
        raise RuntimeError(bases["said"])
    with ThreadPoolExecutor(jobs) as pool:
        yield from (
            outcome
            for outcomes in pool.map(lambda item: _try_folder(context, work, endings, commands, *item), folders.items())
            for outcome in outcomes
        )


def _make_bases(root: Path, endings: Sequence[str]) -> tuple[int, str]:
    for ending in endings:
        make_base(root / ending[1:], ending)
    return 0, ""


def _try_folder(
    context: Any, work: Path, endings: Sequence[str], commands: int, number: int, seed: int
) -> list[Outcome]:
    chance = random.Random(seed)
    ending = chance.choice(endings)
    base = Base(work / f"{number:04d}", ending)
    shutil.copytree(work / "bases" / ending[1:], base.root)
    damage = MUTATIONS[number % len(MUTATIONS)](base, chance)
    before = _listing(base.root)
    outcomes = []
    for name in damage.reads[:commands]:
        words = base.command(name)
        said = _call(context, base.root, base.root / "cache", partial(_main, words), MOST_SECONDS)
        fault = said.get("fault") or _judged(damage, name, base, said["status"], said["said"]) or _traces(base, before)
        outcomes.append(Outcome(number, damage, name, fault, said["said"]))
    return outcomes


def _main(words: list[str]) -> tuple[int, str]:
    """Exit status of a command, and all that it printed."""
    from segmend.cli import main

    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = main(words)
        except SystemExit as error:
            status = int(error.code or 0)
        except BaseException:
            traceback.print_exc()
            status = -1
    said.flush()
    return status, said.buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]


def _in_process(task: Any, cache: Path | None, pipe: Any) -> None:
    os.environ |= {"OMP_NUM_THREADS": "1"} | ({"SEGMEND_CACHE": str(cache)} if cache else {})
    pipe.send(task())
    pipe.close()


def _call(context: Any, work: Path, cache: Path | None, task: Any, seconds: float) -> dict[str, Any]:
    """Calls a function in a process of its own, and ends that when it takes too much time or memory."""
    work.mkdir(parents=True, exist_ok=True)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_in_process, args=(task, cache, theirs))
    process.start()
    theirs.close()
    deadline, most = time.monotonic() + seconds, 0
    fault, result = "", None
    while result is None and not fault:
        with contextlib.suppress(psutil.NoSuchProcess):
            most = max(most, psutil.Process(process.pid).memory_info().rss)
        if ours.poll(_LOOK):
            try:
                result = ours.recv()
            except EOFError:
                fault = "ended without a word"
        elif most > MOST_MEMORY:
            fault = f"took more than {MOST_MEMORY >> 30} GiB"
        elif time.monotonic() > deadline:
            fault = f"did not end in {seconds:.0f} s"
    process.kill()
    process.join()
    status, said = result or (-1, "")
    return {"fault": fault, "status": status, "said": said}


def _judged(damage: Damage, command: str, base: Base, status: int, said: str) -> str:
    """What is wrong with an answer."""
    if "Traceback (most recent call last)" in said:
        return f"traceback: {said.strip().splitlines()[-1][:120]}"
    raw = [letter for letter in said if not letter.isprintable() and letter not in "\n"]
    if raw:
        return f"prints {raw[0]!r}"
    errors = [line for line in said.splitlines() if line.startswith("segmend: ")]
    if status not in (0, 1, 2):
        return f"exit status {status}"
    if status and (len(errors) != 1 or not (str(base.root) in errors[0] or "--" in errors[0])):
        return f"no message that names a file: {said.strip()[-120:]}"
    if not status and damage.must_be_reported_by(command) and not any(word in said for word in damage.mention):
        return "silent"
    return ""


def _listing(root: Path) -> dict[str, object]:
    """Every path that no command may change, with what it is and a digest of what it holds."""
    found: dict[str, object] = {}
    for place, folders, files in os.walk(root):
        if Path(place) == root:
            folders[:] = [name for name in folders if not name.startswith(NEW)]
            files = [name for name in files if not name.startswith(NEW)]
        for name in [*folders, *files]:
            path = os.path.join(place, name)  # noqa: PTH118 - names may hold what Path normalises
            mode = os.lstat(path).st_mode
            content = hashlib.sha256(Path(path).read_bytes()).hexdigest() if stat.S_ISREG(mode) else ""
            found[path] = (stat.S_IFMT(mode), content)
    return found


def _traces(base: Base, before: Mapping[str, object]) -> str:
    """What a command has left behind or changed that is not its own."""
    after = _listing(base.root)
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return f"changed {changed[0].removeprefix(str(base.root))}" if changed else ""


def summary(outcomes: list[Outcome]) -> str:
    """A table by kind of damage, then a line for each fault."""
    lines = [f"{'damage':<20} {'folders':>8} {'commands':>9} {'faults':>7}"]
    for kind in sorted({outcome.damage.kind for outcome in outcomes}):
        own = [outcome for outcome in outcomes if outcome.damage.kind == kind]
        faults = len({outcome.number for outcome in own if outcome.fault})
        lines.append(f"{kind:<20} {len({o.number for o in own}):>8} {len(own):>9} {faults:>7}")
    faulty = [outcome for outcome in outcomes if outcome.fault]
    sorts = Counter(outcome.fault.split(":")[0].split(" /")[0] for outcome in faulty)
    lines += ["", *(f"{count:>4} {sort}" for sort, count in sorts.most_common()), ""]
    lines += [f"--only {o.number}: {o.command}, {o.damage.kind} ({o.damage.what}): {o.fault}" for o in faulty]
    return "\n".join(line.encode("unicode_escape").decode("ascii") for line in lines)


def seeds(count: int, seed: int) -> dict[int, int]:
    """The seed of each folder by its number."""
    return {number: seed * 1_000_003 + number for number in range(count)}


def main() -> int:
    """Runs the suite; exit status 1 if there is any fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folders", type=int, default=300, help="how many (default: 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="folders at a time (default: 2)")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of folders to make again and keep")
    given = parser.parse_args()
    numbered = seeds(max(given.folders, *(1 + number for number in given.only or (0,))), given.seed)
    work = Path(tempfile.mkdtemp(prefix="segmend-fuzz-"))
    outcomes = []
    start = time.monotonic()
    try:
        for outcome in fuzz(work, {n: s for n, s in numbered.items() if n in (given.only or numbered)}, given.jobs):
            outcomes.append(outcome)
            if given.only:
                print(f"{work / f'{outcome.number:04d}'}\n$ segmend {outcome.command}\n{outcome.said}")
            elif outcome.number % 25 == 0:
                print(f"{outcome.number} {time.monotonic() - start:.0f} s", file=sys.stderr)
    finally:
        if not given.only:
            shutil.rmtree(work, ignore_errors=True)
    print(summary(outcomes))
    return int(any(outcome.fault for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
