"""Makes the folder: the page, what computes in it, the package and an image to try."""

import gzip
import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from abbe import __version__
from abbe.errors import ConfigError, PackageError
from abbe.files import atomic_folder
from abbe.runtime.package import Package, Role, read_package
from abbe.runtime.package.places import shipped
from abbe.web.pinned import GEOTIFF, NUMCODECS, ONNXRUNTIME, PACKAGES, ZARR_STORAGE, ZARRITA
from abbe.web.runtime_files import Fetched, runtime_files

PAGE = Path(__file__).with_name("page")
"""The page itself: plain files, as they are served."""
MARK = "site.json"
"""Says what a site holds; a folder with one may be written anew."""
_NETWORKS: tuple[Role, ...] = ("onnx", "encoder_onnx", "decoder_onnx")
_VERSION = "@VERSION@"
_OWN = "connect-src 'self'"
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?")


@dataclass(frozen=True)
class Site:
    """A site that was written.

    Attributes:
        folder: Where.
        files: Bytes by path.
        example: Whether there is an image to try.
    """

    folder: Path
    files: dict[str, int]
    example: bool

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


def build_site(
    package: Package | str | os.PathLike[str],
    out: Path,
    *,
    runtime: Path | None = None,
    example: Path | None = None,
    webgpu: bool = True,
    origins: Sequence[str] = (),
) -> Site:
    """Write a folder that any static server can give.

    Args:
        package: The package, its folder, or the name of one that comes with Abbe.
        out: The folder; an earlier site there is replaced.
        runtime: See `runtime_files`.
        example: An image to try. None: the package's test image where it is simulated, else none,
            because it is a part of somebody's image.
        webgpu: Whether graphics processors are used where the browser has them.
        origins: Other servers that visitors may open OME-Zarr from, such as
            ``https://images.example.org``. The page can reach no server but these and its own.

    Raises:
        PackageError: The package is damaged.
        InputError: The files of others cannot be had; see `runtime_files`.
        ConfigError: ``out`` is there and no site, the example does not exist, or an origin is none.
    """
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"--origins {origin}: is no server. Give https:// and its name, such as "
                "https://images.example.org, without a path"
            )
    if not isinstance(package, Package):
        package = read_package(package)
    if out.exists() and not (out / MARK).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: is there already and no site of Abbe's. Give a new folder")
    if example is None and _is_free(package):
        example = package.file("test_image")
    elif example is not None and not example.is_file():
        raise ConfigError(f"--example {example}: there is no such image")
    fetched = runtime_files(runtime)
    with atomic_folder(out) as folder:
        shutil.copytree(PAGE, folder, ignore=shutil.ignore_patterns("*.json", "*.d.ts"))
        page = folder / "index.html"
        allowed = " ".join([_OWN, *origins])
        page.write_text(page.read_text("utf-8").replace(_OWN, allowed), "utf-8")
        (folder / ".nojekyll").touch()  # GitHub Pages gives the files as they are
        _copy_runtime(fetched, folder / "lib", webgpu=webgpu)
        shown = _copy_package(package, folder / "package")
        name = None if example is None else f"example{example.suffix.lower()}"
        if example is not None and name is not None:
            shutil.copyfile(example, folder / name)
        _write_mark(folder, shown, name, webgpu=webgpu)
        files = _sizes(folder)
    return Site(out, files, example is not None)


def _is_free(package: Package) -> bool:
    """Whether the package's test image is nobody's: simulated, or of a package of Abbe's own."""
    of_abbe = package.folder.resolve() in {path.resolve() for path in shipped().values()}
    return package.has("test_image") and (package.description.lineage.simulated or of_abbe)


def _copy_runtime(fetched: Fetched, lib: Path, *, webgpu: bool) -> None:
    """The files of others, with names that every server knows; WebAssembly a quarter as large."""
    lib.mkdir()
    for path in ONNXRUNTIME.files:
        graphics = "webgpu" in path or "asyncify" in path
        if graphics and not webgpu:
            continue
        source, name = fetched.file(ONNXRUNTIME, path), Path(path).name
        if name.endswith(".wasm"):
            (lib / f"{name}.gz.bin").write_bytes(_packed(source))
        else:
            shutil.copyfile(source, lib / name.replace(".mjs", ".js"))
    shutil.copyfile(fetched.file(GEOTIFF, "dist-browser/geotiff.js"), lib / "geotiff.js")
    _copy_zarr(fetched, lib / "zarr")
    notices = [f"{each.spec}: {each.licence}" for each in PACKAGES]
    text = "\n".join(notices) + "\n\nonnxruntime-web: Copyright (c) Microsoft Corporation.\n"
    for package in (GEOTIFF, ZARRITA):  # whose authors are those of the other two as well
        licence = fetched.file(package, "LICENSE").read_text("utf-8")
        text += f"\n{package.name}: {licence}"
    (lib / "LICENCES.txt").write_text(text, "utf-8")


def _copy_zarr(fetched: Fetched, folder: Path) -> None:
    """What reads OME-Zarr. Browsers find no packages by name, so that addresses stand instead."""
    places = {"@zarrita/storage/": "storage/", "numcodecs/": "numcodecs/"}
    for package, below in (
        (ZARRITA, "zarrita"),
        (ZARR_STORAGE, "storage"),
        (NUMCODECS, "numcodecs"),
    ):
        for path in package.files:
            if not path.endswith(".js"):
                continue
            inner = Path(path.removeprefix("dist/").removeprefix("src/"))
            text = fetched.file(package, path).read_text("utf-8")
            up = "../" * len(inner.parts)
            for name, place in places.items():
                named = re.compile(rf'((?:from |import\()["\']){re.escape(name)}(\w+)(["\'])')
                text = named.sub(rf"\g<1>{up}{place}\g<2>.js\g<3>", text)
            (folder / below / inner).parent.mkdir(parents=True, exist_ok=True)
            (folder / below / inner).write_text(text, "utf-8")


@lru_cache(maxsize=2)
def _packed(path: Path) -> bytes:
    """A large file that never changes: its checksum was looked at."""
    return gzip.compress(path.read_bytes(), 9, mtime=0)


def _copy_package(package: Package, folder: Path) -> dict[str, Any]:
    """The package's networks and card; its description as far as the page needs it."""
    folder.mkdir()
    files = {}
    for role in _NETWORKS:
        if package.has(role):
            source = package.file(role)
            shutil.copyfile(source, folder / source.name)
            files[role] = {"path": source.name, "bytes": source.stat().st_size}
    if not files:
        raise PackageError(f"{package.folder}: the package has no ONNX network")
    if package.has("card"):
        shutil.copyfile(package.file("card"), folder / "README.md")
    return described(package) | {"files": files}


def described(package: Package) -> dict[str, Any]:
    """A package's description as far as the page needs it."""
    description = package.description.model_dump(mode="json")
    for key in ("training", "timings", "parity"):  # they stand in the card
        description.pop(key)
    return description


def _write_mark(
    folder: Path, description: dict[str, Any], example: str | None, *, webgpu: bool
) -> None:
    """``site.json``, and the version of it all in the service worker, which keeps files by it."""
    every = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for path in every:
        digest.update(path.encode() + hashlib.sha256((folder / path).read_bytes()).digest())
    version = digest.hexdigest()[:16]
    mark = {
        "abbe": __version__, "version": version, "webgpu": webgpu, "example": example,
        "card": (folder / "package" / "README.md").is_file(), "package": description,
        "files": [path for path in every if path not in (".nojekyll", "sw.js")],
    }  # fmt: skip
    (folder / MARK).write_text(json.dumps(mark, ensure_ascii=False, indent=1), "utf-8")
    worker = folder / "sw.js"
    worker.write_text(worker.read_text("utf-8").replace(_VERSION, version), "utf-8")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _sizes(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in _files(folder)}
