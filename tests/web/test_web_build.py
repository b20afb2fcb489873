"""The folder of a site: what is in it, and what is not."""

import hashlib
import json
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module

import numpy as np
import pytest

from abbe.cli import main
from abbe.errors import ConfigError, InputError
from abbe.imaging import write_png
from abbe.web import build_site, runtime_files
from abbe.web.pinned import NpmPackage
from abbe.web.runtime_files import fetch_from_mirror

make_package = import_module("made_packages").make_package


def test_a_site_holds_what_the_page_needs_and_no_image_of_yours(tmp_path, runtime, capsys):
    package, out = make_package(tmp_path / "package"), tmp_path / "site"
    assert main(["web", str(package), "--out", str(out), "--runtime", str(runtime)]) == 0
    assert "no image to try" in capsys.readouterr().out
    mark = json.loads((out / "site.json").read_text())
    assert mark["example"] is None
    assert mark["package"]["files"]["onnx"]["path"] == "model.onnx"
    assert (out / "package/model.onnx").read_bytes() == (package / "model.onnx").read_bytes()
    assert set(mark["files"]) == {
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()
    } - {".nojekyll", "sw.js", "site.json"}
    assert mark["version"] in (out / "sw.js").read_text()
    ids = re.findall(r'\bid="([^"]+)"', (out / "index.html").read_text())
    assert len(ids) == len(set(ids))
    # Whoever translates the page needs texts.js alone: no other words stand in the page.
    words = re.findall(r"^  (\w+): ", (out / "texts.js").read_text(), re.MULTILINE)
    html = (out / "index.html").read_text().partition("<body>")[2]
    named = re.findall(r'data-(?:text|title|aria-label|placeholder)="([^"]+)"', html)
    assert named
    assert set(named) <= set(words)
    fixed = re.sub(r'(?s)<p class="problem" id="unserved">.*?</p>|<dt[^>]*>.*?</dt>', "", html)
    assert re.findall(r">([^<>]*[A-Za-z][^<>]*)<", fixed) == ["Abbe"]
    assert not list(out.rglob("*.mjs"))  # which some servers give as plain bytes

    picture = tmp_path / "seen.png"
    write_png(picture, np.zeros((8, 8), np.uint8))
    site = build_site(package, out, runtime=runtime, example=picture, webgpu=False)
    assert (out / "example.png").read_bytes() == picture.read_bytes()
    assert not any("asyncify" in path for path in site.files)
    assert json.loads((out / "site.json").read_text())["version"] != mark["version"]


def test_other_servers_are_read_from_only_where_they_are_named(tmp_path, runtime):
    package, out = make_package(tmp_path / "package"), tmp_path / "site"
    build_site(package, out, runtime=runtime, webgpu=False)
    assert "connect-src 'self';" in (out / "index.html").read_text()
    named = ("https://images.example.org", "http://localhost:8000")
    build_site(package, out, runtime=runtime, webgpu=False, origins=named)
    assert f"connect-src 'self' {' '.join(named)};" in (out / "index.html").read_text()
    for wrong in ("images.example.org", "https://a.org/path", "https://a.org; script-src *", "*"):
        with pytest.raises(ConfigError, match="is no server"):
            build_site(package, out, runtime=runtime, origins=(wrong,))
    for path in (out / "lib" / "zarr").rglob("*.js"):
        assert not re.findall(
            r"""\bfrom\s+["'](?!\.)|\bimport\(["'](?!\.)""", without_comments(path)
        )


def without_comments(path):
    return re.sub(r"/\*.*?\*/", "", path.read_text("utf-8"), flags=re.DOTALL)


def test_nothing_but_a_site_is_replaced(tmp_path, runtime):
    package, out = make_package(tmp_path / "package"), tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="no site of Abbe's"):
        build_site(package, out, runtime=runtime)
    assert (out / "thesis.txt").read_text() == "years of work"


def test_files_of_others_are_checked(tmp_path, runtime):
    with pytest.raises(InputError, match=r"is missing.*npm install onnxruntime-web@"):
        runtime_files(tmp_path)
    for path in runtime.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(runtime)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    assert runtime_files(tmp_path).folder == tmp_path
    with open(tmp_path / "geotiff/dist-browser/geotiff.js", "ab") as file:
        file.write(b"\n")
    with pytest.raises(InputError, match=r"geotiff\.js: is not the file of geotiff@"):
        runtime_files(tmp_path)


def test_a_mirror_gives_files_that_are_checked(tmp_path):
    folder = tmp_path / "served" / "tool@1.0.0" / "dist"
    folder.mkdir(parents=True)
    (folder / "tool.js").write_bytes(b"export {};")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirror = f"http://127.0.0.1:{server.server_port}"
        right = hashlib.sha256(b"export {};").hexdigest()
        fetch_from_mirror(
            NpmPackage("tool", "1.0.0", "MIT", {"dist/tool.js": right}), tmp_path / "kept", mirror
        )
        assert (tmp_path / "kept/dist/tool.js").read_bytes() == b"export {};"
        for path, expected in (("dist/tool.js", "0" * 64), ("dist/other.js", right)):
            package = NpmPackage("tool", "1.0.0", "MIT", {path: expected})
            with pytest.raises(InputError, match="cannot be fetched"):
                fetch_from_mirror(package, tmp_path / "again", mirror)
        assert not (tmp_path / "again").exists()
        server.shutdown()
