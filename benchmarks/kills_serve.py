"""Kill `abbe serve` while masks are saved, for `benchmarks/kills.py`."""

import json
import random
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from kills_jobs import SERVED
from PIL import Image as Picture

from abbe.serve.coco import counts_of, mask_of

IMAGES = 4
CATEGORY = "nucleus"
"""The class of all objects that are saved."""
LONGEST = 2.0
"""Seconds of saving, at most, before the signal."""


def serve_killed(
    inputs: Path,
    folder: Path,
    chance: random.Random,
    number: int,
    start: Callable[..., Any],
) -> tuple[str, list[str]]:
    """Save objects of random images until a signal comes, start again and look for them.

    Args:
        inputs: With the package in ``promptable`` and the images in ``served``.
        folder: To make, for the masks.
        chance: Draws everything.
        number: The signal.
        start: `kills.Command`.

    Returns:
        When the signal was sent, and what is wrong.
    """
    folder.mkdir()
    out = folder / "out"
    words = ["serve", str(inputs / "promptable"), "--images", str(inputs / "served"),
             "--out", str(out)]  # fmt: skip
    logs = folder.with_suffix(".log"), folder.with_suffix(".again.log")
    first = start(words, logs[0], folder.with_suffix(".steps"))
    page = _Page(_address(first), chance)
    end = time.monotonic() + chance.random() * LONGEST
    # The signal comes from a process of its own, so that it may fall into a request.
    signaller = _after(first.pid, number, end - time.monotonic())
    page.save_until_refused()
    signaller.wait()
    code = first.end()
    when = f"{page.saves} saves"
    wrong = []
    if number != signal.SIGKILL and code != 0:
        wrong.append(f"exit code {code}: {first.text.strip()[-300:]}")
    again = start(words, logs[1], folder.with_suffix(".steps"))
    page.address = _address(again)
    wrong += page.lost(ended=number != signal.SIGKILL)
    again.signal(signal.SIGTERM)
    if again.end():
        wrong.append(f"started again, it ended with {again.code}: {again.text.strip()[-300:]}")
    for command in (first, again):
        if "Traceback" in command.text:
            wrong.append(f"a traceback: {command.text.strip()[-300:]}")
    return when, wrong + _wrong_files(out)


def _after(pid: int, number: int, seconds: float) -> Any:
    import subprocess
    import sys

    code = f"import os, time; time.sleep({max(0.0, seconds)}); os.kill({pid}, {int(number)})"
    return subprocess.Popen([sys.executable, "-S", "-c", code])


def _address(command: Any) -> str:
    while not (found := re.search(r"http://\S+/", command.text)):
        if command.ended():
            raise RuntimeError(f"serve ended with {command.code}: {command.text}")
        time.sleep(0.01)
    return found[0]


class _Page:
    """What a browser would do, and what it was told."""

    def __init__(self, address: str, chance: random.Random) -> None:
        self.address, self._chance = address, chance
        self.saves = 0
        self._saved: dict[int, list[Any]] = {}
        self._unsaved: dict[int, list[Any]] = {}
        self._asked: tuple[int, list[Any]] | None = None

    def save_until_refused(self) -> None:
        """Save objects, and leave some accepted but unsaved, until nobody answers."""
        try:
            while True:
                image = self._chance.randrange(IMAGES)
                objects = [self._object() for _ in range(self._chance.randrange(1, 40))]
                save = self._chance.random() < 0.8
                self._asked = image, objects
                where = f"api/images/{image}/{'objects' if save else 'unsaved'}"
                self._ask(where, {"objects": objects})
                self._asked = None
                (self._saved if save else self._unsaved)[image] = objects
                if save:
                    self._unsaved.pop(image, None)
                self.saves += save
        except (OSError, HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                raise

    def lost(self, *, ended: bool) -> list[str]:
        """What was acknowledged and is not there; of one that was told to end, unsaved, too."""
        wrong = []
        expected = {**self._saved, **(self._unsaved if ended else {})}
        for image in range(IMAGES):
            answer = self._ask(f"api/images/{image}")
            found = answer["objects"]
            allowed = [expected.get(image, [])]
            if self._asked and self._asked[0] == image:
                allowed.append(self._asked[1])
            if found not in allowed:
                wrong.append(f"image {image}: {len(found)} objects, not {len(allowed[0])} as saved")
        return wrong

    def _object(self) -> dict[str, Any]:
        height, width = SERVED
        top, left = self._chance.randrange(height - 20), self._chance.randrange(width - 20)
        mask = np.zeros(SERVED, bool)
        bottom, right = top + self._chance.randrange(1, 20), left + self._chance.randrange(1, 20)
        mask[top:bottom, left:right] = True
        score = round(self._chance.random(), 3)
        return {"counts": counts_of(mask), "score": score, "category": CATEGORY}

    def _ask(self, where: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        method = "GET" if body is None else "PUT"
        request = urllib.request.Request(
            self.address + where, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())


def _wrong_files(out: Path) -> list[str]:
    """Label images that are not what the annotations say, and files left over."""
    path = out / "annotations.json"
    value = json.loads(path.read_text("utf-8")) if path.exists() else {"images": []}
    wrong, known = [], {path.name}
    ids = [each["id"] for each in value.get("annotations", [])]
    if len(ids) != len(set(ids)):
        wrong.append("annotations have the same number")
    for image in value["images"]:
        labels = np.zeros(SERVED, np.int32)
        own = [each for each in value["annotations"] if each["image_id"] == image["id"]]
        for count, each in enumerate(own, 1):
            labels[mask_of(each["segmentation"]["counts"], SERVED)] = count
        picture = out / f"{Path(image['file_name']).stem}.labels.png"
        known.add(picture.name)
        if not picture.exists():
            wrong.append(f"{picture.name} is missing")
            continue
        with Picture.open(picture) as found:
            if not np.array_equal(np.asarray(found), labels):
                wrong.append(f"{picture.name} is not what annotations.json says")
    over = [each.name for each in out.iterdir() if each.name not in known]
    return [*wrong, *(f"{name} is left over" for name in sorted(over))]
