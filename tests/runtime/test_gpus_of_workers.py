"""Workers on GPUs that the machine where the command is typed has not; fakes stand in for both."""

from pathlib import Path

import onnxruntime
import pytest
from made_packages import make_package
from no_workers import NO_WORKERS
from prompt_package import make_prompt_package
from test_gpu import CPU, Session, cuda_is_there

from abbe.errors import ClusterError, ConfigError
from abbe.runtime.batch.finished import settings_of
from abbe.runtime.batch.item import Common, _open
from abbe.runtime.batch.many import Run
from abbe.runtime.batch.on_workers import Elsewhere, _common, on_client
from abbe.runtime.job import Job
from abbe.runtime.predictors.opening import RunOptions
from abbe.runtime.predictors.tasks import open_predictor


def given_out(package: Path, out: Path, options: RunOptions) -> Common:
    """What a client without a GPU sends."""
    predictor = open_predictor(package, **on_client(options))
    assert predictor.engine.notes == ()
    run = Run(predictor, {}, out, Job(), lambda name, share: None)
    return _common(run, Elsewhere(NO_WORKERS, options))


@pytest.fixture(params=["finds objects", "promptable"])
def package(request, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "promptable":
        return make_prompt_package(make_package, tmp_path / "package")
    return make_package(tmp_path / "package")


def test_a_client_without_a_gpu_has_workers_compute_on_theirs(package, tmp_path, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    common = given_out(package, tmp_path, {"device": "cuda"})
    cuda_is_there(monkeypatch, Session)
    predictor, _ = _open(common, 1, 1)
    assert predictor.engine.device == "cuda"
    assert settings_of(predictor) == common.settings


def test_a_worker_without_one_ends_the_run_with_a_word(package, tmp_path, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    common = given_out(package, tmp_path, {"device": "cuda"})
    with pytest.raises(
        ClusterError, match=r"--device cuda: a worker .*has no CUDA.*leave --device"
    ):
        _open(common, 1, 1)


def test_what_does_not_go_with_a_gpu_is_refused_where_it_is_typed():
    with pytest.raises(ConfigError, match="onnxruntime computes there, in fp32"):
        on_client({"device": "cuda", "precision": "int8"})


def test_workers_are_told_no_tile_that_nobody_named(package, tmp_path):
    common = given_out(package, tmp_path, {})
    assert common.options.get("tile") is None
    predictor, _ = _open(common, 1, 1)
    assert predictor.tile == common.settings["tile"]
