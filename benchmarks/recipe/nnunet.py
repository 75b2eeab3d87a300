"""nnU-Net's own plan and training, on the same cases and for the same number of steps as Segmend's.

Runs in an environment with ``nnunetv2`` (2.8.1 was used), which Segmend does not need, also with a CPU build of torch.
DATA is a data folder with ``imagesTr``, ``labelsTr`` and ``imagesTs``, for example of ``split.py``. The plan, the
preprocessing, the trainer and the prediction are nnU-Net's; only the number of steps is set. All training cases are
used, the last weights predict, and WORK/predictions is scored by ``segmend evaluate``. A training that was
interrupted goes on from its last fifty steps.

    python benchmarks/recipe/nnunet.py DATA WORK --steps 1000 --configuration 3d_fullres
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import time
from pathlib import Path

NUMBER = 1
"""Of the data set, in nnU-Net's count; WORK holds no other."""

_STEPS_AN_EPOCH = 50
_WORKERS = "nnUNet_n_proc_DA"


def main() -> None:
    """Plan, train and predict."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("work", type=Path)
    arguments.add_argument("--steps", type=int, default=1000)
    arguments.add_argument("--configuration", default="3d_fullres")
    arguments.add_argument("--gpu_memory", type=float, default=None, help="in GiB, that nnU-Net plans for")
    given = arguments.parse_args()
    folders = {name: given.work / name for name in ("raw", "preprocessed", "results")}
    for name, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(folder.resolve())
    os.environ |= {"nnUNet_compile": "f", _WORKERS: "0"}
    declare_torchvision()
    link_raw(given.data, folders["raw"] / f"Dataset{NUMBER:03d}_data")
    train(given.work, given.configuration, given.steps, given.gpu_memory)


def declare_torchvision() -> None:
    """Make torchvision importable with a CPU build of torch: its operators must exist, but are not called."""
    import torch

    found = importlib.util.find_spec("torchvision")
    if torch.cuda.is_available() or found is None or found.origin is None:
        return
    text = (Path(found.origin).parent / "_meta_registrations.py").read_text()
    for name in {*re.findall(r"torchvision::(\w+)", text), *re.findall(r'register_meta\("(\w+)"', text)}:
        try:
            torch.library.define(f"torchvision::{name}", "(Tensor a) -> Tensor")
        except RuntimeError:  # defined by torchvision itself
            continue


def link_raw(data: Path, raw: Path) -> None:
    """The data folder as nnU-Net wants it: links, and a dataset.json that counts the training cases."""
    if raw.is_dir():
        return
    raw.mkdir()
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (raw / name).symlink_to((data / name).resolve())
    content = json.loads((data / "dataset.json").read_text())
    content["numTraining"] = sum(1 for file in (data / "labelsTr").iterdir() if not file.name.startswith("."))
    (raw / "dataset.json").write_text(json.dumps(content))


def train(work: Path, configuration: str, steps: int, gpu_memory: float | None) -> None:
    """Plan, train for some steps and predict the test scans."""
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    class Short(nnUNetTrainer):
        """Of a given number of steps; the validation of its own after the training is left out."""

        def __init__(
            self, plans: dict, configuration: str, fold: str, dataset_json: dict, device: torch.device = device
        ) -> None:
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_epochs, self.num_iterations_per_epoch = -(-steps // _STEPS_AN_EPOCH), min(steps, _STEPS_AN_EPOCH)
            self.num_val_iterations_per_epoch = 1
            self.save_every = 1

        def perform_actual_validation(self, save_probabilities: bool = False) -> None:
            """Nothing."""

    preprocessed = work / "preprocessed" / f"Dataset{NUMBER:03d}_data"
    if not (preprocessed / "nnUNetPlans.json").is_file():
        os.environ[_WORKERS] = "1"  # the planner wants one process or more
        extract_fingerprints([NUMBER], num_processes=1)
        plan_experiments([NUMBER], gpu_memory_target_in_gb=gpu_memory)
        preprocess([NUMBER], configurations=[configuration], num_processes=[1])
        os.environ[_WORKERS] = "0"
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    dataset = json.loads((preprocessed / "dataset.json").read_text())
    plans["continue_training"] = any((work / "results").rglob("checkpoint_*.pth"))
    trainer = Short(plans, configuration, "all", dataset, device)
    places = [Path(trainer.output_folder) / f"checkpoint_{name}.pth" for name in ("final", "latest")]
    saved = next((place for place in places if place.is_file()), None)
    if saved:
        trainer.load_checkpoint(str(saved))
    started = time.perf_counter()
    if saved != places[0]:
        trainer.run_training()
    seconds = time.perf_counter() - started
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(use_mirroring=True, device=device, perform_everything_on_device=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    (work / "predictions").mkdir(exist_ok=True)
    scans = work / "raw" / f"Dataset{NUMBER:03d}_data" / "imagesTs"
    predictor.predict_from_files_sequential(str(scans), str(work / "predictions"))
    chosen = plans["configurations"][configuration]
    kept = {name: chosen[name] for name in ("batch_size", "patch_size", "spacing")}
    (work / "training.json").write_text(json.dumps({**kept, "steps": steps, "seconds": seconds}, indent=1))


if __name__ == "__main__":
    main()
