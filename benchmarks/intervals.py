"""How often 95 % intervals hold the truth, and how often a gain is claimed where there is none.

    python benchmarks/intervals.py            # the tables of docs/statistics.md, about 5 minutes
    python benchmarks/intervals.py --tries 500
    python benchmarks/intervals.py --tables choice --tries 5000

Scores are drawn as Dice is distributed: between 0 and 1, most of them high, some far below. Where
images come in groups, half of the variance is shared within a group; a group has 8 images, or from
1 to 60 where sizes differ. "Gains" are differences of two such scores that are equal in truth.

Networks of several seeds have normal scores: what a seed does to all images, to one image alone,
and what a network does to an image whatever its seed. Where networks differ in nothing but luck
there is no such last part. A network's validation score has its luck and other images.
"""

import argparse
import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from abbe.scoring import Difference, mean_interval, measured_means, paired_difference

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


IMAGES = (5, 10, 25, 80)
WEIGHTS = (0.0, 0.5, 1.0, 2.0)
"""Standard deviation of a mean over seeds, by that over images."""
BASELINES = {3: 2, 5: 3}
"""Of standard and full evidence, by seeds."""


def network(
    rng: np.random.Generator, seeds: int, images: int, weight: float, own: float
) -> tuple[Floats, float]:
    """Scores (S, N) of a network on test images, and its mean score on as many others.

    Args:
        rng: draws them.
        seeds: S.
        images: N.
        weight: of `WEIGHTS`.
        own: standard deviation of what it does to an image whatever its seed.
    """
    over_images = math.sqrt(own**2 + 0.5**2 / seeds)
    luck = rng.normal(size=(seeds, 1)) * weight * over_images * math.sqrt(seeds / images)
    alone = 0.5 * rng.normal(size=(seeds, 2 * images))
    scores = own * rng.normal(size=2 * images) + alone + luck
    return scores[:, :images], float(scores[:, images:].mean())


def gain(student: Floats, baseline: Floats) -> Difference:
    """As a run has it: paired by image and seed."""
    units = np.arange(student.shape[1])
    return measured_means(student, units).minus(measured_means(baseline, units)).difference()


def over_seeds(tries: int) -> Iterator[str]:
    """A line a number of seeds and images, and how much seeds weigh beside images."""
    for seeds in (2, 3, 5):
        for images in IMAGES:
            for weight in WEIGHTS:
                held = []
                for own in (1.0, 0.0):
                    rng = np.random.default_rng([seeds, images, int(10 * weight), int(own)])
                    pairs = (
                        [network(rng, seeds, images, weight, own)[0] for _ in range(2)]
                        for _ in range(tries)
                    )
                    found = (gain(*pair) for pair in pairs)
                    held.append(np.mean([each.low <= 0 <= each.high for each in found]))
                yield f"| {seeds} | {images} | {weight:g} | {held[0]:.1%} | {held[1]:.1%} |"


def over_choice(tries: int) -> Iterator[str]:
    """A line a level of evidence, images and weight of seeds: claims, where all are equal."""
    for own in (1.0, 0.0):
        for seeds, baselines in BASELINES.items():
            for images in IMAGES:
                for weight in WEIGHTS:
                    rng = np.random.default_rng([seeds, images, int(10 * weight), 7, int(own)])
                    found = np.array(
                        [_claims(rng, seeds, images, weight, own, baselines) for _ in range(tries)]
                    )
                    fixed, helped, harmed = found.mean(0).tolist()
                    yield (
                        f"| {'as methods do' if own else 'by luck alone'} | {seeds} | {baselines} "
                        f"| {images} | {weight:g} | {fixed:.1%} | {helped:.1%} | {harmed:.1%} "
                        f"| {helped + harmed:.1%} |"
                    )


def _claims(
    rng: np.random.Generator, seeds: int, images: int, weight: float, own: float, baselines: int
) -> tuple[bool, bool, bool]:
    """Whether a claim is made over the first baseline; helped, and harmed, over the best one."""
    student, _ = network(rng, seeds, images, weight, own)
    others = [network(rng, seeds, images, weight, own) for _ in range(baselines)]
    first = gain(student, others[0][0])
    best = gain(student, max(others, key=lambda each: each[1])[0])
    return first.p < LEAST_P, best.low > 0, best.high < 0


def _print(head: str, lines: Callable[[int], Iterator[str]], tries: int) -> None:
    print(head)
    print("|---" * head.count(" | ") + "|---|")
    for line in lines(tries):
        print(line, flush=True)
    print()


TABLES = {
    "images": (
        "| images stand | groups | have an interval | a score's holds | a gain's holds | "
        "false claims |",
        over_images,
    ),
    "seeds": (
        "| seeds | images | spread of seeds / of images | a gain's holds: methods differ by image "
        "| by luck alone |",
        over_seeds,
    ),
    "choice": (
        "| networks differ | seeds | baselines | images | spread of seeds / of images "
        "| claims over the first | helped, over the best | harmed | together |",
        over_choice,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tries", type=int, default=4000, help="draws behind each line")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    given = parser.parse_args()
    for name in given.tables:
        _print(*TABLES[name], given.tries)


if __name__ == "__main__":
    main()
