"""Packages to Hugging Face, with a hub that only takes notes."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
from small_students import FACTS

from abbe.cli import main
from abbe.errors import ConfigError, PackageError
from abbe.exporting.formats.push import push
from abbe.runtime.package import (
    PackageDescription,
    PackageFile,
    Role,
    describe_file,
    read_package,
    write_description,
)

FILES: dict[Role, str] = {
    "onnx": "model.onnx",
    "weights": "model.safetensors",
    "test_image": "test_image.tif",
    "expected": "expected.npz",
    "card": "README.md",
}


class Hub:
    """Stands in for huggingface_hub.HfApi."""

    made: list[dict[str, Any]]
    uploaded: dict[str, bytes]
    error: Exception | None = None

    def __init__(self) -> None:
        self.made, self.uploaded = [], {}

    def create_repo(self, repository: str, **options: Any) -> None:
        if self.error:
            raise self.error
        self.made.append({"repository": repository, **options})

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> Any:
        self.uploaded = {
            path.relative_to(folder_path).as_posix(): path.read_bytes()
            for path in folder_path.rglob("*")
        }
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/1")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    return made


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package whose files hold their own names, with a stray file beside them."""
    folder = tmp_path / "package"
    folder.mkdir()
    for name in FILES.values():
        (folder / name).write_text(name)
    files: dict[Role, PackageFile] = {
        role: describe_file(folder, name) for role, name in FILES.items()
    }
    write_description(folder, PackageDescription(**FACTS, files=files))
    (folder / "private notes.txt").write_text("patient 7")
    return folder


def test_what_the_package_declares_is_uploaded_and_nothing_else(hub, package):
    uploads, address = push(package, "me/nuclei")
    assert address == "https://hub/me/nuclei/1"
    assert hub.made == [
        {"repository": "me/nuclei", "repo_type": "model", "private": False, "exist_ok": True}
    ]
    assert set(hub.uploaded) == {*FILES.values(), "package.json"} == {each.path for each in uploads}
    card = hub.uploaded["README.md"].decode()
    assert "abbe predict hf:me/nuclei image.tif" in card
    assert 'abbe.predict("hf:me/nuclei"' in card
    assert (package / "README.md").read_text() == "README.md"  # the original is as it was
    assert json.loads(hub.uploaded["package.json"])["files"]["card"]["bytes"] == len(card.encode())


def test_the_example_can_stay_at_home(hub, package, tmp_path):
    push(package, "me/nuclei", with_example=False, private=True)
    assert hub.made[0]["private"] is True
    assert not {"test_image.tif", "expected.npz"} & set(hub.uploaded)
    copy = tmp_path / "downloaded"
    copy.mkdir()
    for name, content in hub.uploaded.items():
        (copy / name).write_bytes(content)
    downloaded = read_package(copy)  # it is whole without them
    assert not downloaded.has("test_image")
    assert downloaded.file("onnx").read_text() == "model.onnx"
    assert read_package(package).has("test_image")  # the original is as it was


def test_without_the_example_no_image_is_named(hub, package):
    names = "patient [7]", "patient [7]7"  # a card escapes them
    description = read_package(package).description
    lost = "0.0030 Dice lost (mean of 4 images); worst image: patient [7]7; of 4 ways this: mixed"
    parity = {
        "openvino/fp32": {"lost_dice": 0.0, "worst_image": names[0], "kept": True},
        "openvino/int8": {"worst_image": names[1], "kept": False, "reason": lost},
    }
    changed = description.model_copy(update={"parity": parity})
    write_description(package, changed)
    push(package, "me/nuclei")
    assert b"patient [7]7" in hub.uploaded["package.json"]
    assert b"7; of 4 ways" in hub.uploaded["README.md"]
    push(package, "me/nuclei", with_example=False)
    sent = json.loads(hub.uploaded["package.json"])
    assert sent["parity"]["openvino/fp32"] == {"lost_dice": 0.0, "kept": True}
    reason = "0.0030 Dice lost (mean of 4 images); of 4 ways this: mixed"
    assert sent["parity"]["openvino/int8"] == {"kept": False, "reason": reason}
    assert b"of 4 ways" in hub.uploaded["README.md"]
    assert not any(b"patient [" in content for content in hub.uploaded.values())
    assert not any(b"patient \\[" in content for content in hub.uploaded.values())
    card = sent["files"]["card"]
    assert card["bytes"] == len(hub.uploaded["README.md"])
    assert card["sha256"] == hashlib.sha256(hub.uploaded["README.md"]).hexdigest()


def test_a_dry_run_sends_nothing(hub, package, capsys):
    assert main(["push", str(package), "me/nuclei", "--dry-run"]) == 0
    assert hub.made == []
    assert hub.uploaded == {}
    said = capsys.readouterr().out
    for name in (*FILES.values(), "package.json"):
        assert name in said
    assert "nothing was sent" in said


def test_a_damaged_package_is_not_sent(hub, package):
    (package / "model.onnx").write_text("other")
    with pytest.raises(PackageError, match=r"model\.onnx: this is not the file"):
        push(package, "me/nuclei")
    assert hub.made == []


@pytest.mark.parametrize("name", ["nuclei", "a/b/c", "me/nu clei", "me/"])
def test_names_of_repositories(hub, package, name):
    with pytest.raises(ConfigError, match=r"OWNER/NAME|no name of a repository"):
        push(package, name, dry_run=True)


def refused() -> HfHubHTTPError:
    return HfHubHTTPError("403 Forbidden: read only", response=Mock(headers={}))


def disconnected() -> Exception:
    """What the library under the hub's raises without a network."""
    return HfHubHTTPError.__mro__[1]("no route to host")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LocalTokenNotFoundError("no token"), "hf auth login"),
        (refused(), r"403 Forbidden.*hf auth whoami"),
        (disconnected(), r"no route to host.*Check the network"),
    ],
)
def test_what_the_hub_refuses_is_explained(hub, package, capsys, error, message):
    hub.error = error
    with pytest.raises(ConfigError, match=message):
        push(package, "me/nuclei")
    assert main(["push", str(package), "me/nuclei"]) == 1
    assert "abbe push: " in capsys.readouterr().err


def test_the_description_that_is_sent_is_json(hub, package):
    push(package, "me/nuclei", with_example=False)
    assert json.loads(hub.uploaded["package.json"])["title"] == "Bright discs"
