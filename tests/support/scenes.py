"""Every command that writes, on scans so small that it takes a second or two."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import yaml
from kills import Scene

from segmend.cli import main
from segmend.demo import command as demo
from segmend.demo.phantom import write_phantoms
from segmend.networks import VNet

NETWORK = "--network UNet --network.width 2 --network.stages 2 --patch 8 8 8"
TRAINING = f"{NETWORK} --iterations 6 --checkpoint_every 2 --any_labelled 2"
PLAN = {
    "title": "Small",
    "labels": {"some noisy": {"recipe": "CubeMorphology", "arguments": {"side_max": 5}, "expert": 1}},
    "train": {"network": {"name": "UNet", "width": 2, "stages": 2}, "iterations": 2, "patch": [8, 8, 8]},
    "metrics": ["dice"],
    "baseline": "Mixed",
    "rows": {"Mixed": {"method": "Supervised", "batch": {"any_labelled": 2}}},
}


def build_data(root: Path, test: int = 2) -> None:
    write_phantoms(root / "given" / "data", train=4, test=test, seed=1, shape=(20, 24, 16), spacing=(4.0, 4.0, 5.0))


def build_noisy(root: Path) -> None:
    build_data(root)
    run("corrupt --data given/data --out given/noisy --expert 1 --recipe CubeMorphology --recipe.side_max 5")


def build_run(root: Path, method: str = "Supervised") -> None:
    build_noisy(root)
    run(f"train --data given/noisy --out given/run --method {method} {TRAINING}")


def build_predictions(root: Path) -> None:
    build_run(root)
    run("predict --run given/run --images given/data/imagesTs --out given/predictions")


def build_audit(root: Path) -> None:
    build_run(root)
    run("audit --data given/noisy --run given/run --out given/audit")


def build_raters(root: Path) -> None:
    build_data(root)
    for number, rater in enumerate(("anna", "ben"), start=1):
        run(f"corrupt --data given/data --out of_{rater} --recipe CubeMorphology --recipe.side_max 5 --seed {number}")
        (root / f"of_{rater}" / "labelsTr").rename(root / "given" / "data" / f"labelsTr_{rater}")
        shutil.rmtree(root / f"of_{rater}")


def build_plan(root: Path) -> None:
    build_data(root)
    (root / "given" / "plan.yaml").write_text(yaml.safe_dump(PLAN))


def shrink_demo(_: Path) -> None:
    """Leaves next to nothing to compute, here and in all processes forked from this one."""
    demo.SHAPE, demo.SPACING, demo.PATCH = (24, 24, 16), (4.0, 4.0, 5.0), (48, 48, 16)
    demo.NETWORK = partial(VNet, width=2)


def run(words: str) -> None:
    """Runs a command as a part of building a scene."""
    if main(words.split()):
        os._exit(1)


CORRUPT = "--recipe CubeMorphology --recipe.side_max 5 --expert 1"
FOLDS = f"--folds 2 --method Supervised {NETWORK} --iterations 2 --any_labelled 2"


def build_two(root: Path) -> None:
    """Two data sets, of which the second numbers the same class otherwise."""
    build_data(root)
    write_phantoms(root / "given" / "other", train=2, test=1, seed=2, shape=(20, 24, 16), spacing=(4.0, 4.0, 5.0))
    file = root / "given" / "other" / "dataset.json"
    content = json.loads(file.read_text())
    classes = list(content["labels"])[1:]
    content["labels"] = {"background": 0, "vessel": len(classes) + 1} | {
        name: place for place, name in enumerate(classes, start=1)
    }
    file.write_text(json.dumps(content))


def build_task(root: Path) -> None:
    """A task of the Decathlon with two channels."""
    build_data(root)
    data, task = root / "given" / "data", root / "given" / "task"
    listed = []
    for scan in sorted((data / "imagesTr").iterdir()):
        name = scan.name.replace("_0000", "")
        for folder in ("imagesTr", "labelsTr"):
            (task / folder).mkdir(parents=True, exist_ok=True)
        image = nibabel.load(scan)
        both = np.stack([image.get_fdata(dtype=np.float32)] * 2, axis=-1)
        nibabel.save(nibabel.Nifti1Image(both, image.affine), task / "imagesTr" / name)
        shutil.copyfile(data / "labelsTr" / name, task / "labelsTr" / name)
        listed.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    labels = json.loads((data / "dataset.json").read_text())["labels"]
    content = {
        "modality": {"0": "T1", "1": "T2"},
        "labels": {str(value): name for name, value in labels.items()},
        "training": listed,
        "test": [],
    }
    (task / "dataset.json").write_text(json.dumps(content))


SCENES = {
    "import": Scene("import", build_task, "--from msd --data given/task --out imported", ("imported",)),
    "merge": Scene("merge", build_two, "--data given/data given/other --out merged", ("merged",)),
    "check": Scene("check", build_data, "--data given/data", ()),
    "corrupt": Scene("corrupt", build_data, f"--data given/data --out noisy {CORRUPT}", ("noisy",)),
    "train": Scene(
        "train", build_noisy, f"--data given/noisy --out run --method OffsetCorrection {TRAINING}", ("run",)
    ),
    "predict": Scene("predict", build_run, "--run given/run --images given/data/imagesTs --out new/p", ("new",)),
    "evaluate": Scene(
        "evaluate",
        build_predictions,
        "--predictions given/predictions --references given/data/labelsTs --out scores.csv",
        ("scores.csv", "scores.json", "scores_boxplot.png"),
    ),
    "audit": Scene("audit", build_run, "--data given/noisy --run given/run --out audit", ("audit",)),
    "audit by folds": Scene("audit", build_noisy, f"--data given/noisy --out audit {FOLDS}", ("audit",)),
    "correct": Scene(
        "correct",
        build_audit,
        "--data given/noisy --audit given/audit --out corrected --minimum_score 0",
        ("corrected",),
    ),
    "preview of corrections": Scene(
        "correct",
        build_audit,
        "--data given/noisy --audit given/audit --preview true --out previews/p.csv --minimum_score 0",
        ("previews",),
    ),
    "select": Scene(
        "select", build_audit, "--audit given/audit --purpose estimate --budget 1 --out sample.csv", ("sample.csv",)
    ),
    "fuse": Scene("fuse", build_raters, "--data given/data --out fused --soft true", ("fused",)),
    "export-labels": Scene(
        "export-labels", partial(build_run, method="OffsetCorrection"), "--run given/run --out labels", ("labels",)
    ),
    "bench": Scene("bench", build_plan, "--plan given/plan.yaml --data given/data --out bench --jobs 1", ("bench",)),
    "demo": Scene(
        "demo",
        shrink_demo,
        "--out demo --seed 1 --iterations 2 --train_cases 3 --expert_cases 1 --test_cases 2",
        ("demo",),
    ),
}
