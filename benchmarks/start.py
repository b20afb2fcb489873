"""How long Abbe takes to start: `import abbe` and `abbe --help`, each as a whole process.

    python benchmarks/start.py [--repeats 9] [--predict PACKAGE IMAGE]

With --predict also `abbe predict PACKAGE IMAGE`, from the start of the process to the result on the
disk: with the network compiled by an earlier start, and with nothing kept.

Also times a Python that does nothing, and makes sure that neither start imports torch. The medians
of the repeats count; the commands take turns. Prints a table and, last, one line of JSON. Ends with
status 1 if a start takes longer than half a second.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

LIMIT = 0.5
"""Seconds."""

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import abbe": ["-c", "import abbe"],
    "abbe --help": ["-m", "abbe", "--help"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description="How long Abbe takes to start.")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--predict", nargs=2, metavar=("PACKAGE", "IMAGE"))
    arguments = parser.parse_args()
    for options in COMMANDS.values():
        refuse_torch(options)  # and fills the disk cache
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(arguments.repeats):
        for name, options in COMMANDS.items():
            seconds[name].append(timed(options))
    if arguments.predict:
        package, image = arguments.predict
        seconds |= predicting(package, image, arguments.repeats)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{'':20}{'median s':>10}{'fastest s':>11}")
    for name, values in seconds.items():
        print(f"{name:20}{medians[name]:10.3f}{min(values):11.3f}")
    print(json.dumps({"median_seconds": medians, "limit_seconds": LIMIT, "imports_torch": False}))
    if max(medians[name] for name in COMMANDS) > LIMIT:
        raise SystemExit(1)


def timed(options: list[str], **variables: str) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *options],
        stdout=subprocess.DEVNULL,
        check=True,
        env={**os.environ, **variables},
    )
    return time.perf_counter() - start


def predicting(package: str, image: str, repeats: int) -> dict[str, list[float]]:
    """Whole processes of ``abbe predict``, the two kinds in turns."""
    seconds: dict[str, list[float]] = {"predict, compiled": [], "predict, nothing kept": []}
    with tempfile.TemporaryDirectory() as place:

        def once(number: int, cache: str) -> float:
            out = f"{place}/out-{cache}-{number}"
            options = ["-m", "abbe", "predict", package, image, "--out", out]
            return timed(options, XDG_CACHE_HOME=f"{place}/{cache}")

        once(-1, "kept")  # compiles, and fills the disk cache
        for number in range(repeats):
            seconds["predict, compiled"].append(once(number, "kept"))
            seconds["predict, nothing kept"].append(once(number, f"new-{number}"))
    return seconds


def refuse_torch(options: list[str]) -> None:
    """Run once with Python's own list of what it imports, and end if torch is on it."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    if "torch" in imported:
        raise SystemExit(f"python {' '.join(options)} imports torch")


if __name__ == "__main__":
    main()
