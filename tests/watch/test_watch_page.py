"""The page, through the real command line, asked over HTTP and looked at in a browser."""

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from begun_runs import line, lock, validation, write_log
from commands import TINY, TISSUE, abbe
from starlette.testclient import TestClient

from abbe.summary import CURVE_PLAN
from abbe.watch.app import application

FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


@pytest.fixture
def client(begun) -> TestClient:
    return TestClient(application(begun), base_url="http://127.0.0.1")


@pytest.fixture
def served() -> Iterator[Callable[[Path], tuple[str, subprocess.Popen[str]]]]:
    """Starts ``abbe report --watch RUN``; the address that it prints, and its process."""
    started = []

    def start(folder: Path) -> tuple[str, subprocess.Popen[str]]:
        command = [sys.executable, "-m", "abbe", "report", "--watch", str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True).start()  # pyright: ignore
        found = re.search(r"http://127\.0\.0\.1:\d+/", lines.get(timeout=120))
        assert found is not None
        return found[0], process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def asked(address: str, headers: Mapping[str, str] | None = None) -> str:
    request = urllib.request.Request(address, headers=dict(headers or {}))
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode("utf-8")


def test_the_page_says_how_the_run_stands(begun, client, picture):
    write_log(begun / "log.jsonl", line("student", 50, 200, 30), validation("student", 50, 0.5))
    picture(begun / "previews" / "student-distil-000050.png")
    page = client.get("/").text
    for told in (
        "a &lt;run&gt;", "It trains.", "student (1 of 4)", "50 of 200", "0.500 at step 50",
        "previews/student-distil-000050.png", "Validation: dice", "90 s",
    ):  # fmt: skip
        assert told in page
    assert "<run>" not in page
    answer = client.get("/preview")
    assert answer.headers["content-type"] == "image/png"
    assert client.get("/watch.js").status_code == 200


def test_an_unchanged_part_is_not_sent_again(begun, client):
    first = client.get("/now")
    assert client.get("/now", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304


def test_a_picture_that_is_not_there_yet_is_none(client):
    assert client.get("/preview").status_code == 404
    assert client.get("/preview?of=../../config.yaml").status_code == 404


def test_other_hosts_and_origins_are_refused(client):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403
    assert client.get("/now", headers={"origin": "http://evil.example"}).status_code == 403
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "script" not in policy


def test_a_killed_run_says_how_to_go_on(begun, client):
    (begun / ".lock").unlink()
    write_log(begun / "log.jsonl", line("student", 50, 200, 30))
    page = client.get("/").text
    assert "It ended before it was finished" in page
    assert "--resume" in page
    assert "Left of" not in page


def test_a_killed_curve_goes_on_as_a_curve(begun, client):
    (begun / ".lock").unlink()
    (begun / CURVE_PLAN).write_text("{}")
    page = client.get("/").text
    assert "abbe curve" in page
    assert "abbe distill" not in page


def test_a_port_without_watch_is_refused(tmp_path, capsys):
    assert abbe("report", tmp_path, "--port", 8000) in (1, 2)
    assert "go with --watch" in capsys.readouterr().err


def test_a_folder_without_a_run_ends_at_once(tmp_path, capsys):
    assert abbe("report", "--watch", tmp_path) in (1, 2)
    assert "no run was begun here" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_ends_the_page_and_leaves_the_run_alone(begun, served):
    write_log(begun / "log.jsonl", line("student", 50, 200, 30))
    before = {path: path.stat().st_mtime for path in begun.rglob("*")}
    address, process = served(begun)
    assert "It trains." in asked(address)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        asked(address, {"Host": "evil.example"})
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "the run was left alone" in said
    assert {path: path.stat().st_mtime for path in begun.rglob("*")} == before


@pytest.mark.slow
def test_a_finished_run_says_so(tmp_path, served):
    out = tmp_path / "run"
    assert abbe("distill", "supervised", *TISSUE, *TINY, "--out", out) == 0
    address, _ = served(out)
    page = asked(address)
    assert "It is finished." in page
    assert "report.html" in page
    assert "4 of 4" in page
    assert asked(f"{address}watch.js").startswith('"use strict"')


@pytest.mark.slow
def test_the_page_follows_the_run_by_itself(begun, served, picture):
    from playwright.sync_api import expect, sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium is installed: the page was not tried in a browser")
    write_log(begun / "log.jsonl", line("student", 50, 200, 30))
    address, process = served(begun)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        page = browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text)
                if message.type == "error" and "Failed to fetch" not in message.text
                and "ERR_CONNECTION_REFUSED" not in message.text else None)  # fmt: skip
        page.goto(address)
        expect(page.get_by_text("50 of 200")).to_be_visible()
        expect(page.locator(".panels svg").first).to_be_visible()
        picture(begun / "previews" / "student-distil-000100.png")
        write_log(begun / "log.jsonl", line("student", 50, 200, 30), line("student", 100, 200, 60))
        expect(page.get_by_text("100 of 200")).to_be_visible(timeout=30_000)
        loaded = "document.querySelector('#now img')?.naturalWidth === 60"
        page.wait_for_function(loaded, timeout=30_000)
        lock(begun, pid=2**22 + 1)  # above what a system gives: its process is no more
        expect(page.get_by_text("It ended before it was finished")).to_be_visible(timeout=30_000)
        assert problems == []
        process.send_signal(signal.SIGINT)
        expect(page.get_by_role("alert")).to_be_visible(timeout=30_000)
        browser.close()
    assert os.path.isdir(begun)
