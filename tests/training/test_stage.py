"""Stages that ask a network in their own way, or train only a part of it."""

from dataclasses import replace

import torch
from helpers_of_training import stage_of, tiny_net
from torch import nn

from abbe.training.fit import fit
from abbe.training.log import Log, make_accelerator


class Frozen(nn.Module):
    """A frozen encoder with batch norm, before a part that trains."""

    outputs = ("foreground",)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.encoder.requires_grad_(False)
        self.decoder = nn.Conv2d(4, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(image))


def run(stage, folder):
    accelerator = make_accelerator(folder, precision="fp32", trackers=())
    log = Log(folder / "log.jsonl", accelerator, "student")
    return fit(stage, accelerator, log, folder / "stage.pt", progress=False)


def test_what_is_frozen_stays_as_it_was_its_running_means_too(tmp_path):
    torch.manual_seed(0)
    network = Frozen()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    run(stage_of(network, steps=4), tmp_path)
    after = network.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"decoder.weight", "decoder.bias"}


def test_a_stage_asks_the_network_in_its_own_way(tmp_path):
    asked = []

    def answer(network, batch):
        asked.append(sorted(batch))
        return network(1 - batch["image"])

    run(replace(stage_of(tiny_net(), steps=3), answer=answer), tmp_path)
    assert len(asked) == 3
    assert all("label" in keys for keys in asked)
