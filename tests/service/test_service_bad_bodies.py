import io
import json
import socket
import struct
import threading
import time
import zlib
from contextlib import contextmanager
from dataclasses import replace

import httpx
import numpy as np
import pytest
import tifffile
from conftest import LIMITS

from abbe.service.turns import StoppedError

PREDICT = "/v1/packages/cells/predict"


@pytest.fixture
def next_works(picture):
    """Sees that the service answers as if nothing had been."""

    def works(client):
        response = client.post(PREDICT, content=picture.read_bytes())
        assert response.status_code == 200
        assert response.json()["count"] > 10

    return works


def png_that_says(height, width):
    """A PNG whose header states a size that its few bytes cannot have."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def tiff_bomb():
    """24 megapixels of zeros, which deflate to some KB."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((4000, 6000), np.uint8), compression="zlib", tile=(512, 512))
    return file.getvalue()


def npz_bomb():
    file = io.BytesIO()
    np.savez_compressed(file, image=np.zeros((8000, 8000), np.uint8))
    return file.getvalue()


BAD = {
    "empty": (b"", 400, "empty"),
    "unknown": (b"a letter to whom it may concern", 415, "not supported"),
    "zip": (b"PK\x03\x04" + bytes(100), 422, "the image"),
    "lies": (png_that_says(900, 900), 422, "the image"),
    "lies much": (png_that_says(60_000, 60_000), 422, "more than 200 times as much"),
    "lies beyond all": (png_that_says(2**31 - 1, 2**31 - 1), 422, "no image has"),
    "tiff bomb": (tiff_bomb(), 413, "4,000 × 6,000 px; at most 4 megapixels"),
    "npz bomb": (npz_bomb(), 413, "8,000 × 8,000 px"),
    "too large": (bytes(5 << 20), 413, "at most 4 MiB"),
}


@pytest.mark.parametrize(("body", "status", "words"), BAD.values(), ids=BAD)
def test_bad_images_are_told_and_the_next_works(client, next_works, body, status, words):
    response = client.post(PREDICT, content=body)
    assert response.status_code == status
    assert words in response.json()["error"]
    assert "/tmp" not in response.text
    next_works(client)


@pytest.mark.parametrize("case", ["unknown", "too large"])
def test_bad_images_of_a_form_are_told(client, case):
    body, status, words = BAD[case]
    response = client.post(PREDICT, files={"image": ("x.png", body)})
    assert response.status_code == status
    assert words in response.json()["error"]


def test_a_cut_image_is_told(client, picture, next_works):
    response = client.post(PREDICT, content=picture.read_bytes()[:-2000])
    assert response.status_code == 422
    assert response.json()["error"].startswith("the image")
    next_works(client)


FORM = {"Content-Type": "multipart/form-data; boundary=x"}
FORMS = {
    "no boundary": ({"Content-Type": "multipart/form-data"}, b"--x--", "form"),
    "no form": (FORM, b"nothing of a form", "form"),
    "no image": (FORM, b'--x\r\nContent-Disposition: form-data; name="b"\r\n\r\n1\r\n--x--\r\n',
                 "parts 'image' and 'prompts'"),
    "text": (FORM, b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n1\r\n--x--\r\n',
             "that is a file"),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "body", "words"), FORMS.values(), ids=FORMS)
def test_bad_forms_are_told(client, headers, body, words):
    response = client.post(PREDICT, headers=headers, content=body)
    assert response.status_code == 400
    assert words in response.json()["error"]


QUERIES = {
    "anser=png": (400, "anser: Extra inputs are not permitted"),
    "answer=gif": (400, "answer: Input should be 'json'"),
    "pixel_size=-1": (400, "pixel_size: Input should be greater than 0"),
    "pixel_size=1&override_pixel_size=2": (400, "pixel_size fills in where files do not say"),
    "diameter=9": (400, "diameter: the package does not say"),
    "class_name=A": (400, "outlines are not asked for. Add geojson to answer"),
    "channels=a&channels=b": (422, "the image"),
}


@pytest.mark.parametrize(("query", "told"), QUERIES.items(), ids=QUERIES)
def test_what_does_not_fit_is_told(client, picture, query, told):
    response = client.post(f"{PREDICT}?{query}", content=picture.read_bytes())
    assert response.status_code == told[0]
    assert told[1] in response.json()["error"]


@pytest.mark.parametrize(
    ("package", "prompts", "words"),
    [
        ("prompted", None, "prompts: a promptable package must be shown each object"),
        ("cells", "[]", "prompts: this package finds objects by itself"),
        ("prompted", "[{}]", "prompts.0: give a box or points"),
        ("prompted", "[{", "prompts: Invalid JSON"),
        ("prompted", '[{"box": [1, 2, NaN, 4]}]', "prompts"),
        ("prompted", '[{"points": [[1, 2]], "labels": [0]}]', "every point lies outside"),
        ("prompted", '[{"box": [9, 9, 9, 9]}]', "prompt 1"),
    ],
)
def test_prompts_that_do_not_fit_are_told(client, picture, package, prompts, words):
    sent = {"image": ("x.png", picture.read_bytes())}
    sent |= {"prompts": (None, prompts)} if prompts else {}
    response = client.post(f"/v1/packages/{package}/predict", files=sent)
    assert response.status_code in (400, 422)
    assert words in response.json()["error"]


def test_an_answer_that_the_package_does_not_give_is_told(client, picture):
    response = client.post("/v1/packages/tiles/predict?answer=png", content=picture.read_bytes())
    assert response.status_code == 400
    assert "gives json, geojson, table, overview, dicom-ann, not png" in response.json()["error"]


def raw(client, request, *, then_close=False):
    """What comes back for the bytes of a request."""
    url = client.base_url
    with socket.create_connection((url.host, url.port), timeout=10) as connection:
        connection.sendall(request)
        if then_close:
            return b""
        answer = b""
        while part := connection.recv(65536):
            answer += part
            if b"}" in answer:
                break
        return answer


def head(length, *more):
    lines = [f"POST {PREDICT} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {length}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


@contextmanager
def little_time(limits, seconds):
    """A service's limit for a while: on a busy machine what is to go well takes longer."""
    object.__setattr__(limits, "seconds", seconds)
    yield
    object.__setattr__(limits, "seconds", LIMITS.seconds)


def test_bodies_that_lie_about_their_size(serve, picture, next_works):
    image, limits = picture.read_bytes(), replace(LIMITS)
    with serve(limits) as client:
        raw(client, head(len(image) + 100) + image, then_close=True)  # the client has gone
        next_works(client)
        with little_time(limits, 0.5):  # and here it waits
            assert b" 408 " in raw(client, head(len(image) + 100) + image)
        next_works(client)
        assert b" 422 " in raw(client, head(len(image) - 2000) + image)  # more than it says
        next_works(client)
        assert b" 413 " in raw(client, head(10**12, "Expect: 100-continue"))
        next_works(client)
        text = client.get("/metrics").text
        for status in ("499", "408", "422", "413"):
            assert f'abbe_requests_total{{package="cells",status="{status}"}} 1.0' in text


class Held:
    """A predictor that goes on when it is told to, and looks at its time as real ones do."""

    def __init__(self, predictor):
        self._predictor = predictor
        self.go, self.begun, self.stopped = threading.Event(), threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self._predictor, name)

    def write(self, image, stem, job, tools):
        self.begun.set()
        try:
            while not self.go.wait(0.01):
                tools.advance(0.0)
        except StoppedError:
            self.stopped.set()
            raise
        return self._predictor.write(image, stem, job, tools)


@pytest.fixture
def held(predictors):
    return Held(predictors["cells"])


def test_a_full_queue_says_when_to_come_again(serve, picture, held):
    found = []
    with serve(packages={"cells": held}) as client:

        def ask():
            with httpx.Client(base_url=client.base_url, timeout=30) as own:
                found.append(own.post(PREDICT, content=picture.read_bytes()).status_code)

        asking = [threading.Thread(target=ask) for _ in range(2)]
        for each in asking:
            each.start()
        held.begun.wait(10)
        while client.get("/health/ready").status_code == 200:  # until the second waits, too
            time.sleep(0.01)
        assert "abbe_requests_waiting 1.0" in client.get("/metrics").text
        response = client.post(PREDICT, content=picture.read_bytes())
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert client.get("/health/live").status_code == 200
        held.go.set()
        for each in asking:
            each.join()
        assert found == [200, 200]
        assert client.get("/health/ready").status_code == 200


def test_what_takes_too_long_is_stopped_and_frees_its_place(serve, picture, held, next_works):
    limits = replace(LIMITS, queue=0)
    with serve(limits, {"cells": held}) as client:
        with little_time(limits, 0.5):
            response = client.post(PREDICT, content=picture.read_bytes())
        assert (response.status_code, held.stopped.wait(5)) == (504, True)
        assert "no answer within 0.5 s" in response.json()["error"]
        held.go.set()
        while client.get("/health/ready").status_code != 200:
            time.sleep(0.01)
        next_works(client)


def test_nothing_goes_on_for_a_client_that_has_gone(serve, picture, held):
    with serve(packages={"cells": held}) as client:
        image = picture.read_bytes()
        with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
            connection.sendall(head(len(image)) + image)
            held.begun.wait(10)
        assert held.stopped.wait(10)


def test_a_fault_of_ours_says_where_and_nothing_of_the_image(serve, picture, held, caplog):
    def fails(image, stem, job, tools):
        raise RuntimeError(f"{image.source}: Erika Mustermann")

    held.write = fails
    with serve(packages={"cells": held}) as client:
        response = client.post(PREDICT, content=picture.read_bytes())
    assert response.status_code == 500
    assert response.json() == {"error": "the service failed; its log says where"}
    told = json.dumps([record.getMessage() for record in caplog.records])
    assert "RuntimeError at " in told
    assert "Mustermann" not in told + caplog.text
