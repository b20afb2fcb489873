"""Carry out the Dockerfile without an engine: its steps in a fresh folder, and what it starts.

python tests/image_check.py [FOLDER]

What an engine would do is done by hand: the build's steps run with a prefix of their own, and the
entry point as the image's user, in its environment alone, with no network but this machine's own
(Linux, as root). It is no image, and base images are not looked into: this machine's Python stands
in for them.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TOKEN = "of-this-check-alone"
ADDRESS = "http://127.0.0.1:8000"
_KNOWN = {
    "ARG", "FROM", "WORKDIR", "COPY", "RUN", "LABEL", "ENV", "USER", "EXPOSE", "HEALTHCHECK",
    "ENTRYPOINT", "CMD",
}  # fmt: skip


class Step(NamedTuple):
    """One instruction."""

    instruction: str
    value: str


@dataclass(frozen=True)
class Stage:
    """From one FROM to the next."""

    base: str
    steps: tuple[Step, ...]

    def values(self, instruction: str) -> list[str]:
        """Of all its instructions of one kind."""
        return [step.value for step in self.steps if step.instruction == instruction]

    def words(self, instruction: str) -> list[str]:
        """Of an instruction in its exec form, which no shell reads."""
        (value,) = self.values(instruction)
        return json.loads(value)


def stages(path: Path = ROOT / "Dockerfile") -> list[Stage]:
    """The stages of a Dockerfile, by a library that reads such files."""
    from dockerfile_parse import DockerfileParser

    found: list[tuple[str, list[Step]]] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(path, Path(folder) / "Dockerfile")
        structure = DockerfileParser(str(copy)).structure
    for each in structure:
        step = Step(each["instruction"], each["value"])
        if step.instruction == "COMMENT":
            continue
        if step.instruction not in _KNOWN:
            raise SystemExit(f"{path}: {step.instruction} is not known to this check")
        if step.instruction == "FROM":
            found.append((step.value, []))
        elif found:
            found[-1][1].append(step)
    return [Stage(base, tuple(steps)) for base, steps in found]


def let_through(name: str, path: Path = ROOT / ".dockerignore") -> bool:
    """Whether .dockerignore leaves what lies at the top in the build; its last word counts."""
    kept = True
    for line in path.read_text("utf-8").splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#") and fnmatch(name, pattern.lstrip("!")):
            kept = pattern.startswith("!")
    return kept


def build(stage: Stage, folder: Path) -> Path:
    """Carry out the build's steps; gives the prefix that the image gets."""
    prefix, source = folder / "opt" / "abbe", folder / "source"
    source.mkdir(parents=True)
    for instruction, value in stage.steps:
        if instruction == "COPY":
            *names, to = value.split()
            for name in names:
                assert let_through(name), f".dockerignore keeps {name} out"
                if (ROOT / name).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
                    shutil.copytree(ROOT / name, source / to, ignore=ignored)
                else:
                    shutil.copy(ROOT / name, source / to)
        elif instruction == "RUN":
            command = value.replace("${PREFIX}", str(prefix))
            clean = {"PATH": os.environ["PATH"], "HOME": str(folder)}
            clean |= {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
            subprocess.run(["/bin/sh", "-ec", command], cwd=source, env=clean, check=True)
    shutil.rmtree(source)
    return prefix


def environment(stage: Stage, folder: Path, prefix: Path) -> dict[str, str]:
    """The image's own, with /tmp and the prefix where they are here."""
    found = {}
    for value in stage.values("ENV"):
        for word in shlex.split(value):
            key, _, text = word.partition("=")
            text = text.replace("${PREFIX}", str(prefix))
            found[key] = str(folder / text[1:]) if text.startswith("/tmp") else text
    return found | {"TMPDIR": str(folder / "tmp"), "ABBE_TOKEN": TOKEN}


def start(stage: Stage, folder: Path, prefix: Path) -> None:
    """Run what the image starts, as its user and without a network, until its health is right."""
    here = environment(stage, folder, prefix)
    temporary = folder / "tmp"
    temporary.mkdir(mode=0o777)
    temporary.chmod(0o777)
    (user,) = stage.values("USER")
    uid, gid = map(int, user.split(":"))
    assert uid, "the image's user is root"
    command = [*stage.words("ENTRYPOINT"), *stage.words("CMD")]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # This machine's Python may lie where that user may not look; in the image it does not.
    look = "-all,+dac_read_search"
    as_user = [
        "setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", f"--inh-caps={look}",
        f"--ambient-caps={look}", "--no-new-privs",
    ]  # fmt: skip
    words = [*as_user, str(prefix / "bin" / command[0]), *command[1:]]
    with subprocess.Popen(words, env=here, cwd=temporary) as service:
        try:
            _healthy(stage, here, prefix)
            _answers(prefix)
            writable = list(_writable(prefix, uid, gid))
            assert not writable, f"its user could write {writable[:3]}"
        finally:
            service.terminate()
    assert service.returncode == 0, service.returncode
    left = [path for path in temporary.rglob("*") if path.is_file() and "cache" not in path.parts]
    assert not left, f"left on disk: {left}"


def _healthy(stage: Stage, here: Mapping[str, str], prefix: Path) -> None:
    (value,) = stage.values("HEALTHCHECK")
    words: Sequence[str] = json.loads(value[value.index("CMD") + 3 :])
    check = [str(prefix / "bin" / words[0]), *words[1:]]
    for _ in range(60):
        if not subprocess.run(check, env=here, capture_output=True, check=False).returncode:
            return
        time.sleep(1)
    raise SystemExit("its health was never right")


def _answers(prefix: Path) -> None:
    """The package's test image is answered, and only with the token."""
    (image,) = prefix.glob("lib/python3*/site-packages/abbe/starter/nuclei/test_image.tif")
    address = f"{ADDRESS}/v1/packages/nuclei/predict"
    body = image.read_bytes()
    try:
        urllib.request.urlopen(urllib.request.Request(address, body), timeout=60)
        raise SystemExit("it answers without the token")
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
    request = urllib.request.Request(address, body, {"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=120) as response:
        print(f"{json.load(response)['count']} nuclei in the package's test image")


def _writable(prefix: Path, uid: int, gid: int) -> Iterator[Path]:
    for path in prefix.rglob("*"):
        status = path.lstat()
        if not path.is_symlink() and (
            status.st_uid == uid or status.st_gid == gid or status.st_mode & 0o002
        ):
            yield path


def main() -> None:
    """Build, and start in a network of its own: the same file once more, by ``unshare``."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="abbe-image-"))
    build_stage, stage = stages()
    prefix = folder / "opt" / "abbe"
    if "--start" in sys.argv:
        start(stage, folder, prefix)
        return
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    began = time.monotonic()
    build(build_stage, folder)
    size = sum(path.lstat().st_size for path in prefix.rglob("*"))
    print(f"{size / 1e6:.0f} MB besides the base image, built in {time.monotonic() - began:.0f} s")
    again = [sys.executable, __file__, str(folder), "--start"]
    subprocess.run(["unshare", "--net", *again], check=True)
    shutil.rmtree(folder)
    print("the Dockerfile's steps ran, and what it starts answers, as its user, without a network")


if __name__ == "__main__":
    main()
