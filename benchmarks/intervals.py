"""How often 95 % intervals hold the truth, and how often a gain is claimed where there is none.

    python benchmarks/intervals.py            # the tables of docs/statistics.md, about 5 minutes
    python benchmarks/intervals.py --tries 500

Scores are drawn as Dice is distributed: between 0 and 1, most of them high, some far below. Where
images come in groups, half of the variance is shared within a group; a group has 8 images, or from
1 to 60 where sizes differ. "Gains" are differences of two such scores that are equal in truth.
"""

import argparse
import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from abbe.scoring import (
    interval_of,
    joined,
    mean_interval,
    paired_difference,
    spread_over_groups,
    spread_over_seeds,
)

Floats = NDArray[np.float64]
SHAPE = (6, 0.8)
"""Of the Beta distribution: mean 0.88, median 0.94, one in twenty below 0.55."""
GROUPS = (3, 4, 5, 6, 8, 10, 15, 25, 50, 100)
LEAST_P = 0.05


def single(rng: np.random.Generator, count: int) -> NDArray[np.intp]:
    """Every image by itself."""
    return np.arange(count)


def equal(rng: np.random.Generator, count: int) -> NDArray[np.intp]:
    """Groups of 8 images."""
    return np.repeat(np.arange(count), 8)


def unequal(rng: np.random.Generator, count: int) -> NDArray[np.intp]:
    """Groups of 1 to 60 images, 6 in the median."""
    sizes = np.clip(np.round(np.exp(rng.normal(1.8, 0.8, count))), 1, 60).astype(int)
    return np.repeat(np.arange(count), sizes)


DESIGNS = {"images": single, "groups of 8": equal, "groups of 1 to 60": unequal}


def scores(rng: np.random.Generator, units: NDArray[np.intp], shared: Floats) -> Floats:
    """One score an image; ``shared`` (G,) is what the images of a group have in common."""
    own = rng.normal(size=units.size)
    if len(shared) < units.size:
        own = (shared[units] + own) / math.sqrt(2)
    return stats.beta.ppf(special.ndtr(own), *SHAPE)


def judged(
    rng: np.random.Generator, units: NDArray[np.intp], count: int
) -> tuple[bool, bool, bool, bool]:
    """Whether there is an interval; whether those of a score and a gain hold; a false claim."""
    shared = rng.normal(size=count)
    first, second = (scores(rng, units, shared) for _ in range(2))
    level = mean_interval(first, units.tolist())
    gain = paired_difference(first, second, units.tolist())
    truth = SHAPE[0] / sum(SHAPE)
    return (
        not math.isnan(level.low),
        level.low <= truth <= level.high,
        gain.low <= 0 <= gain.high,
        gain.p < LEAST_P,
    )


def over_images(tries: int) -> Iterator[str]:
    """A line a design and number of groups."""
    for name, design in DESIGNS.items():
        for count in GROUPS:
            rng = np.random.default_rng([count, len(name)])
            found = np.array([judged(rng, design(rng, count), count) for _ in range(tries)])
            given = found[found[:, 0] == 1]
            _, level, gain, claimed = given.mean(0).tolist()
            yield (
                f"| {name} | {count} | {found[:, 0].mean():.1%} | {level:.1%} | {gain:.1%} | "
                f"{claimed:.1%} |"
            )


def over_seeds(tries: int) -> Iterator[str]:
    """A line a number of seeds and images, and how much seeds weigh beside images."""
    for seeds in (3, 5):
        for images in (5, 10, 25, 80):
            for weight in (0.0, 0.5, 1.0, 2.0):
                rng = np.random.default_rng([seeds, images, int(10 * weight)])
                held = np.mean(
                    [_seed_interval_holds(rng, seeds, images, weight) for _ in range(tries)]
                )
                yield f"| {seeds} | {images} | {weight:g} | {held:.1%} |"


def _seed_interval_holds(rng: np.random.Generator, seeds: int, images: int, weight: float) -> bool:
    gains = rng.normal(size=images) + 0.5 * rng.normal(size=(seeds, images))
    gains = gains + rng.normal(size=(seeds, 1)) * weight * math.sqrt(seeds / images)
    by_image = gains.mean(0)
    left_out = (by_image.sum() - by_image) / (images - 1)
    spread = joined(spread_over_groups(left_out, np.ones(images)), spread_over_seeds(gains.mean(1)))
    found = interval_of(float(gains.mean()), spread, images, "plain")
    return found.low <= 0 <= found.high


def _print(head: str, lines: Callable[[int], Iterator[str]], tries: int) -> None:
    print(head)
    print("|---" * head.count(" | ") + "|---|")
    for line in lines(tries):
        print(line, flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tries", type=int, default=4000, help="draws behind each line")
    tries = parser.parse_args().tries
    _print(
        "| images stand | groups | have an interval | a score's holds | a gain's holds | "
        "false claims |",
        over_images,
        tries,
    )
    _print("| seeds | images | spread of seeds / of images | a gain's holds |", over_seeds, tries)


if __name__ == "__main__":
    main()
