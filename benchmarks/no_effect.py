"""How often a run says "helped" or "harmed" where nothing helps or harms, by the real command line.

    python benchmarks/no_effect.py --runs 100 --evidence standard

Student and baselines are the same training on the same labels and differ in their luck alone: each
has initial weights and batches of its own (`no_effect_recipe.py`, added by an entry point as any
plugin is). So every claim is false. Networks and images are tiny, and each run draws its slides of
simulated tissue anew. With --controls N, N more runs of a recipe that helps and N of one that harms
tell whether an effect that is there is claimed. Nothing measured here is a finding about real
images.

Only the first run's report is drawn, and no student is shown early; claims do not depend on it.
"""

import argparse
import contextlib
import gc
import io
import json
import math
import shlex
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

FILES = {
    "no_effect-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: no-effect\nVersion: 1.0\n",
    "no_effect-1.0.dist-info/entry_points.txt": "[abbe.plugins]\nno-effect = no_effect_plugin\n",
    **{f"{name}.yaml": f"recipe: {name}\n" for name in ("no-effect", "helps", "harms")},
}
RUN = shlex.split(
    "--data.kind pool --data.path . --data.count 28 --data.size 64 --data.fractions 0.15 0.28 0.57 "
    "--student.architecture unet-micro --student.depth 3 --student.decoder-widths 8 8 8 "
    "--student.outputs foreground --student.encoder-weights random --loss.weighting fixed "
    "--training.steps 12 --training.batch-size 4 --training.crop 32 --training.workers 0 "
    "--training.ema 0 --training.validate-every 12 --training.learning-rate 0.02 "
    "--training.precision fp32 --evaluation.smallest-gain 0"
)
"""Eight slides to test on, two images each."""


def install(folder: Path) -> Path:
    """Make the plugin known, as an installed package is; the folder of its experiment files."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sys.path[:0] = [str(folder), str(Path(__file__).parent)]
    return folder


def verdicts(out: Path) -> dict[str, str]:
    """What a run says of its student, held against the best baseline and against the first."""
    from abbe.reporting.tables import primary_metric, verdict_of
    from abbe.summary import RunSummary, read_summary

    summary = read_summary(out)
    assert isinstance(summary, RunSummary)
    metric = primary_metric(summary)
    assert metric is not None
    gains = {"best": summary.gain, "fixed": summary.gains[summary.evidence.baselines[0]]}
    return {name: verdict_of(summary, metric, gain[metric]) for name, gain in gains.items()}


def run_once(words: list[str], out: Path) -> None:
    """Train and score by ``abbe distill``; its output is shown where it fails."""
    from abbe.cli import main

    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        code = main(["distill", *words, "--out", str(out)])
    if code:
        raise SystemExit(f"{told.getvalue()}\nabbe distill ended with {code}")


def shares(found: list[str]) -> str:
    """How often each claim was made, with the sampling error of all claims."""
    count, claims = len(found), Counter(found)
    share = (claims["better"] + claims["worse"]) / count
    error = math.sqrt(share * (1 - share) / count)
    return (
        f"{share:.1%} ± {error:.1%} of {count} runs claim "
        f"(helped {claims['better']}, harmed {claims['worse']})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--controls", type=int, default=0)
    parser.add_argument("--evidence", choices=["standard", "full"], default="standard")
    parser.add_argument("--keep", type=Path, help="folder for the runs, and verdicts.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        files = install(folder)
        from abbe import reporting
        from abbe.runs import distill

        distill.SHOWN_EARLY = math.inf
        gc.freeze()  # each training collects garbage; what is imported by now is none
        counts = {"no-effect": given.runs, "helps": given.controls, "harms": given.controls}
        found: dict[str, list[dict[str, str]]] = {name: [] for name in counts}
        for name, count in counts.items():
            for number in range(count):
                out = folder / ("run" if name == "no-effect" else name)
                out = out.with_name(f"{out.name}-{number}")
                luck = ["--seed", str(100 * number), "--data.seed", str(number)]
                file = files / f"{name}.yaml"
                run_once([str(file), *RUN, "--evidence", given.evidence, *luck], out)
                reporting.write_report = lambda folder: folder
                gc.freeze()  # and what the run has imported
                found[name].append(verdicts(out))
                spent = time.process_time()
                told = f"{out.name}: {found[name][-1]}, {spent:.0f} s in all"
                print(told, file=sys.stderr, flush=True)
        if given.keep:
            (folder / "verdicts.json").write_text(json.dumps(found))
    for name, verdicts_of in found.items():
        if verdicts_of:
            print(f"{name}, over the best baseline:  {shares([v['best'] for v in verdicts_of])}")
            print(f"{name}, over the first baseline: {shares([v['fixed'] for v in verdicts_of])}")


if __name__ == "__main__":
    main()
