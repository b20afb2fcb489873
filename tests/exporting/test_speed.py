"""Which setting is chosen for a time budget."""

import pytest

from abbe.errors import ConfigError
from abbe.exporting import speed
from abbe.exporting.speed import Setting, Timed, choose, fastest, table, threads_to_try

EXACT = Timed(Setting("openvino", "fp32", 512, 2), 40.0, {"dice": 0.0, "pq": 0.0})
EXACT_ORT = Timed(Setting("onnxruntime", "fp32", 512, 2), 30.0, {"dice": 0.0, "pq": 0.0})
ROUNDED = Timed(Setting("openvino", "int8", 512, 2), 15.0, {"dice": 0.0015, "pq": 0.004})
ROUNDED_SMALL = Timed(Setting("openvino", "int8", 256, 2), 5.0, {"dice": 0.0015, "pq": 0.004})
ALL = [EXACT, EXACT_ORT, ROUNDED, ROUNDED_SMALL]


def test_the_least_loss_within_the_budget_is_chosen():
    assert choose(ALL, 50, margin=64) is EXACT
    assert choose(ALL, 35, margin=64) is EXACT_ORT
    assert choose([ROUNDED, ROUNDED_SMALL], 20, margin=64) is ROUNDED  # more px a second
    assert choose(ALL, 10, margin=64) is ROUNDED_SMALL


def test_losses_that_hardly_differ_are_equal():
    nearly = Timed(Setting("openvino", "int8", 512, 2), 10.0, {"dice": 0.0002, "pq": 0.0001})
    assert choose([EXACT, nearly], 50, margin=64) is nearly


def test_a_gain_by_chance_is_no_reason():
    lucky = Timed(Setting("openvino", "int8", 512, 2), 45.0, {"dice": -0.01, "pq": -0.02})
    assert choose([EXACT, lucky], 50, margin=64) is EXACT


def test_none_that_is_fast_enough_is_an_error_with_the_fastest():
    with pytest.raises(ConfigError, match=r"openvino/int8, tile 256, 2 threads, 5\.0 ms"):
        choose(ALL, 2, margin=64)


def test_without_a_budget_the_fastest_where_openvino_goes_first():
    assert fastest([EXACT, EXACT_ORT]) is EXACT  # 1.33 times as fast is not clearly faster
    assert fastest([EXACT, EXACT_ORT, ROUNDED]) is ROUNDED


def test_another_engine_that_is_clearly_faster_is_chosen():
    quick = Timed(Setting("onnxruntime", "fp32", 512, 2), 8.0, {"dice": 0.0, "pq": 0.0})
    assert fastest([EXACT, quick, ROUNDED]) is quick
    assert fastest([EXACT, quick, ROUNDED, ROUNDED_SMALL]) is ROUNDED_SMALL


def test_megapixels_leave_out_the_margin():
    assert EXACT.megapixels_per_second(64) == pytest.approx(384**2 / 1e6 / 0.040)


def test_the_table_has_a_line_a_setting_fastest_first():
    lines = table(ALL, 64, budget_ms=20).splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["openvino/int8"] * 2 + [
        "onnxruntime/fp32", "openvino/fp32"]  # fmt: skip
    assert [line.split()[-1] for line in lines[1:]] == ["yes", "yes", "no", "no"]


def test_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(speed, "cores", lambda: 6)
    assert threads_to_try() == (1, 2, 4, 6)
    assert threads_to_try(3) == (3,)
    monkeypatch.setattr(speed, "cores", lambda: 1)
    assert threads_to_try() == (1,)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert threads_to_try() == (4,)
