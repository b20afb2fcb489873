"""Jobs of a queue: the scripts that dask-jobqueue writes, and workers that they start."""

import math
import os
import re
import shutil
import signal
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from abbe.cluster import Done, carry_out, open_cluster, opening
from abbe.cluster.deadline import go_on
from abbe.cluster.tries import Tries
from abbe.errors import ConfigError

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
EXAMPLES = re.findall(
    r"```yaml\n# (slurm\S*\.yaml).*?\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL
)

SBATCH = """#!/bin/bash
# Stands in for sbatch: takes a copy of the script, runs it in a session of its own, tells a number.
cp "$1" "$FAKE_QUEUE/job.$$.sh"
setsid bash "$FAKE_QUEUE/job.$$.sh" >"$FAKE_QUEUE/out.$$" 2>&1 </dev/null &
echo $! >>"$FAKE_QUEUE/pids"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
# Stands in for scancel: ends the whole job.
for job in "$@"; do kill -TERM -- "-$job"; echo "$job" >>"$FAKE_QUEUE/cancelled"; done
"""


@pytest.fixture
def queue(tmp_path, monkeypatch) -> Path:
    """A folder of what stands in for SLURM's commands."""
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(text)
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("FAKE_QUEUE", str(tmp_path))
    return tmp_path


def test_the_examples_of_the_page_are_read(tmp_path):
    assert [name for name, _ in EXAMPLES] == ["slurm.yaml", "slurm-gpu.yaml"]
    for name, text in EXAMPLES:
        (tmp_path / name).write_text(text)
    kind, section, sizes = opening.read_queue(tmp_path / "slurm.yaml")
    assert (kind, section["job-cpu"], sizes) == ("slurm", 8, {"scale": {"jobs": 20}})
    *_, sizes = opening.read_queue(tmp_path / "slurm-gpu.yaml")
    assert sizes == {"adapt": {"minimum_jobs": 0, "maximum_jobs": 8}}


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_job_scripts_of_the_examples_ask_for_what_they_say(tmp_path, queue, name, text):
    path = tmp_path / name
    path.write_text(
        re.sub(r"jobs: 20", "jobs: 0", text).replace("maximum_jobs: 8", "maximum_jobs: 1")
    )
    with open_cluster(str(path)) as workers:
        script: Any = workers.client.cluster.job_script()
        assert workers.slots() == 0
        assert str(workers).endswith("no worker yet")
    lines = script.splitlines()
    assert "#SBATCH --cpus-per-task=8" in lines
    assert ("#SBATCH --gres=gpu:1" in lines) == (name == "slurm-gpu.yaml")
    assert f"#SBATCH -p {'gpu' if 'gpu' in name else 'cpu'}" in lines
    assert re.search(r"--nthreads 1\b", script)
    assert not (queue / "pids").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("setsid") is None, reason="jobs are sessions of their own")
def test_a_job_that_bash_runs_works_and_is_cancelled_at_the_end(tmp_path, queue):
    path = tmp_path / "slurm.yaml"
    path.write_text(EXAMPLES[0][1].replace("jobs: 20", "jobs: 1").replace("16GB", "1GB"))
    with open_cluster(str(path)) as workers:
        answers = dict(workers.run(math.factorial, range(5)))
        assert workers.slots() == 1
    assert answers == {0: 1, 1: 1, 2: 2, 3: 6, 4: 24}
    jobs = (queue / "pids").read_text().split()
    assert len(jobs) == 1
    assert (queue / "cancelled").read_text().split() == jobs


def linger(notes: str, number: int) -> Done:
    """An item that looks for deadlines, and tells which processes have it in hand."""
    with open(notes, "a") as file:
        file.write(f"{os.getpid()} {os.getppid()} {number}\n")
    if len(Path(notes).read_text().splitlines()) > 1:
        return Done("done")
    for _ in range(600):
        time.sleep(0.1)
        go_on()
    return Done("too late")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("setsid") is None, reason="jobs are sessions of their own")
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_job_at_its_deadline_ends_its_item_and_another_job_takes_it(
    tmp_path, queue, number, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    path, notes, said = tmp_path / "slurm.yaml", tmp_path / "notes", []
    path.write_text(EXAMPLES[0][1].replace("jobs: 20", "jobs: 2").replace("16GB", "1GB"))

    def send() -> None:
        while not notes.exists() or not notes.read_text().endswith("\n"):
            time.sleep(0.05)
        os.kill(int(notes.read_text().split()[1]), number)  # dask's nanny, as the job's own process

    with open_cluster(str(path), said.append) as workers:
        workers.client.wait_for_workers(2, timeout=60)
        sending = threading.Thread(target=send, daemon=True)
        sending.start()
        tries = Tries(tmp_path / "tries")
        ((item, done),) = carry_out(workers, tries, linger, [("a", str(notes))])
        sending.join()
    assert (item, done) == (str(notes), Done("done"))
    first, second = (line.split() for line in notes.read_text().splitlines())
    assert first[0] != second[0]
    assert (first[2], second[2]) == ("1", "1")  # what a deadline ends is no death


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scale: {jobs: 1}\n", "give one section 'jobqueue:'"),
        ("jobqueue: {slurm: {cores: 1, memory: 1GB}}\n", "say how many jobs"),
        ("jobqueue: {slurm: {}}\nscale: {jobs: 1}\nmore: 1\n", "'more' is no key"),
        ("jobqueue: {slurm: {wall-time: 1}}\nscale: {jobs: 0}\n", "wall-time is no key.*walltime"),
        ("jobqueue: {slurm: {}}\nscale: {jobs: 0}\n", "slurm.yaml: .*cores"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, words):
    path = tmp_path / "slurm.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words), open_cluster(str(path)):
        pass
