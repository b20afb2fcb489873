"""What each kind of teacher's network costs: parameters and MACs against known numbers."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_programs import FakeNet, fake_cellpose, fake_cellsam
from helpers_of_teachers import BrightTeacher, make_onnx
from safetensors.torch import save_file

from abbe import students, teachers
from abbe.files.onnx_contents import onnx_contents
from abbe.imaging import Scaling
from abbe.sam import Layout, build_sam
from abbe.teachers import CountedTeacher

CHANNELS = ("nucleus", "membrane")
HERE = "modules_of_teachers"
TINY = Layout("vit", image_size=64, width=32, depth=2, heads=2, global_layers=(1,))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def torch_teacher(factory: str, **options):
    return teachers.torch_module(f"{HERE}:{factory}", CHANNELS, device="cpu", **options)


def test_a_torch_module_is_counted_on_an_image_of_256_px():
    for factory in ("Mix", "probabilities", "scripted"):  # 1 x 1 convolution of two channels
        activation = "sigmoid" if factory == "Mix" else "none"
        cost = torch_teacher(factory, activation=activation, precision="bf16").cost()
        assert cost.sizes() == {"parameters": 3, "macs": 2 * 256 * 256, "macs_image_size": 256}
        assert cost.precision == "bf16"
        assert cost.device == "cpu"
        assert cost.answers_parts


def test_macs_are_not_claimed_where_a_module_takes_no_such_image():
    assert torch_teacher("of_32_px").cost().sizes() == {"parameters": 3}


def test_an_earlier_run_is_counted_as_students_are(tmp_path: Path):
    network = students.build("unet-mobilenetv3", in_channels=2, encoder_weights="random")
    facts = {"channels": list(CHANNELS), "normalisation": Scaling("percentile").words}
    students.save(tmp_path / "student.safetensors", network, facts)
    cost = teachers.run(tmp_path, device="cpu", precision="fp32").cost()
    expected = students.count(network, 2, 256)
    assert cost.sizes() == {**expected._asdict(), "macs_image_size": 256}
    assert cost.parameters == sum(p.numel() for p in network.parameters())
    assert cost.precision == "fp32"


def test_sams_encoder_is_counted_at_its_own_side(tmp_path: Path):
    network = build_sam(TINY, seed=1)
    save_file(
        {k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / "a.safetensors"
    )
    grid = teachers.sam(tmp_path / "a.safetensors", CHANNELS, device="cpu", precision="fp32").cost()
    assert grid.parameters == sum(p.numel() for p in network.parameters())
    assert grid.encoder_parameters == sum(p.numel() for p in network.image_encoder.parameters())
    assert grid.macs_image_size == 64
    assert grid.macs is None  # the decoder's depend on the prompts
    # 16 tokens of 32: patches, and in each block qkv, projection and an MLP four times as wide
    linear = 16 * 3 * 16**2 * 32 + 2 * 16 * 32 * (3 + 1 + 4 + 4) * 32
    neck = 16 * 32 * 256 + 16 * 256 * 256 * 9
    # and attention of two heads: in a window padded to 14 x 14 tokens, and over all 4 x 4
    attention = sum(2 * n**4 * 32 + 2 * n**2 * n * 32 for n in (14, 4))
    assert grid.encoder_macs == linear + neck + attention
    assert grid.answers_parts
    folder = tmp_path / "labels"
    folder.mkdir()
    np.save(folder / "a.npy", np.eye(8, dtype=np.int32))
    oracle = teachers.sam(
        tmp_path / "a.safetensors", CHANNELS, prompts="oracle_box", labels=folder, device="cpu"
    )
    assert not oracle.cost().answers_parts


def test_an_onnx_file_is_counted_by_the_numbers_that_it_stores(tmp_path: Path):
    path = make_onnx(tmp_path / "m.onnx", kernel=np.ones((1, 2, 3, 3)))
    assert teachers.onnx(path, CHANNELS).cost().sizes() == {"parameters": 18 + 4}  # and "scales"


@pytest.mark.parametrize("packed", [False, True])
def test_dimensions_of_tensors_are_read_in_either_form(packed: bool):
    def field(number: int, contents: bytes) -> bytes:
        return bytes([number << 3 | 2, len(contents)]) + contents

    shape = bytes([10, 3, 172, 2, 7]) if packed else bytes([8, 172, 2, 8, 7])  # 300 x 7
    graph = field(5, shape) + field(5, b"") + field(1, field(5, field(5, shape)))
    training = field(1, graph)
    model = field(7, graph) + bytes([0xA2, 0x01, len(training)]) + training
    # an initialiser, a scalar, and a constant of a node; what belongs to training is left out
    assert onnx_contents(model).numbers == 2100 + 1 + 2100


def test_other_programs_networks_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cellpose", type(sys)("cellpose"))
    monkeypatch.setitem(sys.modules, "cellpose.models", fake_cellpose(tmp_path))
    cost = teachers.cellpose(channels=["nucleus"], device="cpu", precision="bf16").cost()
    assert cost.sizes() == {"parameters": sum(p.numel() for p in FakeNet().parameters())}
    assert cost.precision == "bf16"
    cellsam = fake_cellsam()
    monkeypatch.setitem(sys.modules, "cellSAM", cellsam)
    monkeypatch.setitem(sys.modules, "cellSAM.utils", cellsam.utils)
    monkeypatch.setenv("DEEPCELL_ACCESS_TOKEN", "a")
    cost = teachers.cellsam(channels=["nucleus"], device="cpu").cost()
    assert cost.sizes() == {"parameters": 2 * 6 + 12}  # SAM twice, and the detector
    weights = {k: v for k, v in cellsam.get_model().state_dict().items() if "_cp" not in k}
    torch.save(weights, tmp_path / "general.pt")
    cost = teachers.cellsam(tmp_path / "general.pt", ["nucleus"], device="cpu").cost()
    assert cost.sizes() == {"parameters": 6 + 12}  # the second SAM is a copy that does nothing


def test_answers_without_a_network_have_no_cost(tmp_path: Path):
    (tmp_path / "a.npy").write_bytes(b"")
    assert not isinstance(teachers.masks(tmp_path, CHANNELS), CountedTeacher)
    assert not isinstance(BrightTeacher(), CountedTeacher)
    assert isinstance(torch_teacher("Mix"), CountedTeacher)
