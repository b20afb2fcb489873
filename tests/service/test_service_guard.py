import os
import socket

import pytest
from starlette.testclient import TestClient

from abbe.errors import ConfigError
from abbe.service.app import application
from abbe.service.guard import check_token, is_loopback
from abbe.service.limits import Limits
from abbe.service.packages import open_packages
from abbe.service.server import address_of, listen
from abbe.service.working_folder import working_folder

TOKEN = "0123456789abcdef"
ORIGIN = "https://viewer.example"
SHOWN = {"Authorization": f"Bearer {TOKEN}"}


def asked(predictors, folder, path="/v1/packages", headers=None, method="GET", **options):
    app = application(predictors, folder, Limits(), **options)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        return client.request(method, path, headers=headers or {})


@pytest.mark.parametrize("path", ["/v1/packages", "/v1/packages/cells", "/metrics", "/"])
def test_what_tells_something_needs_the_token(predictors, working, path, caplog):
    caplog.set_level("INFO", "abbe.service")
    for headers, status in [
        ({}, 401), ({"Authorization": f"Bearer {TOKEN}x"}, 401), ({"Authorization": TOKEN}, 401),
        (SHOWN | {"Host": "scanner.hospital.example"}, 200), (SHOWN | {"Origin": "null"}, 200),
    ]:  # fmt: skip
        response = asked(predictors, working, path, headers, token=TOKEN)
        assert response.status_code == status
        assert ("www-authenticate" in response.headers) == (status == 401)
    assert caplog.messages.count("GET (refused) 401 0.000 s") == 3
    assert TOKEN not in caplog.text


def test_predicting_needs_the_token(predictors, working):
    path = "/v1/packages/cells/predict"
    assert asked(predictors, working, path, method="POST", token=TOKEN).status_code == 401
    response = asked(predictors, working, path, SHOWN, "POST", token=TOKEN)
    assert (response.status_code, response.json()["error"]) == (400, "the image is empty (0 bytes)")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/docs", "/openapi.json"])
def test_health_and_the_page_need_none(predictors, working, path):
    assert asked(predictors, working, path, token=TOKEN).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "rebound.example"}, 403),
        ({"Host": "127.0.0.1.rebound.example:8000"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": ORIGIN}, 200),
    ],
)
def test_without_a_token_other_sites_are_kept_away(predictors, working, headers, status):
    response = asked(predictors, working, headers=headers, origins=(ORIGIN,))
    assert response.status_code == status
    assert response.headers["x-content-type-options"] == "nosniff"


def test_pages_of_sites_that_are_named_may_ask(predictors, working):
    asking = {
        "Origin": ORIGIN, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }  # fmt: skip
    path, options = "/v1/packages/cells/predict", {"token": TOKEN, "origins": (ORIGIN,)}
    allowed = asked(predictors, working, path, asking, "OPTIONS", **options)
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    asking["Origin"] = "https://elsewhere.example"
    refused = asked(predictors, working, path, asking, "OPTIONS", **options)
    assert "access-control-allow-origin" not in refused.headers


def test_others_than_this_machine_need_a_token_that_is_long():
    check_token("127.0.0.1", None)
    check_token("::1", None)
    check_token("0.0.0.0", TOKEN)
    for host, token, words in [
        ("0.0.0.0", None, "a token is needed"), ("::", None, "a token is needed"),
        ("clinic.example", None, "a token is needed"), ("127.0.0.1", "short", "16 or more"),
        ("0.0.0.0", f"{TOKEN} x", "without blanks"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            check_token(host, token)
    assert is_loopback("127.8.9.1")
    assert not is_loopback("10.0.0.1")


@pytest.mark.parametrize("changes", [{"mebibytes": 0}, {"megapixels": -1}, {"seconds": 0},
                                     {"parallel": 0}, {"queue": -1}])  # fmt: skip
def test_limits_that_let_nothing_through_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        Limits(**changes)


def test_ports_and_hosts_that_are_not_to_be_had_are_told():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address_of(first) == f"http://127.0.0.1:{port}"
        with pytest.raises(ConfigError, match=f"--port {port}"):
            listen("127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"--host 203\.0\.113\.7"):
        listen("203.0.113.7", 0)  # of no machine: it stands in documentation
    with pytest.raises(ConfigError, match="65535"):
        listen("127.0.0.1", 70_000)


def test_two_packages_of_one_name_are_told(packages):
    with pytest.raises(ConfigError, match="there is a package 'brightness' already"):
        open_packages([str(packages["cells"]), str(packages["regions"])])


def test_a_package_may_have_a_name_of_its_own_and_a_place_an_equals_sign(packages, tmp_path):
    (tmp_path / "a=b").symlink_to(packages["cells"])
    own = open_packages([f"{tmp_path}/a=b", f"mine={tmp_path}/a=b"], workers=1)
    assert list(own) == ["brightness", "mine"]


def test_what_a_killed_service_left_is_removed_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / "abbe-service-left"
    left.mkdir()
    (left / "image.png").write_bytes(b"of a patient")
    dead = {"pid": 2**22 + 1, "host": socket.gethostname()}
    (tmp_path / ".abbe-service-left.lock").write_text(str(dead))
    with working_folder() as first, working_folder() as second:
        assert not left.exists()
        assert first.is_dir()
        assert second.is_dir()
        assert os.stat(first).st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []
