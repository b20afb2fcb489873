"""One folder of H&E nuclei from two sets that may be given away: NuCLS and DSB-2018 (both CC0).

    python models/he_data.py DATA/he_nucls15 DATA/dsb2018 OUT

The first holds 256² px of breast tissue at 0.2 µm with nuclei drawn by hand (train_*, test_*), the
second, among others, stained sections of 256 x 320 px (kind "colour"), with its own splits. Of
NuCLS's training images the last two are for validation. The column ``source`` says where each image
is from, so that test images can be scored by set.
"""

import csv
import shutil
import sys
from pathlib import Path

NUCLS_VALIDATION = ("train_9", "train_10")


def main(nucls: Path, dsb: Path, out: Path) -> None:
    rows = []
    for image in sorted((nucls / "images").glob("*.png")):
        split = "val" if image.stem in NUCLS_VALIDATION else image.stem.partition("_")[0]
        rows.append((f"nucls_{image.stem}", nucls, image.stem, "nucls", split))
    with open(dsb / "index.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "colour":
                rows.append((f"dsb_{row['id']}", dsb, row["id"], "dsb2018", row["split"]))
    for folder in ("images", "labels"):
        (out / folder).mkdir(parents=True)
        for name, source, stem, *_ in rows:
            shutil.copyfile(source / folder / f"{stem}.png", out / folder / f"{name}.png")
    with open(out / "index.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "source", "split"))
        writer.writerows((name, source, split) for name, _, _, source, split in rows)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
