"""Train a small promptable network of SAM's form, to stand in where SAM's weights cannot be had.

    python benchmarks/standin_sam.py OUT.safetensors --cells DATA/dsb2018 [--steps 1000]
    python benchmarks/standin_sam.py OUT.safetensors --folders DATA/polyp_cvc DATA/us_busi …
    python benchmarks/standin_sam.py OUT.safetensors --folders … \\
        --network promptable-timm-mobilenetv2_100 --encoder-weights IMAGENET.pt

It is a real network of this package, trained on labelled objects by boxes and points, and it is far
weaker than SAM: a ViT of 4 blocks that sees 256 px, or, with --network, a promptable network on
another encoder, which may begin with weights that have seen more images than are at hand. --cells
trains on the nuclei of that folder and on simulated tissue in two channels; --folders on data sets
with colour or grey images.
Images of the split "train" only; scores are those of the split "val" (or "test").
"""

import argparse
from pathlib import Path
from typing import Any, Literal

import torch

from abbe import datasets, students
from abbe.datasets import Dataset
from abbe.datasets.pictures import Pictured, picture_records
from abbe.datasets.training.prompted import PromptedBatches
from abbe.files.tensors import read_tensors
from abbe.recipes.masks import prompt_validator, promptable
from abbe.sam import SAM, Layout, build_sam, save_sam
from abbe.sam.two_way import Attention
from abbe.teachers.sam.source import load_network
from abbe.training.fit import fit
from abbe.training.log import Log, make_accelerator
from abbe.training.stage import Schedule

SIDE = 256
LAYOUTS = {
    "small": Layout("vit", image_size=SIDE, width=128, depth=4, heads=2, global_layers=(1, 3)),
    "mobile": Layout("tiny_vit", image_size=SIDE),
}
VALIDATED = 40
"""Images; more would take as long as training."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small stand-in for SAM.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--cells", type=Path)
    parser.add_argument("--folders", type=Path, nargs="*", default=[])
    parser.add_argument("--network", default="small", help=f"{', '.join(LAYOUTS)}, promptable-…")
    parser.add_argument("--encoder-weights", type=Path, help="of a promptable-… network")
    parser.add_argument("--decoder", type=Path, help="of an earlier stand-in, to begin with")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="go on from the weights of an earlier training")
    arguments = parser.parse_args()
    sets = [folder_of_pictures(path) for path in arguments.folders]
    if arguments.cells:
        sets += cells(arguments.cells)
    train, val = [], []
    for dataset in sets:
        train += pictures(dataset, "train", SIDE)
        held_out = pictures(dataset, "val", SIDE)
        val += held_out[:: max(1, len(held_out) * len(sets) // VALIDATED)]
    print(f"{len(train)} training and {len(val)} validation images of {len(sets)} sets", flush=True)
    network = build(arguments.network, arguments.encoder_weights, arguments.seed)
    if arguments.decoder:  # which knows what prompts mean, so that the encoder alone must learn
        students.copy_decoder(network, load_network(arguments.decoder)[0])
    if arguments.start:
        network.load_state_dict(read_tensors(arguments.start))
    stages = promptable(
        network,
        PromptedBatches(
            train,
            side=SIDE,
            batch_size=arguments.batch,
            seed=arguments.seed,
            objects=3,
            mask_step=2,
            zoom=(0.3, 0.8) if arguments.cells else (0.6, 1.0),  # cells are small
            gamma=(0.7, 1.4),
            brightness=0.15,
            noise=0.03,
        ),
        Schedule(arguments.steps, arguments.learning_rate, validate_every=200),
        validate=prompt_validator(val),
    )
    work = arguments.out.with_suffix(".run")
    work.mkdir(parents=True, exist_ok=True)
    accelerator = make_accelerator(work, precision="auto", trackers=())
    log = Log(work / "log.jsonl", accelerator, "stand-in")
    fit(stages[0], accelerator, log, work / "stage.pt", seed=arguments.seed, resume=True)
    save(arguments.out, network, arguments.network, sets)
    print(f"{arguments.out}: {prompt_validator(val)(network.eval())}")


def build(name: str, encoder_weights: Path | None, seed: int) -> SAM:
    if name in LAYOUTS:
        network = build_sam(LAYOUTS[name], seed)
    else:
        torch.manual_seed(seed)
        weights = encoder_weights or "random"
        network = students.build_promptable(name, side=SIDE, encoder_weights=weights)
    attract(network)
    return network


def save(out: Path, network: SAM, name: str, sets: list[Dataset]) -> None:
    facts: dict[str, Any] = {
        "name": f"stand-in SAM ({name}, {SIDE} px)",
        "trained_on": ", ".join(dataset.name for dataset in sets),
        "weights_licence": "trained by its user; see the training data",
        "stand_in": True,
    }
    data_licence = "; ".join(dict.fromkeys(dataset.licence for dataset in sets))
    if name in LAYOUTS:
        save_sam(out, network, training_data_licence=data_licence, **facts)
    else:
        students.save_promptable(out, network, {**facts, "data_licence": data_licence})


def attract(network: SAM) -> None:
    """Let prompts and places of the image attend to what lies near from the very first step.

    With equal queries and keys the attention between them starts out as a likeness of positions.
    From independent ones a decoder needs thousands of steps to find out where its prompts are.
    """
    for name, part in network.mask_decoder.transformer.named_modules():
        if isinstance(part, Attention) and "self_attn" not in name:
            part.q_proj.weight.data *= 2.5
            part.k_proj.weight.data.copy_(part.q_proj.weight.data)


def folder_of_pictures(path: Path) -> Dataset:
    dataset = datasets.folder(path)
    if not any(record.split for record in dataset):
        dataset = datasets.assign_splits(dataset)
    return dataset


def cells(path: Path) -> list[Dataset]:
    """The nuclei in a folder, and simulated tissue in the two channels that a teacher may see."""
    tissue = datasets.simulated_tissue(200, size=SIDE, seed=11, channels=("nucleus", "membrane"))
    tissue = datasets.assign_splits(tissue, fractions={"train": 0.9, "val": 0.1, "test": 0.0})
    return [datasets.folder(path).where(kind="fluo"), tissue]


def pictures(dataset: Dataset, split: Literal["train", "val"], side: int) -> list[Pictured]:
    longest = round(side / 0.6)  # as far as training zooms in
    return picture_records(dataset.split(split).labelled, dataset.channels, longest=longest)


if __name__ == "__main__":
    main()
