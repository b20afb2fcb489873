"""Packages by name, by folder, and from a hub that is asked as the real one is."""

import shutil
import sys
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import (
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from made_packages import blobs, make_package

from abbe.cli import main
from abbe.errors import MissingExtraError, PackageError
from abbe.runtime import predict
from abbe.runtime.package import DESCRIPTION, located, places, read_package


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Comes with Abbe under the name blobs; the working folder is another."""
    folder = tmp_path / "shipped"
    make_package(folder / "blobs")
    monkeypatch.setattr(places, "FOLDER", folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder / "blobs"


def test_a_name_is_the_package_that_comes_with_abbe(shipped):
    assert located("blobs") == shipped
    assert located(Path("blobs")) == shipped
    assert predict("blobs", blobs(64, 64)).max() > 0


def test_a_folder_that_holds_a_package_goes_before_a_name(shipped):
    make_package(Path("blobs"), pixel_size=0.5)
    assert located("blobs") == Path("blobs")
    assert read_package("blobs").description.pixel_size == 0.5


def test_a_folder_of_images_is_not_in_the_way(shipped):
    Path("blobs").mkdir()
    np.save("blobs/a.npy", blobs(64, 64))
    assert main(["predict", "blobs", "blobs/"]) == 0
    assert (Path("blobs-results") / "a.labels.tif").is_file()


def test_a_path_with_a_slash_is_never_a_name(shipped):
    with pytest.raises(PackageError, match=r"blobs: holds no package.*comes with Abbe: blobs"):
        read_package("./blobs/")  # not there: a name is no path
    with pytest.raises(PackageError, match="other: holds no package"):
        read_package("other")


class Hub:
    """Answers as huggingface_hub.snapshot_download does for one repository."""

    def __init__(self, repository: str, files: Path) -> None:
        self.repository, self.files = repository, files
        self.online, self.asked = True, []

    def __call__(self, repo_id: str, *, local_dir: Path, allow_patterns: list[str]) -> str:
        huggingface_hub.utils.validate_repo_id(repo_id)
        self.asked.append(allow_patterns)
        local_dir = Path(local_dir)
        if not self.online:
            if local_dir.is_dir() and any(local_dir.iterdir()):
                return str(local_dir)  # "Returning existing local_dir …", with a warning
            raise LocalEntryNotFoundError("An error happened while trying to locate the files")
        if repo_id != self.repository:
            request = httpx.Request("GET", f"https://huggingface.co/api/models/{repo_id}")
            answer = httpx.Response(401, request=request)
            message = "401 Client Error.\n\nRepository Not Found"
            raise RepositoryNotFoundError(message, response=answer)  # pyright: ignore
        local_dir.mkdir(parents=True, exist_ok=True)
        from huggingface_hub.utils import filter_repo_objects

        names = [path.name for path in self.files.iterdir()]
        for name in filter_repo_objects(names, allow_patterns=allow_patterns):
            shutil.copyfile(self.files / name, local_dir / name)
        return str(local_dir)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = make_package(tmp_path / "repository")
    (files / "run_me.py").write_text("raise SystemExit")
    made = Hub("me/blobs", files)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made)
    return made


def test_a_repository_is_fetched_and_runs(hub, tmp_path):
    assert predict("hf:me/blobs", blobs(64, 64)).max() > 0
    kept = tmp_path / "cache" / "abbe" / "packages" / "me" / "blobs"
    assert sorted(path.name for path in kept.iterdir()) == ["model.onnx", DESCRIPTION]
    assert not any(path.is_symlink() for path in kept.iterdir())


def test_without_a_network_what_was_fetched_is_found(hub):
    read_package("hf:me/blobs")
    hub.online = False
    assert read_package("hf:me/blobs").file("onnx").is_file()


@pytest.mark.parametrize(
    ("name", "online", "words"),
    [
        ("hf:me/nothing", True, "hf:me/nothing: cannot be fetched.*401 Client Error"),
        ("hf:me/blobs", False, "hf:me/blobs: cannot be fetched.*Check the name and the network"),
        ("hf:blobs", True, "give the repository as hf:OWNER/NAME"),
        ("hf:me/..", True, "cannot be fetched|give the repository"),
        ("hf:../etc", True, "cannot be fetched|give the repository"),
    ],
)
def test_what_cannot_be_fetched_says_why(hub, name, online, words):
    hub.online = online
    with pytest.raises(PackageError, match=words):
        read_package(name)


def test_the_hubs_library_is_asked_for_by_name(hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"'huggingface_hub'.*abbe\[hub\]"):
        read_package("hf:me/blobs")


def test_models_lists_what_there_is(shipped, hub, capsys, tmp_path):
    make_package(tmp_path / "mine" / "a", pixel_size=0.5)
    assert main(["models", str(tmp_path / "mine"), "hf:me/blobs"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("blobs: Bright blobs")
    assert f"{tmp_path / 'mine' / 'a'}: Bright blobs" in told
    assert "0.5 µm per px" in told
    assert "hf:me/blobs: Bright blobs" in told
    assert hub.asked == [[DESCRIPTION]]  # the description alone


def test_models_as_json_with_what_could_not_be_listed(shipped, tmp_path, capsys):
    import json

    assert main(["models", "--json", str(tmp_path / "nothing")]) == 1
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    (entry,) = told["packages"]
    assert (entry["name"], entry["origin"], entry["channels"]) == ("blobs", "shipped", ["nucleus"])
    assert entry["bytes"] == (shipped / "model.onnx").stat().st_size
    assert "is no package" in told["problems"][str(tmp_path / "nothing")]
