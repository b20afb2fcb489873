import json

import numpy as np
import pytest

from abbe.cli.serve import open_promptable
from abbe.errors import ConfigError, InputError, PackageError
from abbe.serve import address_of, listen


def test_a_folder_without_package_or_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="neither a package"):
        open_promptable(tmp_path)


def test_a_run_of_another_recipe_is_refused(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"recipe": "cmkd"}))
    with pytest.raises(InputError, match="recipe 'cmkd'"):
        open_promptable(tmp_path)


def test_a_damaged_package_is_refused(tmp_path):
    (tmp_path / "package.json").write_text("{")
    with pytest.raises(PackageError, match="damaged"):
        open_promptable(tmp_path)


def test_a_taken_port_is_told_and_the_address_is_this_machines():
    with listen() as first:
        assert address_of(first).startswith("http://127.0.0.1:")
        with pytest.raises(ConfigError, match="Give another --port"):
            listen(first.getsockname()[1])


@pytest.mark.slow
def test_a_finished_run_answers_a_point(tmp_path):
    from abbe.students import build_promptable, save_promptable

    student = build_promptable("promptable-resnet18", side=256, encoder_weights="random")
    save_promptable(tmp_path / "student.safetensors", student, {})
    (tmp_path / "summary.json").write_text(json.dumps({"recipe": "kdsam"}))
    _, new_predictor = open_promptable(tmp_path)
    predictor = new_predictor()
    predictor.set_image(np.zeros((40, 60, 3), np.uint8))
    masks, scores, _ = predictor.predict(np.array([[5.0, 5.0]]), np.array([1]))
    assert masks.shape == (3, 40, 60)
    assert scores.shape == (3,)
