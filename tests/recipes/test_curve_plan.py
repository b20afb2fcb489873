"""What a curve goes through that is begun, or gone on with."""

from pathlib import Path
from typing import Any

from abbe import config
from abbe.curves.plan import Plan, make_plan, values_of
from abbe.files import write_json
from abbe.summary import CURVE_PLAN


def _planned(out: Path, **given: Any) -> Plan:
    student = {"encoder_weights": "random"}
    teacher = {"kind": "masks", "path": "masks"}
    values = {"out": str(out), "student": student, "teacher": teacher}
    experiment = config.parse({"recipe": "rckd", **values, **_VARIED}, "a test")
    nothing = {"fractions": None, "seeds": None, "initialisations": None}
    options: dict[str, Any] = {**nothing, "pretrain_per_seed": False, "resume": True, **given}
    return make_plan(experiment, **options)


_VARIED = {"pretraining": {"method": "none"}, "data": {"path": "tiles"}}


def test_what_is_given_is_added_to_a_curve_that_goes_on(tmp_path: Path) -> None:
    before = Plan((0.5, 1.0), (0, 1), ("random", "rckd"), False)
    write_json(tmp_path / CURVE_PLAN, values_of(before))
    assert _planned(tmp_path) == before
    given = {"seeds": (3, 1), "fractions": (0.25,), "initialisations": ("contrastive",)}
    assert _planned(tmp_path, **given) == Plan(
        (0.5, 1.0, 0.25), (0, 1, 3), ("random", "rckd", "contrastive"), False
    )


def test_a_curve_of_all_initialisations_keeps_all(tmp_path: Path) -> None:
    write_json(tmp_path / CURVE_PLAN, values_of(Plan((1.0,), (0,), None, True)))
    assert _planned(tmp_path, initialisations=("random",)) == Plan((1.0,), (0,), None, True)


def test_a_new_curve_has_what_is_given_alone(tmp_path: Path) -> None:
    given = {"seeds": (3,), "fractions": (0.25,), "initialisations": ("random",)}
    assert _planned(tmp_path, **given) == Plan((0.25,), (3,), ("random",), False)
