import json
import signal
import threading
import urllib.request

import numpy as np
import pytest
from serving import HEIGHT, WIDTH, app_of, folder_of_images, session_of

from abbe.cli.serve import (
    RunPredictor,
    _check_writable,
    _end,
    _images,
    found_package,
    open_promptable,
)
from abbe.errors import ConfigError, InputError, PackageError
from abbe.imaging import Image, three_channels
from abbe.serve import address_of, listen, run
from abbe.serve.coco import Object

COLOURS = ("red", "green", "blue")
SCORED = {"student": {"metrics": {"dice": {"mean": 0.8, "low": 0.7, "high": 0.9, "n": 4}}}}
"""What a finished run tells of its models."""


def test_a_folder_without_package_or_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="neither a package"):
        found_package(tmp_path)


def test_a_run_of_another_recipe_is_refused(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"recipe": "cmkd", "models": SCORED}))
    with pytest.raises(InputError, match="recipe 'cmkd'"):
        open_promptable(tmp_path)


def test_a_damaged_package_is_refused(tmp_path):
    (tmp_path / "package.json").write_text("{")
    with pytest.raises(PackageError, match="damaged"):
        found_package(tmp_path)


def test_a_taken_port_is_told_and_the_address_is_this_machines():
    with listen() as first:
        assert address_of(first).startswith("http://127.0.0.1:")
        with pytest.raises(ConfigError, match="Give another --port"):
            listen(first.getsockname()[1])


@pytest.mark.slow
def test_a_finished_run_answers_a_point(tmp_path):
    from abbe.sam.predictor import PromptablePredictor
    from abbe.students import build_promptable, save_promptable

    student = build_promptable("promptable-resnet18", side=256, encoder_weights="random")
    learned = {"channels": ["nucleus", "membrane"], "inputs": "membrane_nucleus_mean"}
    save_promptable(tmp_path / "student.safetensors", student, learned)
    summary = {"recipe": "kdsam", "task": "promptable segmentation", "models": SCORED}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    _, new_predictor = open_promptable(tmp_path)
    predictor = new_predictor()
    pixels = np.random.default_rng(0).integers(0, 255, (3, 40, 60)).astype(np.uint8)
    image = Image.from_array(pixels, ("membrane", "other", "nucleus"))
    assert predictor.channels_of(image) == ("nucleus", "membrane")
    predictor.set_channels(image)
    masks, scores, _ = predictor.predict(np.array([[5.0, 5.0]]), np.array([1]))
    assert masks.shape == (3, 40, 60)
    assert scores.shape == (3,)
    alike = PromptablePredictor(student.eval())
    alike.set_image(three_channels(pixels[[2, 0]], "membrane_nucleus_mean"))
    expected = alike.predict(np.array([[5.0, 5.0]]), np.array([1]))
    np.testing.assert_allclose(scores, expected[1], atol=1e-5)


@pytest.mark.slow
def test_a_runs_student_sees_grey_as_colour_without_stretching():
    from abbe.students import build_promptable

    student = build_promptable("promptable-resnet18", side=256, encoder_weights="random").eval()
    pixels = np.random.default_rng(0).integers(0, 60, (40, 60)).astype(np.uint8)
    embeddings = []
    for image, names in ((pixels[None], ("grey",)), (np.stack([pixels] * 3), COLOURS)):
        predictor = RunPredictor(student, COLOURS, "colour")
        predictor.set_channels(Image.from_array(image, names))
        embeddings.append(predictor.predict(np.array([[5.0, 5.0]]), np.array([1]))[2])
    np.testing.assert_allclose(embeddings[0], embeddings[1], atol=1e-5)


def test_masks_that_were_saved_are_no_images(tmp_path):
    folder = folder_of_images(tmp_path / "images")
    first = _images([str(folder)], folder / "masks")
    for out in (folder / "masks", folder):
        for number in (0, 1):
            session_of(folder, out).save(number, [Object((0, WIDTH * HEIGHT), 0.5)])
        assert _images([str(folder)], folder / "masks") == first
    assert list(_images([str(folder / "*.png")], folder)) == [folder / "first.png"]
    with pytest.raises(InputError, match="only masks"):
        _images([str(folder / "first.labels.png")], folder)


def test_a_folder_that_cannot_be_written_to_is_told_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write to .*file.*Give another --out"):
        _check_writable(tmp_path / "file" / "masks")
    _check_writable(tmp_path / "new" / "masks")
    assert list((tmp_path / "new" / "masks").iterdir()) == []


def test_the_end_saves_what_is_not_and_says_so(tmp_path, capsys):
    session = session_of(folder_of_images(tmp_path / "images"), tmp_path / "out")
    assert _end(session) == 0
    assert "all is saved" in capsys.readouterr().out
    session.keep(0, [Object((0, WIDTH * HEIGHT), 0.5)])
    (tmp_path / "out").write_text("a file where the folder should be")
    assert _end(session) == 1
    assert "Not saved: 1 object of first.png" in capsys.readouterr().out
    (tmp_path / "out").unlink()
    assert _end(session) == 0
    assert "Saved at the end: 1 object of first.png" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_ctrl_c_and_its_like_end_the_server_quietly(tmp_path, name):
    app = app_of(session_of(folder_of_images(tmp_path / "images"), tmp_path / "out"))
    number = getattr(signal, name)
    # nohup and a shell's background jobs begin with these ignored, and so they would stay.
    before = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    own = signal.signal(number, before)
    with listen() as listening:

        def end_what_answers() -> None:
            with urllib.request.urlopen(address_of(listening), timeout=60):
                signal.raise_signal(number)

        thread = threading.Thread(target=end_what_answers)
        thread.start()
        try:
            run(app, listening)
        except KeyboardInterrupt:  # pytest would take it for its own
            pytest.fail("the interrupt was passed on")
    thread.join()
    assert signal.signal(number, own) == before


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    app = app_of(session_of(folder_of_images(tmp_path / "images"), tmp_path / "out"))
    own = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    seen = []
    with listen() as listening:

        def hang_up_then_interrupt() -> None:
            with urllib.request.urlopen(address_of(listening), timeout=60):
                seen.append(signal.getsignal(signal.SIGHUP))
                signal.raise_signal(signal.SIGHUP)
            with urllib.request.urlopen(address_of(listening), timeout=60) as answer:
                seen.append(answer.status)
            signal.raise_signal(signal.SIGINT)

        thread = threading.Thread(target=hang_up_then_interrupt)
        thread.start()
        run(app, listening)
    thread.join()
    signal.signal(signal.SIGHUP, own)
    assert seen == [signal.SIG_IGN, 200]
