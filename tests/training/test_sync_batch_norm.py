"""Batch norm over all processes: what is converted, when, and where it is refused."""

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from helpers_of_training import stage_of, weights_of
from timm.layers.norm_act import BatchNormAct2d, SyncBatchNormAct
from torch import nn

from abbe import students
from abbe.errors import ConfigError
from abbe.training.fit import fit
from abbe.training.log import Log, require_batch_norm


@pytest.fixture
def seen_as(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One process that believes to be one of several; nothing is sent, for no group is set up."""

    def believe(processes: int) -> None:
        monkeypatch.setattr(Accelerator, "num_processes", property(lambda _: processes))

    return believe


def net() -> students.UNet:
    torch.manual_seed(0)
    return students.build(
        "unet-efficientnet-b0", in_channels=1, outputs=("foreground",), encoder_weights="random"
    ).eval()


def kinds(network: nn.Module) -> set[type[nn.Module]]:
    norms = (nn.modules.batchnorm._BatchNorm,)
    return {type(module) for module in network.modules() if isinstance(module, norms)}


class Stopped(Exception):
    """Thrown in place of the first step, which needs GPUs and a process group."""


def begin(network: nn.Module, accelerator: Accelerator, folder: Any, *, wanted: bool) -> None:
    class NoBatches:
        batch_size = 4

        def __getitem__(self, step: int) -> Any:
            raise Stopped

    stage = stage_of(network, batches=NoBatches(), sync_batch_norm=wanted, ema=0)
    log = Log(folder / "log.jsonl", accelerator, "student")
    with pytest.raises(Stopped):
        fit(stage, accelerator, log, folder / "student.pt", progress=False)


@pytest.mark.parametrize(
    ("processes", "wanted", "converted"), [(2, True, True), (2, False, False), (1, True, False)]
)
def test_all_batch_norms_are_converted_for_several_processes_alone(
    processes: int, wanted: bool, converted: bool, tmp_path: Any, accelerator: Any, seen_as: Any
) -> None:
    network, image = net(), torch.rand(1, 1, 64, 64)
    before, answer = weights_of(network), network(image)
    assert BatchNormAct2d in kinds(network)
    seen_as(processes)
    begin(network, accelerator, tmp_path, wanted=wanted)
    found = kinds(network)
    assert (found <= {nn.SyncBatchNorm, SyncBatchNormAct}) == converted
    assert (BatchNormAct2d in found) != converted
    # The same weights under the same names, and the activations that timm keeps inside its norms.
    after = weights_of(network)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    torch.testing.assert_close(network.eval()(image), answer)


def test_processes_on_cpus_are_refused(accelerator: Accelerator, seen_as: Any) -> None:
    require_batch_norm(accelerator, synchronised=True)  # one process has nothing to share
    seen_as(2)
    require_batch_norm(accelerator, synchronised=False)
    with pytest.raises(
        ConfigError, match=r"training\.sync_batch_norm: .* on GPUs only, and these 2"
    ):
        require_batch_norm(accelerator, synchronised=True)
