"""Threads are chosen: from what this process is given, and from how busy the machine is."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from abbe.cli import main
from abbe.machine import threads
from abbe.machine.pace import FEWEST, LONGEST, PATIENCE, STEPS, Pace

# ------------------------------------------------------------------------------- what is given


def cores_by(monkeypatch, tmp_path: Path, memberships: str, files: dict[str, str]) -> int:
    """The cores of a process with these control groups, on a machine of sixteen."""
    for name, text in files.items():
        path = tmp_path / "mounted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    (tmp_path / "cgroup").write_text(memberships, "utf-8")
    whole = threads._quotas
    monkeypatch.setattr(threads, "_affinity", lambda: 16)
    monkeypatch.setattr(
        threads, "_quotas", lambda *_: whole(tmp_path / "cgroup", tmp_path / "mounted")
    )
    return threads.cores.__wrapped__()


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)


QUOTAS: list[tuple[str, dict[str, str], int]] = [
    ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
    ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
    ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
    ("0::/\n", {"cpu.max": "5000 100000\n"}, 1),
    ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
    ("0::/a/b\n", {"a/cpu.max": "800000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 4),
    ("0::/not/here\n", {"cpu.max": "400000 100000\n"}, 4),  # a container sees its own as the root
    (
        "4:memory:/x\n1:cpu,cpuacct:/docker/1\n",
        {
            "cpu,cpuacct/docker/1/cpu.cfs_quota_us": "250000\n",
            "cpu,cpuacct/docker/1/cpu.cfs_period_us": "50000\n",
        },
        5,
    ),
    (
        "1:cpu:/\n",
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        16,
    ),
    (
        "3:cpuacct,cpu:/\n",
        {"cpu/cpu.cfs_quota_us": "600000\n", "cpu/cpu.cfs_period_us": "100000\n"},
        6,
    ),
]


@pytest.mark.parametrize(("memberships", "files", "expected"), QUOTAS)
def test_a_quota_bounds_the_cores(monkeypatch, tmp_path, memberships, files, expected):
    assert cores_by(monkeypatch, tmp_path, memberships, files) == expected


def test_where_there_are_no_control_groups_all_cores_count(monkeypatch, tmp_path):
    whole = threads._quotas
    monkeypatch.setattr(threads, "_affinity", lambda: 16)
    monkeypatch.setattr(threads, "_quotas", lambda *_: whole(tmp_path / "none", tmp_path / "none"))
    assert threads.cores.__wrapped__() == 16


def test_slurm_bounds_the_cores_by_task_first(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "8")
    assert cores_by(monkeypatch, tmp_path, "0::/\n", {"cpu.max": "max 100000\n"}) == 8
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    assert threads.cores.__wrapped__() == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no affinity here")
def test_affinity_bounds_cores_and_torch():
    """A process of one core trains with one thread."""
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import torch; torch.set_num_threads(2)\n"
        "from abbe.machine.pace import use_threads; from abbe.machine.threads import cores\n"
        "use_threads(); print(cores(), torch.get_num_threads())"
    )
    free = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=free)
    assert done.stdout.split() == ["1", "1"], done.stderr


# ------------------------------------------------------------------------------- what is asked


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch):
    """Torch with two threads that nobody has asked for."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_threads_that_are_given_are_set(two_threads, monkeypatch):
    for name in threads._COUNTS:
        monkeypatch.setenv(name, "7")
    threads.set_threads(1)
    assert {os.environ[name] for name in threads._COUNTS} == {"1"}
    assert (threads.given(), torch.get_num_threads()) == (1, 1)


@pytest.mark.parametrize("value", ["", "many", "0"])
def test_a_variable_that_is_no_number_gives_nothing(monkeypatch, value):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads.given() is None


SOME = "--data.kind simulated"
VERBS = [
    f"distill supervised {SOME} --student.encoder-weights random --out x",
    f"curve cmkd {SOME} --student.encoder-weights random --teacher.path x --out x",
    f"teach {SOME} --teacher.kind masks --teacher.path x --out x",
    f"evaluate x --name n {SOME}",
    "demo",
    "condense x",
    "reproduce kdsam",
]


@pytest.mark.parametrize("verb", VERBS)
def test_an_impossible_number_is_refused(capsys, verb):
    assert main([*verb.split(), "--threads", "0"]) == 1
    assert "--threads 0: at least 1 is needed" in capsys.readouterr().err


def test_the_command_line_trains_with_what_it_is_given(two_threads, tmp_path, monkeypatch):
    for name in threads._COUNTS:
        monkeypatch.setenv(name, "2")
    seen: list[int] = []
    monkeypatch.setattr(
        "abbe.runs.distill.distill", lambda *_, **__: seen.append(torch.get_num_threads())
    )
    with pytest.raises(AttributeError):  # there is no run to show
        main([
            "distill", "supervised", "--data.kind", "simulated", "--student.encoder-weights",
            "random", "--out", str(tmp_path / "run"), "--threads", "1",
        ])  # fmt: skip
    assert seen == [1]


def test_threads_wait_passively_before_torch_is_loaded():
    """What OpenMP read cannot be asked for, so the order and the variables are."""
    code = (
        "import os, sys, json\n"
        "from abbe.cli import main\n"
        "main(['report', 'nowhere'])\n"
        "print(json.dumps({n: os.environ.get(n) for n in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')}))"
    )
    environment = {**os.environ, "GOMP_SPINCOUNT": "5"}
    environment.pop("OMP_WAIT_POLICY", None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "5"}


# ----------------------------------------------------------------------------- a busy machine


class Machine:
    """A clock, and what steps take by number of threads, while others compute.

    Args:
        seconds: of a step by number of threads.
        waiting: of a second, how long each thread has no core; None where it is not counted. With
            fewer threads than cores they have one.
        others: cores that others would use; None where it is not counted.
        cores: of the machine.
    """

    def __init__(
        self,
        seconds: dict[int, float],
        waiting: float | None = 0.0,
        others: float | None = 0.0,
        cores: int = 2,
    ) -> None:
        self.seconds, self.waiting, self.others, self.cores = seconds, waiting, others, cores
        self.time, self.without, self.computed, self.idle = 100.0, 0.0, 0.0, 0.0
        self.told: list[str] = []

    def without_core(self) -> float | None:
        return None if self.waiting is None else self.without

    def use_of_cores(self) -> threads.Use | None:
        busy = self.cores * self.time - self.idle
        return None if self.others is None else threads.Use(busy, self.idle)

    def run(self, pace: Pace, seconds: float) -> list[int]:
        """The numbers of threads that the steps of so many seconds were taken with."""
        used, end = [], self.time + seconds
        while self.time < end:
            used.append(torch.get_num_threads())
            step, others = self.seconds[used[-1]], self.others or 0.0
            ours = min(used[-1], self.cores - others / 2)
            self.time += step
            self.computed += ours * step
            self.idle += max(self.cores - ours - others, 0.0) * step
            if used[-1] + others > self.cores:
                self.without += (self.waiting or 0.0) * step * used[-1]
            pace.after_step(step)
        return used

    def pace(self) -> Pace:
        return Pace(
            self.told.append,
            clock=lambda: self.time,
            without_core=self.without_core,
            use_of_cores=self.use_of_cores,
            computed=lambda: self.computed,
        )


def test_on_a_quiet_machine_nothing_changes(two_threads):
    machine = Machine({2: 0.2, 1: 0.1}, waiting=0.4)  # even if fewer were faster
    assert set(machine.run(machine.pace(), 600)) == {2}
    assert machine.told == []


def test_on_a_busy_one_fewer_are_tried_and_kept_if_faster(two_threads):
    machine = Machine({2: 1.0, 1: 0.3}, waiting=0.4, others=2)
    used = machine.run(machine.pace(), 60)
    assert used[:STEPS] == [2] * STEPS
    assert set(used[STEPS:]) == {1}
    assert machine.told == [
        "1 of 2 threads from here on: others need the cores, and a step takes 0.3 s instead of 1 s"
    ]


def test_the_next_work_begins_with_all_threads_again(two_threads):
    machine = Machine({2: 1.0, 1: 0.3}, waiting=0.4, others=2)
    with machine.pace() as pace:
        machine.run(pace, 60)
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_what_a_caller_set_stays_where_a_number_is_given(two_threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with Machine({2: 1.0, 1: 0.3}, waiting=0.4, others=2).pace():
        threads.set_threads(1)
    assert torch.get_num_threads() == 1


# A ResNet18 U-Net as measured on two cores: alone 0.161 s a step, beside one busy process these.
QUIET, BESIDE_ONE = 0.161, {2: 0.636, 1: 0.269}


@pytest.mark.parametrize(("counted", "seconds"), [(1.0, 15), (1.0, 600), (None, 15), (None, 600)])
def test_beside_one_busy_process_most_of_the_fair_share_is_kept(two_threads, counted, seconds):
    """Three quarters of two cores are fair. The first trial is over within eight seconds."""
    machine = Machine(BESIDE_ONE, waiting=0.4, others=1)
    machine.others = counted
    if counted is None:  # then waiting alone tells of the other process
        machine.cores = 1
    pace = machine.pace()
    machine.run(pace, 8)
    begun = machine.time
    steps = len(machine.run(pace, seconds))
    assert steps / (machine.time - begun) * QUIET > 0.7 * 0.75


def test_where_all_cores_are_taken_more_threads_are_hardly_ever_tried(two_threads):
    machine = Machine(BESIDE_ONE, waiting=0.4, others=1)
    pace = machine.pace()
    machine.run(pace, 8)
    used = machine.run(pace, 3200)
    assert 3200 / LONGEST - 1 <= sum(pair == (1, 2) for pair in pairwise(used)) <= 3200 / LONGEST
    assert used.count(2) == FEWEST * sum(pair == (1, 2) for pair in pairwise(used))


def test_of_many_threads_those_stay_that_others_leave_cores_for(monkeypatch):
    numbers = [16]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: numbers[-1])
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    step = {number: 3.2 / number for number in range(1, 16)} | {16: 0.4}
    machine = Machine(step, waiting=0.05, others=1, cores=16)
    pace = machine.pace()
    machine.run(pace, 60)
    assert numbers == [16, 15]
    machine.others, machine.seconds = 0.0, step | {16: 0.2}
    machine.run(pace, 60)
    assert numbers == [16, 15, 16]


def test_fewer_that_are_no_faster_are_left_and_tried_more_and_more_seldom(two_threads):
    machine = Machine({2: 0.3, 1: 0.29}, waiting=0.4, others=2)
    used = machine.run(machine.pace(), 2000)
    assert machine.told == []
    trials = sum(pair == (2, 1) for pair in pairwise(used))
    assert 2000 / LONGEST <= trials <= 2000 / LONGEST + 6
    assert PATIENCE < LONGEST
    assert used.count(1) < 0.1 * len(used)


@pytest.mark.parametrize("counted", [True, False])
def test_when_there_is_room_again_more_are_tried(two_threads, counted):
    machine = Machine({2: 1.0, 1: 0.3}, waiting=0.4, others=2 if counted else None, cores=1)
    if counted:
        machine.cores = 2
    pace = machine.pace()
    machine.run(pace, 60)
    assert torch.get_num_threads() == 1
    machine.seconds, machine.waiting = {2: 0.15, 1: 0.25}, 0.0
    machine.others = 0 if counted else None
    assert machine.run(pace, 10 if counted else 60)[-1] == 2
    assert len(machine.told) == 2
    assert machine.told[1].startswith("2 of 2 threads from here on: there are cores again")


def test_where_the_system_does_not_count_a_slower_pace_tells(two_threads):
    machine = Machine({2: 0.2, 1: 0.3}, waiting=None, others=None)
    pace = machine.pace()
    assert set(machine.run(pace, 60)) == {2}
    machine.seconds = {2: 1.0, 1: 0.4}
    assert machine.run(pace, 60)[-1] == 1


STAT = """\
cpu  900 0 0 900 0 0 0 0 0 0
cpu0 100 20 30 400 50 1 2 7 0 0
cpu1 {ours}
cpu10 9 9 9 9 9 9 9 9 9 9
intr 7
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no affinity here")
def test_cores_are_seen_at_work_those_of_the_affinity_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    stat = tmp_path / "stat"
    stat.write_text(STAT.format(ours="200 0 0 600 0 0 0 0 0 0"))
    assert threads.use_of_cores(stat) == threads.Use(busy=3.6, idle=10.5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})
    stat.write_text(STAT.format(ours="0 0 0 0 0 0 0 0 0 0"))  # as some containers say
    assert threads.use_of_cores(stat) is None
    assert threads.use_of_cores(tmp_path / "none") is None


@pytest.mark.parametrize("given", ["2", "1"])
def test_what_the_user_has_given_is_kept(two_threads, monkeypatch, given):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    torch.set_num_threads(int(given))
    machine = Machine({2: 1.0, 1: 0.3}, waiting=0.4, others=2)
    assert set(machine.run(machine.pace(), 60)) == {int(given)}


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone counts it")
def test_waiting_for_a_core_is_counted():
    """Two processes on one core: each waits for half of the time."""
    code = (
        "import os, subprocess, sys, time\n"
        "from abbe.machine.threads import seconds_without_core\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "other = subprocess.Popen([sys.executable, '-c', 'while True: pass'])\n"
        "before, begun = seconds_without_core(), time.time()\n"
        "while time.time() - begun < 3: pass\n"
        "other.kill()\n"
        "print((seconds_without_core() - before) / 3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 0.25 < float(done.stdout) <= 1.0, done.stderr
