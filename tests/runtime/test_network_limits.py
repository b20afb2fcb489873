"""Networks from strangers that ask for everything: refused before they are compiled or run."""

import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from made_packages import brightness_network, make_package
from onnx import TensorProto, helper, numpy_helper
from prompt_package import make_prompt_package

from abbe.errors import PackageError
from abbe.files.onnx_contents import onnx_contents
from abbe.runtime.package import describe_file, network_limits, read_package, write_description
from abbe.runtime.package.engine import EngineName, open_engine
from abbe.runtime.package.openvino_core import load_openvino
from abbe.runtime.package.promptable_networks import open_networks

ENGINES: tuple[EngineName, ...] = ("openvino", "onnxruntime")
HUGE = 3 << 30
"""Elements; 12 GiB in float32."""


def network(nodes: Sequence[onnx.NodeProto], **constants: object) -> onnx.ModelProto:
    """From image (B, 1, H, W) to logits (B, 1, H, W)."""
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 1, "H", "W"])
        for name in ("image", "logits")
    ]
    values = [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()]
    graph = helper.make_graph(list(nodes), "hostile", ports[:1], ports[1:], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def looping() -> onnx.ModelProto:
    """2⁶² additions."""
    state = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("v", "w")]
    flag = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "on")]
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    body = helper.make_graph(
        [node("Identity", "go", "on"), node("Add", "v v", "w")],
        "body", [count, flag[0], state[0]], [flag[1], state[1]],
    )  # fmt: skip
    loop = node("Loop", "times yes image", "logits", body=body)
    return network([loop], times=np.int64(1 << 62), yes=np.array(True))


TOO_MUCH = {
    "constant": lambda: network(
        [
            node("ConstantOfShape", "size", "large"),
            node("ReduceSum", "large", "sum", keepdims=0),
            node("Add", "image sum", "logits"),
        ],
        size=np.array([HUGE]),
    ),
    "several constants": lambda: network(
        [
            *(node("ConstantOfShape", f"size{n}", f"large{n}") for n in range(5)),
            *(node("ReduceSum", f"large{n}", f"sum{n}", keepdims=0) for n in range(5)),
            node("Sum", "image sum0 sum1 sum2 sum3 sum4", "logits"),
        ],
        **{f"size{n}": np.array([HUGE // 4 + n]) for n in range(5)},
    ),
    "expanded": lambda: network(
        [
            node("Expand", "image size", "large"),
            node("ReduceSum", "large axis", "logits", keepdims=1),
        ],
        size=np.array([1, HUGE // 128 // 128, 1, 1]), axis=np.array([1]),
    ),
    "tiled": lambda: network(
        [
            node("Tile", "image times", "large"),
            node("ReduceSum", "large axis", "logits", keepdims=1),
        ],
        times=np.array([1, HUGE // 128 // 128, 1, 1]), axis=np.array([1]),
    ),
    "resized": lambda: network(
        [
            node("Resize", "image none scales", "large", mode="nearest"),
            node("MaxPool", "large", "logits", kernel_shape=[1, 1], strides=[512, 512]),
        ],
        none=np.zeros(0, np.float32), scales=np.array([1, 1, 512, 512], np.float32),
    ),
    "counted": lambda: network(
        [
            node("Range", "zero end one", "large"),
            node("ReduceSum", "large", "sum", keepdims=0),
            node("Add", "image sum", "logits"),
        ],
        zero=np.float32(0), end=np.float32(HUGE), one=np.float32(1),
    ),
}  # fmt: skip


def refused(package: Path, engine: EngineName, cache: Path) -> str:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PackageError) as caught:
        open_engine(read_package(package), engine=engine, cache=cache)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300 << 10, "KiB: the memory was taken before it was refused"
    return str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("make", TOO_MUCH.values(), ids=list(TOO_MUCH))
def test_networks_that_ask_for_too_much_memory(tmp_path: Path, make, engine):
    package = make_package(tmp_path / "p", outputs=("foreground",), network=make())
    said = refused(package, engine, tmp_path)
    assert "model.onnx: for tiles of 128 px the network would take" in said
    assert "GiB of memory" in said


@pytest.mark.parametrize("engine", ENGINES)
def test_networks_that_loop(tmp_path: Path, engine):
    package = make_package(tmp_path / "p", outputs=("foreground",), network=looping())
    assert "(Loop), which a package does not allow" in refused(package, engine, tmp_path)


@pytest.mark.parametrize("engine", ENGINES)
def test_sizes_that_depend_on_pixels(tmp_path: Path, engine):
    hidden = network(
        [
            node("ReduceMax", "image", "bright", keepdims=0),
            node("Mul", "bright huge", "many"),
            node("Cast", "many", "count", to=TensorProto.INT64),
            node("Reshape", "count one", "size"),
            node("ConstantOfShape", "size", "large"),
            node("ReduceSum", "large", "sum", keepdims=0),
            node("Add", "image sum", "logits"),
        ],
        huge=np.float32(HUGE), one=np.array([1]),
    )  # fmt: skip
    package = make_package(tmp_path / "p", outputs=("foreground",), network=hidden)
    assert "depend on the values of pixels" in refused(package, engine, tmp_path)


@pytest.mark.parametrize("engine", ENGINES)
def test_functions_that_call_functions(tmp_path: Path, engine):
    """Forty of them, each calling the one before twice, are 2⁴⁰ additions."""
    model = network([helper.make_node("f40", ["image"], ["logits"], domain="own")])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for depth in range(41):
        name = {"domain": "own"} if depth else {}
        kind = f"f{depth - 1}" if depth else "Abs"
        nodes = [helper.make_node(kind, ["a"], ["b"], **name)]
        nodes.append(helper.make_node(kind, ["b"], ["c"], **name))
        model.functions.append(
            helper.make_function("own", f"f{depth}", ["a"], ["c"], nodes, opsets)
        )
    model.opset_import.append(helper.make_opsetid("own", 1))
    package = make_package(tmp_path / "p", outputs=("foreground",), network=model)
    assert "defines functions of its own" in refused(package, engine, tmp_path)


def burden(model: onnx.ModelProto, kind: str) -> onnx.ModelProto:
    """A good network whose first answer takes 12 GiB, or 2⁶² additions, more."""
    name = model.graph.output[0].name
    for each in model.graph.node:
        each.output[:] = ["before" if output == name else output for output in each.output]
        each.input[:] = ["before" if given == name else given for given in each.input]
    if kind == "memory":
        values = {"huge": np.array([HUGE])}
        model.graph.node.extend(
            [
                node("ConstantOfShape", "huge", "large"),
                node("ReduceSum", "large", "more", keepdims=0),
                node("Add", "before more", name),
            ]
        )
    else:
        values = {"times": np.int64(1 << 62), "yes": np.array(True)}
        loop = looping().graph.node[0]
        loop.input[:], loop.output[:] = ["times", "yes", "before"], [name]
        model.graph.node.append(loop)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), key) for key, value in values.items()
    )
    return model


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize(
    ("kind", "complaint"),
    [("memory", "GiB of memory"), ("loop", "(Loop), which a package does not allow")],
)
def test_both_networks_of_promptable_packages_are_bounded(
    tmp_path: Path, engine, part, kind, complaint
):
    folder = make_prompt_package(make_package, tmp_path / "p")
    onnx.save(burden(onnx.load(folder / f"{part}.onnx"), kind), folder / f"{part}.onnx")
    description = read_package(folder).description
    file = describe_file(folder, f"{part}.onnx")
    files = {role: file if role == f"{part}_onnx" else old
             for role, old in description.files.items()}  # fmt: skip
    write_description(folder, description.model_copy(update={"files": files}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PackageError) as caught:
        open_networks(read_package(folder), engine=engine, cache=tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10  # KiB
    assert f"{part}.onnx" in str(caught.value)
    assert complaint in str(caught.value)


def test_openvinos_own_files_are_measured_too(tmp_path: Path):
    folder = tmp_path / "p"
    make_package(folder, outputs=("foreground",))
    large = tmp_path / "large.onnx"
    onnx.save(TOO_MUCH["tiled"](), large)
    openvino = load_openvino()
    openvino.save_model(openvino.Core().read_model(large), folder / "model.xml")
    files = {
        role: describe_file(folder, name)
        for role, name in (
            ("onnx", "model.onnx"), ("openvino_xml", "model.xml"), ("openvino_bin", "model.bin"),
        )
    }  # fmt: skip
    description = read_package(folder).description.model_copy(update={"files": files})
    write_description(folder, description)
    assert "model.xml: for tiles of 128 px" in refused(folder, "openvino", tmp_path)


def test_what_is_refused_once_is_refused_again(tmp_path: Path):
    """A network that passed is not measured a second time; one that did not, is."""
    package = make_package(tmp_path / "p", outputs=("foreground",), network=TOO_MUCH["tiled"]())
    for _ in range(2):
        assert "GiB of memory" in refused(package, "openvino", tmp_path)
    good = read_package(make_package(tmp_path / "good", outputs=("foreground",)))
    open_engine(good, engine="openvino", cache=tmp_path)
    assert len(list(tmp_path.glob("*/checked-128"))) == 1


def test_the_figure_is_what_is_held_at_once(tmp_path: Path):
    """Image and two maps of 100 × 80 px; the first map goes before the second's sigmoid comes."""
    model = network([node("Relu", "image", "a"), node("Neg", "a", "b"), node("Abs", "b", "logits")])
    onnx.save(model, tmp_path / "model.onnx")
    read = load_openvino().Core().read_model(tmp_path / "model.onnx")
    read.reshape([1, 1, 100, 80])
    plane = 100 * 80 * 4
    assert network_limits.most_held(read.get_ordered_ops(), tmp_path) == 2 * plane


# ------------------------------------------------------------------ weights that lie elsewhere


def long(number: int, length: int) -> bytes:
    """A varint in more bytes than it needs."""
    parts = [(number >> (7 * place)) & 0x7F for place in range(length)]
    return bytes([*(part | 0x80 for part in parts[:-1]), parts[-1]])


def field(number: int, content: bytes, length: int = 1) -> bytes:
    return long(number << 3 | 2, 2 if number > 15 else length) + long(len(content), 5) + content


def hidden_tensor() -> bytes:
    """An external tensor; the key's length has five bytes, and the place is a number of ten."""
    entry = field(1, b"location") + field(2, b"secret", 2)
    return field(8, b"w") + field(13, entry, 3) + long(14 << 3, 4) + long((1 << 32) + 1, 10)


def in_graph(content: bytes) -> bytes:
    return field(7, content)


def in_attribute(content: bytes) -> bytes:
    return in_graph(field(1, field(4, b"Constant") + field(5, content)))


PLACES = {
    "initializer": in_graph(field(5, hidden_tensor())),
    "sparse initializer, its values": in_graph(field(15, field(1, hidden_tensor()))),
    "sparse initializer, its places": in_graph(field(15, field(2, hidden_tensor()))),
    "attribute": in_attribute(field(5, hidden_tensor())),
    "list in an attribute": in_attribute(field(10, hidden_tensor())),
    "sparse attribute": in_attribute(field(22, field(1, hidden_tensor()))),
    "graph in an attribute": in_attribute(field(6, field(5, hidden_tensor()))),
    "graphs in an attribute": in_attribute(field(11, field(5, hidden_tensor()))),
    "function": field(25, field(7, field(5, field(5, hidden_tensor())))),
    "default of a function": field(25, field(11, field(5, hidden_tensor()))),
    "training": field(20, field(2, field(5, hidden_tensor()))),
    "a second graph, which readers merge": in_graph(b"") + in_graph(field(5, hidden_tensor())),
}


@pytest.mark.parametrize("content", PLACES.values(), ids=list(PLACES))
def test_weights_elsewhere_are_found_however_they_are_written(tmp_path: Path, content: bytes):
    file = brightness_network(1, 1).SerializeToString() + content
    onnx.load_from_string(file)  # a reader that follows the rules takes it
    assert onnx_contents(file).outside == {"secret"}
    package = make_package(tmp_path / "p", outputs=("foreground",))
    (package / "model.onnx").write_bytes(file)
    description = read_package(package).description
    files = {"onnx": describe_file(package, "model.onnx")}
    write_description(package, description.model_copy(update={"files": files}))
    assert "stored in another file" in refused(package, "openvino", tmp_path)


def test_a_place_without_a_name_and_an_entry_without_a_place_count_as_elsewhere():
    nameless = field(5, long(14 << 3, 1) + b"\x01")
    assert onnx_contents(in_graph(nameless)).outside == {""}
    assert onnx_contents(in_graph(field(5, field(13, field(1, b"offset"))))).outside == {""}
    inside = field(5, long(14 << 3, 1) + b"\x00" + field(9, b"location"))
    assert onnx_contents(in_graph(inside)).outside == set()


@pytest.mark.parametrize(
    "content", [b"\x0b", b"\x3a\x05ab", b"\x3a" + b"\xff" * 12, b"\x02\x00", b"\x08", b"\x3d\x00"]
)
def test_what_is_no_protobuf(content: bytes):
    with pytest.raises(ValueError):  # noqa: PT011 - the words differ
        onnx_contents(content)


def test_operations_are_told_as_the_library_tells_them():
    model = brightness_network()
    found = onnx_contents(model.SerializeToString())
    assert found.operations == {each.op_type for each in model.graph.node}
    assert (found.functions, found.outside) == (0, set())


def test_whoever_holds_frames_meanwhile_breaks_nothing(tmp_path: Path):
    onnx.save(network([node("Relu", "image", "logits")]), tmp_path / "net.onnx")
    held = []
    sys.setprofile(lambda frame, *_: held.append(frame))  # as the profiler of dask's workers does
    try:
        found = onnx_contents(tmp_path / "net.onnx")
    finally:
        sys.setprofile(None)
    assert held
    assert found.operations == {"Relu"}
