"""Progress on standard error."""

import sys
import threading

import pytest

from abbe import progress


def test_a_note_is_left_in_a_log_where_progress_is_shown(capsys: pytest.CaptureFixture[str]):
    for shown in (True, False):
        with progress.bar("student · distil", 30, shown=shown) as bar:
            bar.move_to(10)
            bar.say("1.0 images/s")
            bar.note("step 10 of 30 [red]")
        said = capsys.readouterr()
        assert ("step 10 of 30 [red]" in said.err) is shown
        assert ("10/30" in said.err) is shown
        assert not said.out


@pytest.mark.parametrize("unit", ["items", "bytes", "share"])
def test_names_are_shown_as_they_are(unit, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("COLUMNS", "120")
    with progress.bar("a[bold]b\x1b[2J", 4, start=1, unit=unit) as bar:
        bar.advance(3)
        bar.say("[x]")
    said = capsys.readouterr().err
    assert "a[bold]b" in said
    assert "[x]" in said
    assert "\x1b[2J" not in said


def test_items_come_in_order_and_only_who_watches_sees_a_transient_bar(
    monkeypatch, capsys: pytest.CaptureFixture[str]
):
    assert list(progress.track([3, 1, 2], "looking")) == [3, 1, 2]
    assert "3/3" in capsys.readouterr().err
    assert list(progress.track([3, 1, 2], "looking", transient=True)) == [3, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress.track([3, 1, 2], "looking", transient=True)) == [3, 1, 2]
    assert "looking" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [False, True])
def test_threads_tell_of_images_by_name(terminal, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with progress.images_by_name("predict", 2) as report:
        threads = [threading.Thread(target=report, args=("a.png", 0.25)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    said = capsys.readouterr().err
    expected = "predict: 1/2 images (50%), a.png" if not terminal else "50 %"
    assert expected in said
    assert "images/s" in said


def test_images_a_second_and_the_time_left_are_those_of_late(monkeypatch):
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    pace = progress._Pace(10_000)
    for _ in range(4000):
        pace.advance(1.0)  # these had their results already
    for _ in range(200):
        now += 1
        pace.advance(2.0)
    assert pace.per_second() == pytest.approx(2, rel=0.02)
    assert pace.speed() == "2 images/s"
    assert pace.left() == "0:46:40 left"  # 5,600 images
