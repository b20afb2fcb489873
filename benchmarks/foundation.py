"""Evidence with a real foundation model: MobileSAM as teacher, and the tables of docs/results.md.

    python benchmarks/foundation.py DATA WEIGHTS OUT [--only NAME …] [--quick] [--table]

DATA holds codex_2ch/, he_nucls15/, he_tcga_glioma/, polyp_cvc/, us_busi/ and skin_isic2017_9/;
WEIGHTS mobile_sam.safetensors, tf_efficientnet_lite0_imagenet.safetensors and
vgg16_hed_relu3_3.safetensors. Every item is one call of `abbe`, in a process of its own, with one
thread; OUT/done/NAME says how many seconds it took, and how many of processor time. What is there
is not run again, and what was stopped goes on. --only takes names, or their beginnings. --quick
trains for two steps on a part of the pictures with one seed, to see whether everything runs; it
compares nothing. --jobs 2 runs two parts at once. --more runs what came up on the way, too: two
labels, CWD and trust on H&E, CWD and two labels on nuclei, teachers of polyps that are tuned.
Seconds of each item and their sums are printed at the end.

    codex-*, tissue-*   CMKD: teachers see nucleus and membrane, the student the nucleus;
                 tissue is simulated
    polyps-*   KD SAM, leaving out four of 24 videos at a time
    busi-*     KD SAM on ultrasound
    tuned-*    MobileSAM tuned with few ultrasound labels
    stained-*, regions-*    CMKD: H&E nuclei; RCKD: which type each nucleus is of
    nuclei-*     CMKD: fluorescent nuclei, after a U-Net that has had all labels
    lesions-*    RCKD: which lesion an ultrasound picture shows
"""

import argparse
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import foundation_tables as tables
from foundation_cmkd import codex, nuclei, stained, tissue
from foundation_items import QUICK, Item, Places, Sizes, carry_out_program
from foundation_kdsam import polyps, ultrasound
from foundation_rckd import lesions, regions


def stains(places: Places, sizes: Sizes) -> Iterator[Item]:
    """All that is done with H&E: the second needs pictures and answers of the first."""
    yield from stained(places, sizes)
    yield from regions(places, sizes)


PARTS = (ultrasound, codex, polyps, nuclei, tissue, stains, lesions)
"""They need nothing of each other; the longest come first."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Evidence with MobileSAM as teacher.")
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=1, help="parts at once, one thread each")
    parser.add_argument("--more", action="store_true", help="what came up on the way, too")
    parser.add_argument("--table", action="store_true", help="of what is there; run nothing")
    asked = parser.parse_args()
    places = Places(*(path.resolve() for path in (asked.data, asked.weights, asked.out)))
    sizes, done = QUICK if asked.quick else Sizes(), places.out / "done"
    parts = [list(make(places, sizes)) for make in PARTS]
    if not asked.table:
        carry_out_all(chosen(parts, asked.only, more=asked.more), done, asked.jobs)
    tables.print_all(places.out)
    items = [item for part in parts for item in part]
    for more in (False, True):
        tables.print_times([item.name for item in items if item.more == more], done, more=more)


def chosen(parts: Sequence[Sequence[Item]], only: Sequence[str], *, more: bool) -> list[list[Item]]:
    """Of each part the items whose names begin so; what came up on the way with ``more`` alone."""
    return [
        [item for item in part if item.name.startswith(tuple(only)) and item.more <= more]
        for part in parts
    ]


def carry_out_all(parts: Sequence[Sequence[Item]], done: Path, jobs: int) -> None:
    """Parts side by side, the items of each in turn; a failure ends the others after their item."""
    failed = threading.Event()

    def carry_out_part(items: Sequence[Item]) -> None:
        for item in items:
            if failed.is_set():
                return
            try:
                carry_out(item, done / item.name)
            except BaseException:
                failed.set()
                raise

    with ThreadPoolExecutor(jobs) as pool:
        for part in [pool.submit(carry_out_part, items) for items in parts]:
            part.result()


def carry_out(item: Item, done: Path) -> None:
    """Do what is not done yet; a failed call of abbe ends the script with its exit code."""
    if done.exists():
        return
    done.parent.mkdir(parents=True, exist_ok=True)
    started, own = time.monotonic(), time.thread_time()
    if item.make is not None:
        called = item.make()
    else:
        words = [sys.executable, "-m", "abbe", *map(str, item.words), "--threads", "1"]
        print("$ abbe", *words[3:], flush=True)
        called = carry_out_program(words)
    spent = time.thread_time() - own + (called if isinstance(called, float) else 0)
    done.write_text(f"{time.monotonic() - started:.0f} {spent:.0f}\n")


if __name__ == "__main__":
    main()
