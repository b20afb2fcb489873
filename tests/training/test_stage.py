"""Stages that ask a network in their own way, or train only a part of it."""

from dataclasses import replace

import pytest
import torch
from helpers_of_training import stage_of, tiny_net
from torch import nn

from abbe.training.fit import fit
from abbe.training.log import Log, make_accelerator
from abbe.training.stage import Term


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

    run(replace(stage_of(tiny_net(), steps=3), forward=answer), tmp_path)
    assert len(asked) == 3
    assert all("label" in keys for keys in asked)


def test_only_the_named_parts_train_each_at_its_own_rate(tmp_path):
    torch.manual_seed(0)
    network = Frozen().requires_grad_(True)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    stage = replace(stage_of(network, steps=1, warmup=1.0, ema=0.0), parts={"decoder": 0.1})
    run(stage, tmp_path)
    changed = {
        key for key, value in network.state_dict().items() if not torch.equal(before[key], value)
    }
    assert changed == {"decoder.weight", "decoder.bias"}
    step = (network.decoder.bias - before["decoder.bias"]).abs().item()
    assert step == pytest.approx(0.1 * 0.01, rel=1e-3)  # Adam's first step is the learning rate


def test_parts_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no parameter belongs to a part that trains: neck"):
        run(replace(stage_of(Frozen(), steps=1), parts={"neck": 1.0}), tmp_path)


def test_a_live_teacher_is_asked_in_the_stage_s_own_way(tmp_path):
    seen = []

    def ask(teacher, batch):
        seen.append(batch["image"].shape)
        return torch.full_like(batch["image"], 0.25)

    def loss(output, batch):
        assert (batch["target"] == 0.25).all()
        return (output - batch["target"]).pow(2).mean()

    stage = stage_of(tiny_net(), steps=2, terms=(Term("match", loss, distils=True),))
    run(replace(stage, teacher=tiny_net(1), forward_teacher=ask), tmp_path)
    assert len(seen) == 2
