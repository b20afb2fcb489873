"""From a trained promptable student to a package: two networks, proof, card, all or nothing."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from abbe import sam
from abbe.errors import PackageError
from abbe.exporting import openvino_files
from abbe.exporting.card import model_card
from abbe.exporting.folder import new_folder
from abbe.exporting.making import Making
from abbe.exporting.onnx_files import write_onnx
from abbe.exporting.promptable_graphs import promptable_graphs
from abbe.exporting.promptable_int8 import add_int8_encoder
from abbe.exporting.promptable_parity import ProofPicture, compare, references
from abbe.exporting.prove import Int8
from abbe.imaging import write_png
from abbe.runtime.package import Package, Role, read_package
from abbe.runtime.package.engine import EngineName
from abbe.runtime.predictors.promptable import PromptablePredictor

IMAGE, EXPECTED = "test_image.png", "expected.npz"
ENGINES: tuple[EngineName, ...] = ("onnxruntime", "openvino")
_ROLES: Mapping[str, tuple[Role, Role, Role]] = {
    "encoder": ("encoder_onnx", "encoder_xml", "encoder_bin"),
    "decoder": ("decoder_onnx", "decoder_xml", "decoder_bin"),
}


def write_promptable_package(
    out: Path,
    student: sam.SAM,
    weights: Path,
    facts: Mapping[str, Any],
    pictures: Sequence[ProofPicture],
    pictures_of: str,
    say: Callable[[str], None] = print,
    *,
    int8: Int8 = "none",
    calibration: Sequence[np.ndarray] = (),
    most_lost: float = 0.002,
) -> Package:
    """Export a promptable student, prove it, and put the package at ``out``.

    Args:
        out: The folder to make.
        student: The network, in evaluation mode on the CPU.
        weights: Its safetensors file.
        facts: Keys of `PackageDescription`, without files and parity.
        pictures: What engines are compared on; the first becomes the test image.
        pictures_of: Their split.
        say: Told of each step, in a line.
        int8: "auto" keeps an int8 encoder that stays within the budget, "required" fails without
            one, "none" tries none.
        calibration: Training pictures (H, W, 3) uint8, from which int8 ranges are measured.
        most_lost: Dice that int8 may lose.

    Raises:
        ConfigError: ``out`` is taken.
        InputError: torch cannot export the network.
        PackageError: An engine answers otherwise than eager torch; nothing is left at ``out``.
    """
    with new_folder(out) as folder, tempfile.TemporaryDirectory() as cache:
        making = Making(folder, Path(cache), facts)
        shutil.copyfile(weights, folder / "model.safetensors")
        making.add("weights", "model.safetensors")
        say("writing ONNX and OpenVINO networks of encoder and decoder")
        _write_networks(making, student)
        eager = sam.PromptablePredictor(student)
        known = references(eager, pictures)
        for engine in ENGINES:
            package = PromptablePredictor(making.package(), engine=engine, cache=making.cache)
            figures, problem = compare(package, known, pictures_of)
            say(
                f"{engine}: embeddings off by {figures['embedding_error']:.2g}, masks agree to "
                f"{figures['mask_iou']:.5f} IoU over {figures['prompts']} prompts"
            )
            if problem:
                raise PackageError(f"{out}: is not made: with {engine}, {problem}")
            making.parity[f"{engine}/fp32"] = {**figures, "kept": True}
        engine = dict(making.facts.get("engine", {}))
        if int8 != "none" and add_int8_encoder(
            making, known, pictures_of, calibration, most_lost, say, required=int8 == "required"
        ):
            engine["precision"] = "int8"
            say("runs its encoder in int8")
        _write_example(making, pictures[0], known[0].masks)
        card = model_card(making.package(engine=engine).description)
        (folder / "README.md").write_text(card, encoding="utf-8")
        making.add("card", "README.md")
        making.package(engine=engine)
    return read_package(out)


def _write_networks(making: Making, student: sam.SAM) -> None:
    for graph in promptable_graphs(student):
        onnx_role, xml_role, bin_role = _ROLES[graph.name]
        onnx = making.folder / f"{graph.name}.onnx"
        write_onnx(graph, onnx)
        making.add(onnx_role, onnx.name)
        xml = onnx.with_suffix(".xml")
        openvino_files.save(openvino_files.convert(onnx), xml)
        making.add(xml_role, xml.name)
        making.add(bin_role, xml.with_suffix(".bin").name)


def _write_example(making: Making, picture: ProofPicture, masks: Sequence[np.ndarray]) -> None:
    """The test image, and beside it boxes, points and the masks of the student in eager torch.

    ``expected.npz`` holds ``boxes`` (B, 4), ``points`` (P, 2), each a prompt of its own, and
    ``masks`` (B + P, H, W) bool, those of boxes first.
    """
    write_png(making.folder / IMAGE, picture.picture)
    asked = list(zip(picture.prompts, masks, strict=True))
    boxes = [(prompt["box"], mask) for prompt, mask in asked if "box" in prompt]
    points = [(prompt["point_coords"][0], mask) for prompt, mask in asked if "box" not in prompt]
    np.savez_compressed(
        making.folder / EXPECTED,
        boxes=np.reshape([box for box, _ in boxes], (-1, 4)),
        points=np.reshape([point for point, _ in points], (-1, 2)),
        masks=np.stack([mask for _, mask in (*boxes, *points)]),
        allow_pickle=False,
    )
    making.add("test_image", IMAGE)
    making.add("expected", EXPECTED)
