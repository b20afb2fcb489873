"""Training in programs of its own: killed without warning, and shared by two processes."""

import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import gradients_of_parts
import programs
import pytest
import torch
import train_a_little
from gradients_of_parts import CASES, gradients
from helpers_of_training import lines_of, same, untimed
from programs import PATIENCE, ended

from abbe.training.checkpoint import load_checkpoint
from abbe.training.fit import LOG_EVERY

pytestmark = pytest.mark.slow


def start(
    folder: Path, *words: str, program: Callable[[], None] = train_a_little.main, **options: Any
) -> BaseProcess:
    folder.mkdir(exist_ok=True)
    return programs.start(program, folder, *words, output=folder / "said.txt", **options)


def run(folder: Path, *arguments: str) -> dict[str, torch.Tensor]:
    """Train to the end; the weights."""
    assert ended(start(folder, *arguments)) == 0, (folder / "said.txt").read_text()
    return torch.load(folder / "net-0.pt", weights_only=True)


def wait_for_line(log: Path, step: int) -> None:
    """Wait until the log speaks of ``step``."""
    deadline = time.monotonic() + PATIENCE
    while not log.exists() or f'"step": {step},' not in log.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, "training did not get that far"
        time.sleep(0.01)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """The folder and the weights of a training with dropout that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder, "--dropout=0.3")


def test_a_killed_run_resumes_as_if_nothing_had_happened(
    tmp_path: Path, whole: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    cut = tmp_path / "cut"
    killed = start(cut, "--dropout=0.3", "--seconds=0.1")
    wait_for_line(cut / "log.jsonl", step=30)  # the last checkpoint is that of step 28
    killed.kill()
    assert ended(killed) == -signal.SIGKILL
    assert not (cut / "net-0.pt").exists()
    assert max(line["step"] for line in lines_of(cut / "log.jsonl")) < 60

    resumed = run(cut, "--dropout=0.3", "--resume")
    undisturbed, weights = whole
    assert same(weights, resumed)
    logs = [untimed(lines_of(folder / "log.jsonl")) for folder in (undisturbed, cut)]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_stop_loses_at_most_the_step(
    tmp_path: Path, whole: tuple[Path, dict[str, torch.Tensor]], number: signal.Signals
) -> None:
    """As from a terminal: the whole group gets the signal, the processes of batches too."""
    cut = tmp_path / "cut"
    stopped = start(cut, "--dropout=0.3", "--seconds=0.1", "--workers=2", new_group=True)
    wait_for_line(cut / "log.jsonl", step=30)  # the last checkpoint is that of step 28
    assert stopped.pid is not None
    os.killpg(stopped.pid, number)
    assert ended(stopped)
    kept = load_checkpoint(cut / "student.pt")["step"]
    logged = max(line["step"] for line in lines_of(cut / "log.jsonl"))
    assert 30 <= kept == logged < 60
    assert same(whole[1], run(cut, "--dropout=0.3", "--resume"))


def test_two_processes_agree_on_the_step_they_stop_after(tmp_path: Path) -> None:
    pair = start_two(tmp_path / "two", "--seconds=0.05")
    try:
        wait_for_line(tmp_path / "two" / "log.jsonl", step=20)
        assert pair[1].pid is not None
        os.kill(pair[1].pid, signal.SIGINT)  # one of them is enough
        assert all(ended(process) for process in pair)
    finally:
        for process in pair:
            process.kill()
    kept = load_checkpoint(tmp_path / "two" / "student.pt")["step"]
    assert 20 < kept < 60
    assert kept % LOG_EVERY == 0 or kept % 7 == 0  # where they report, before a validation or not


def start_two(
    folder: Path, *arguments: str, program: Callable[[], None] = train_a_little.main
) -> list[BaseProcess]:
    """Two processes that share each batch, meeting through the loopback interface."""
    meeting = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
        "GLOO_SOCKET_IFNAME": "lo",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "ACCELERATE_USE_CPU": "true",
    }
    return [
        start(
            folder,
            *arguments,
            program=program,
            environment={**meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]


def run_two(folder: Path, *arguments: str, **options: Any) -> None:
    """Two processes train to the end."""
    pair = start_two(folder, *arguments, **options)
    try:
        assert [ended(process) for process in pair] == [0, 0], (folder / "said.txt").read_text()
    finally:
        for process in pair:
            process.kill()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training by two processes that nothing disturbed."""
    folder = tmp_path_factory.mktemp("two")
    run_two(folder)
    return folder


def test_two_go_on_as_if_nothing_had_happened_when_one_was_killed(
    tmp_path: Path, shared: Path
) -> None:
    cut = tmp_path / "cut"
    pair = start_two(cut, "--seconds=0.1")
    try:
        wait_for_line(cut / "log.jsonl", step=30)
        pair[1].kill()
        assert ended(pair[0])  # it does not wait for the other for ever
    finally:
        for process in pair:
            process.kill()
    assert not (cut / "net-0.pt").exists()
    run_two(cut, "--resume")
    for rank in range(2):
        whole, resumed = (
            torch.load(folder / f"net-{rank}.pt", weights_only=True) for folder in (shared, cut)
        )
        assert same(whole, resumed)
    assert untimed(lines_of(cut / "log.jsonl")) == untimed(lines_of(shared / "log.jsonl"))


def test_two_processes_train_as_one_does_with_the_same_whole_batch(
    tmp_path: Path, shared: Path
) -> None:
    """Eight images a step, by one process or by two with four each: the same curves.

    Three of the eight have a label, so that one process has two of them and the other one. This
    holds for networks without batch norm. Batch-norm statistics are taken in each process over its
    own part of the batch, so with them the curves of one and two processes differ, unless
    training.sync_batch_norm is set.
    """
    run(tmp_path / "one")
    nets = [torch.load(shared / f"net-{rank}.pt", weights_only=True) for rank in range(2)]
    assert same(*nets)
    one, two = (untimed(lines_of(each / "log.jsonl")) for each in (tmp_path / "one", shared))
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for alone, together in zip(one, two, strict=True):
        for key in ("loss", "learning_rate"):
            assert together.get(key) == pytest.approx(alone.get(key), abs=1e-4)
        for key in ("terms", "weights", "validation"):
            assert together.get(key) == pytest.approx(alone.get(key), abs=1e-4)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, torch.Tensor]]]:
    """What each of two processes has after the gradients were averaged, by case."""
    folder = tmp_path_factory.mktemp("gradients")
    run_two(folder, program=gradients_of_parts.main)
    return [torch.load(folder / f"gradients-{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_unevenly_shared_terms_have_the_gradients_of_the_whole_batch(
    name: str, of_two: list[dict[str, dict[str, torch.Tensor]]]
) -> None:
    """One process has the only label, or more of the targets; their mean is not the batch's."""
    whole = gradients(CASES[name], slice(None), lambda module: module)
    first, second = (each[name] for each in of_two)
    assert first.keys() == second.keys()
    used = [key for key, gradient in whole.items() if gradient.abs().max() > 0]
    assert {"network.first.weight", "weighting.log_variances"} <= set(used)
    for key in used:
        both = first[key], second[key]
        shared = torch.stack(both).mean(0) if key.startswith("value of") else both[0]
        torch.testing.assert_close(shared, whole[key], rtol=2e-4, atol=1e-6)
        if not key.startswith("value of"):
            assert torch.equal(*both)
