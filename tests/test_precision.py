"""The number format follows the hardware unless the user says otherwise."""

from pathlib import Path
from typing import Any

import pytest
import torch

from abbe.errors import ConfigError
from abbe.machine.precision import autocast_for, choose_precision
from abbe.training.log import make_accelerator

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.mark.parametrize("wanted", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("device", [CPU, CUDA, MPS])
def test_a_wish_is_granted(wanted: Any, device: torch.device) -> None:
    assert choose_precision(wanted, device) == wanted


@pytest.mark.parametrize(("native", "chosen"), [(True, "bf16"), (False, "fp16")])
def test_nvidia_gpus(monkeypatch: pytest.MonkeyPatch, native: bool, chosen: str) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation  # old GPUs emulate it, slowly

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose_precision("auto", CUDA) == chosen


def test_cpus(computes_bf16: bool, tmp_path: Path) -> None:
    chosen = choose_precision("auto", CPU)
    assert chosen == ("bf16" if computes_bf16 else "fp32")
    with autocast_for(CPU):
        answer = torch.nn.Linear(2, 2)(torch.ones(1, 2))
    assert answer.dtype == (torch.bfloat16 if computes_bf16 else torch.float32)


@pytest.mark.parametrize(
    ("features", "chosen"),
    [
        ({"avx2": True, "avx512_f": True}, "fp32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": False}, "fp32"),
    ],
)
def test_what_a_cpu_says_of_itself(
    monkeypatch: pytest.MonkeyPatch, features: dict[str, bool], chosen: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    assert choose_precision("auto", CPU) == chosen


@pytest.mark.parametrize(("native", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_a_cpu_under_an_older_torch(
    monkeypatch: pytest.MonkeyPatch, native: bool, chosen: str
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    assert choose_precision("auto", CPU) == chosen


def test_other_devices_compute_in_full_precision() -> None:
    assert choose_precision("auto", MPS) == "fp32"


def test_runs_of_one_process_may_differ_in_precision(tmp_path: Path) -> None:
    wishes: list[Any] = ["fp32", "bf16", "fp32"]
    made = [
        make_accelerator(tmp_path / str(number), precision=wish, trackers=()).mixed_precision
        for number, wish in enumerate(wishes)
    ]
    assert made == ["no", "bf16", "no"]


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'int8': choose from auto, fp32, bf16, fp16"):
        choose_precision("int8", CPU)


@pytest.mark.parametrize(("wanted", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_a_network_computes_in_the_chosen_precision(wanted: str, dtype: torch.dtype) -> None:
    with autocast_for(CPU, wanted):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype
