"""Trains the tiny network as a program of its own, to be killed or run twice side by side."""

import argparse
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from helpers_of_training import loss_of_weights, stage_of, tiny_batches, tiny_net

from abbe.datasets.training.batches import Batch, Batches
from abbe.training.fit import fit
from abbe.training.log import Log


class Slow:
    """Batches that take their time, so that the program can be killed between two of them."""

    def __init__(self, batches: Batches, seconds: float) -> None:
        self.batches, self.seconds, self.batch_size = batches, seconds, batches.batch_size

    def __getitem__(self, step: int) -> Batch:
        time.sleep(self.seconds)
        return self.batches[step]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()

    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    batches = tiny_batches(
        batch_size=8,
        labelled_share=0.375,
        rank=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    net = tiny_net(dropout=options.dropout)
    stage = stage_of(
        net, batches=Slow(batches, options.seconds), validate=loss_of_weights, steps=60
    )
    log = Log(options.folder / "log.jsonl", accelerator, "student")
    checkpoint = options.folder / "student.pt"
    fit(
        stage, accelerator, log, checkpoint,
        workers=options.workers, resume=options.resume, progress=False,
    )  # fmt: skip
    torch.save(net.state_dict(), options.folder / f"net-{accelerator.process_index}.pt")
