import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from abbe.files.tables import read_csv
from abbe.runtime.batch.predict_files import predict_files

EXAMPLES = Path(__file__).parents[2] / "examples" / "service"
TOKEN = "a token of twenty-eight chars".replace(" ", "-")


def lines_of(table):
    rows = read_csv(table)[1]
    places = ((row, float(row["x"]), float(row["y"])) for row in rows)
    return [f"{len(rows)} objects"] + [
        f"{row['label']}: {row['area_px']} px at {x:.1f}, {y:.1f}" for row, x, y in places
    ]


@pytest.mark.parametrize("client", ["client.py", "client.mjs"])
def test_the_clients_print_what_predict_finds(client, serve, packages, picture, tmp_path):
    program = sys.executable if client.endswith("py") else shutil.which("node")
    if program is None:
        pytest.skip("node is not installed: the client was not run")
    image = shutil.copy(picture, tmp_path)
    predict_files(
        packages["cells"], [image], tmp_path / "out", results=["table", "geojson"], progress=False
    )
    with serve(token=TOKEN) as service:
        done = subprocess.run(
            [program, EXAMPLES / client, str(service.base_url).rstrip("/"), "cells", image],
            env=os.environ | {"ABBE_TOKEN": TOKEN}, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
    assert done.stderr == ""
    expected = lines_of(tmp_path / "out" / "image.csv")
    assert len(expected) > 10
    assert done.stdout.splitlines()[: len(expected)] == expected
    if client.endswith("py"):
        outlines = (tmp_path / "image.geojson").read_bytes()
        assert outlines == (tmp_path / "out" / "image.geojson").read_bytes()


@pytest.mark.slow
def test_the_page_of_all_addresses_answers_and_needs_no_network(serve, picture):
    playwright = pytest.importorskip("playwright.sync_api")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and not os.environ.get("ABBE_NEEDS_BROWSER"):
        pytest.skip("no chromium is installed: the page was not tried in a browser")
    with serve() as service, playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page()
        asked, problems = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(str(service.base_url))
        page.wait_for_selector(".opblock-summary-path", timeout=20_000)
        shown = page.locator(".opblock-summary-path").all_inner_texts()
        page.click(".opblock-post .opblock-summary")
        page.click(".try-out__btn")
        page.fill("input[placeholder=package]", "cells")
        page.set_input_files("input[type=file]", str(picture))
        with page.expect_response("**/predict?*") as answered:
            page.click(".execute")
        assert answered.value.json()["count"] > 10
        browser.close()
    address = str(service.base_url).rstrip("/")
    assert problems == []
    assert all(url.startswith((f"{address}/", "data:")) for url in asked)
    assert {each.replace("\u200b", "") for each in shown} == {
        "/health/live", "/health/ready", "/metrics", "/v1/packages", "/v1/packages/{package}",
        "/v1/packages/{package}/predict",
    }  # fmt: skip


@pytest.mark.slow
def test_the_verb_answers_keeps_nothing_and_tells_nothing_of_images(packages, picture, tmp_path):
    """In a process of its own, to its end by SIGTERM."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "abbe", "serve", "--port", "0", "--api"]
    service = subprocess.Popen(
        [*command, f"own={packages['cells']}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    )  # fmt: skip
    assert service.stdout is not None
    told = [service.stdout.readline(), service.stdout.readline()]
    assert told[0].startswith("own: Bright blobs, ")
    address = told[1].split()[0]
    body, cut = picture.read_bytes(), picture.read_bytes()[:-3000]
    secret = "Mustermann-Erika"
    for content, status in ((body, 200), (cut, 422), (b"II*\0" + cut, 422), (b"x" * 99, 415)):
        url = f"{address}/v1/packages/own/predict?name={secret}.tif&channels={secret}"
        response = httpx.post(url, content=content, timeout=30)
        assert response.status_code == status
        assert ("count" in response.json()) == (status == 200)
    service.send_signal(signal.SIGTERM)
    rest, _ = service.communicate(timeout=30)
    assert service.returncode == 0
    assert "POST /v1/packages/{package}/predict 415" in rest
    assert rest.rstrip().endswith("no image is left on disk.")
    assert secret not in rest
    assert list(temporary.iterdir()) == []
