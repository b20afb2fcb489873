import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from serving import HEIGHT, WIDTH, FakePredictor, app_of, folder_of_images, session_of
from starlette.testclient import TestClient

from abbe.imaging import read_labels, write_png
from abbe.serve import Session
from abbe.serve.coco import Object, mask_of
from abbe.serve.session import IMAGES_KEPT, Prompt
from abbe.web import PAGE


@pytest.fixture
def client(tmp_path):
    session = session_of(folder_of_images(tmp_path / "images"), tmp_path / "out")
    return TestClient(app_of(session), base_url="http://127.0.0.1:5000")


def masks(client, number=0, **prompt):
    return client.post(f"/api/images/{number}/masks", json=prompt)


def test_the_page_and_its_parts_load_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for path in PAGE.rglob("*"):
        if path.suffix in (".js", ".css"):
            part = client.get(f"/{path.relative_to(PAGE).as_posix()}")
            assert part.status_code == 200
            assert "http:" not in part.text
            assert "https:" not in part.text


def test_the_session_lists_the_images(client):
    names = [each["name"] for each in client.get("/api/session").json()["images"]]
    assert names == ["first.png", "more/second.png"]


def test_a_point_gets_three_masks_and_a_box_one_of_the_images_size(client):
    facts = {"width": WIDTH, "height": HEIGHT, "objects": [], "saved": True}
    assert client.get("/api/images/0").json().items() >= facts.items()
    assert client.post("/api/images/0/encode", json={}).status_code == 200
    answers = masks(client, points=[[60, 50]], labels=[1]).json()["masks"]
    areas = [mask_of(each["counts"], (HEIGHT, WIDTH)).sum() for each in answers]
    assert areas == pytest.approx([np.pi * 4**2, np.pi * 8**2, np.pi * 16**2], rel=0.1)
    [box] = masks(client, box=[10, 20, 40, 30]).json()["masks"]
    assert mask_of(box["counts"], (HEIGHT, WIDTH)).sum() == 300


def test_an_image_is_encoded_once_while_it_is_remembered(tmp_path):
    for number in range(IMAGES_KEPT + 1):
        write_png(tmp_path / "images" / f"{number}.png", np.zeros((4, 4), np.uint8))
    session = session_of(tmp_path / "images", tmp_path / "out")
    before = FakePredictor.encoded
    for number in (0, 0, *range(IMAGES_KEPT), 0):
        session.encode(number)
    assert FakePredictor.encoded - before == IMAGES_KEPT
    session.encode(IMAGES_KEPT)  # pushes out 1, which was asked for longest ago
    session.encode(0)
    assert FakePredictor.encoded - before == IMAGES_KEPT + 1
    session.encode(1)
    assert FakePredictor.encoded - before == IMAGES_KEPT + 2


def test_objects_are_saved_as_label_image_and_annotations_and_found_again(client, tmp_path):
    objects = [
        *masks(client, 1, box=[10, 20, 40, 30]).json()["masks"],
        *masks(client, 1, box=[30, 20, 50, 30]).json()["masks"],
    ]
    done = client.put("/api/images/1/objects", json={"objects": objects})
    assert done.status_code == 200, done.text
    labels = read_labels(tmp_path / "out" / "more" / "second.labels.png")
    assert [(labels == value).sum() for value in (1, 2)] == [200, 200]  # the later lies above
    written = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [each["area"] for each in written["annotations"]] == [300, 200]
    assert [each["bbox"] for each in written["annotations"]] == [[10, 20, 30, 10], [30, 20, 20, 10]]
    again = client.get("/api/images/1").json()["objects"]
    assert [each["counts"] for each in again] == [each["counts"] for each in objects]
    assert client.get("/api/session").json()["images"][1]["saved"] == 2


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ({"points": [[WIDTH, 5]], "labels": [1]}, "outside the image of 160 × 120"),
        ({"points": [[-1, 5]], "labels": [1]}, "outside"),
        ({"points": [[5, 5]], "labels": []}, "label"),
        ({"box": [10, 10, 10, 20]}, "no area"),
        ({"box": [10, 10, 400, 20]}, "outside"),
        ({}, "at least one point"),
    ],
)
def test_prompts_without_a_meaning_are_refused_in_words(client, prompt, words):
    answer = masks(client, **prompt)
    assert answer.status_code == 422
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    "body", ["{", "[" * 5000, "[]", '{"points": "a"}', '{"points": [[1]]}', '{"box": [NaN,1,2,3]}',
             '{"points": [[1, 1]], "labels": [2]}', '{"more": 1}', b"\xff"]
)  # fmt: skip
def test_what_is_no_request_is_refused_in_words(client, body):
    headers = {"content-type": "application/json"}
    answer = client.post("/api/images/0/masks", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("number", ["2", "99999999999999999999", "-1", "x"])
def test_an_unknown_image_is_refused(client, number):
    assert client.get(f"/api/images/{number}").status_code == 404
    region = "level=0&top=0&left=0&bottom=9&right=9"
    assert client.get(f"/api/images/{number}/pixels?{region}").status_code == 404
    assert client.post(f"/api/images/{number}/encode", json={}).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/../site.py", "/page/%2e%2e/%2e%2e/site.py", "/page/..%2f..%2fsite.py", "//etc/passwd",
     "/api/images/..%2f..%2fsecret/pixels", "/api/images/0/../../../secret"],
)  # fmt: skip
def test_no_address_leads_out_of_the_folders(client, path):
    assert client.get(path).status_code == 404


def test_a_mask_of_another_size_is_not_saved(client, tmp_path):
    for counts in ([5, 5], [WIDTH * HEIGHT], [], [2**63, 5], [2**64, 2**64]):
        body = {"objects": [{"counts": counts, "score": 0.5}]}
        for kind in ("objects", "unsaved"):
            answer = client.put(f"/api/images/0/{kind}", json=body)
            assert answer.status_code == 422
            assert "mask" in answer.json()["error"]
    assert not (tmp_path / "out").exists()


def test_other_hosts_and_origins_are_refused(client):
    post = {"content": "{}", "headers": {"content-type": "application/json"}}
    for host in ("evil.example", "127.0.0.1.evil.example:5000", ""):
        answer = client.get("/api/session", headers={"host": host})
        assert answer.status_code == 403
        assert "answers under" in answer.json()["error"]
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        headers = post["headers"] | {"origin": origin}
        answer = client.post("/api/images/0/encode", content="{}", headers=headers)
        assert answer.status_code == 403
    own = post["headers"] | {"origin": "http://127.0.0.1:5000"}
    assert client.post("/api/images/0/encode", content="{}", headers=own).status_code == 200
    form = {"content-type": "text/plain"}
    assert client.post("/api/images/0/encode", content="{}", headers=form).status_code == 403


def test_an_image_that_cannot_be_read_is_told_and_the_rest_goes_on(tmp_path):
    folder = folder_of_images(tmp_path / "images")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    client = TestClient(app_of(session_of(folder, tmp_path / "out")), base_url="http://127.0.0.1")
    region = "level=0&top=0&left=0&bottom=9&right=9"
    for path in ("", f"/pixels?{region}"):
        answer = client.get(f"/api/images/0{path}")
        assert answer.status_code == 422
        assert "broken.png" in answer.json()["error"]
    assert client.get(f"/api/images/1/pixels?{region}").status_code == 200


def test_what_is_not_saved_is_kept_and_saved_at_the_end(tmp_path):
    session = session_of(folder_of_images(tmp_path / "images"), tmp_path / "out")
    client = TestClient(app_of(session), base_url="http://127.0.0.1")
    found = {"objects": masks(client, box=[10, 20, 40, 30]).json()["masks"]}
    for number in (0, 1):
        assert client.put(f"/api/images/{number}/unsaved", json=found).status_code == 200
    assert client.put("/api/images/1/objects", json=found).status_code == 200
    facts = client.get("/api/images/0").json()
    assert (facts["objects"], facts["saved"]) == (found["objects"], False)
    assert client.get("/api/images/1").json()["saved"]
    assert session.unsaved() == session.save_rest() == {"first.png": 1}
    assert (read_labels(tmp_path / "out" / "first.labels.png") == 1).sum() == 300
    assert session.save_rest() == {}


def test_what_was_taken_back_is_not_kept(tmp_path):
    session = session_of(folder_of_images(tmp_path / "images"), tmp_path / "out")
    object = session.masks(0, Prompt(box=(10, 20, 40, 30)))
    for back in (None, []):
        session.keep(0, object)
        session.keep(0, back)
        assert session.unsaved() == {}
    session.save(0, object)
    session.keep(0, [])  # those saved were deleted
    assert session.unsaved() == {"first.png": 0}


def test_what_a_killed_server_left_half_written_goes_and_the_rest_stays(tmp_path):
    out = tmp_path / "out"
    session = session_of(folder_of_images(tmp_path / "images"), out)
    session.save(0, session.masks(0, Prompt(box=(10, 20, 40, 30))))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (out / "more").mkdir()
    for name in ("annotations.json", "first.labels.png", "more/second.labels.png", "mine.png"):
        path = out / name
        path.with_name(f".{path.name}.{ended.pid}-00ff.part").touch()
    session.recover()
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    other = f".mine.png.{ended.pid}-00ff.part"
    assert left == {"annotations.json", "first.labels.png", other}


def test_a_picture_that_the_annotations_tell_of_takes_its_place(tmp_path):
    out = tmp_path / "out"
    session = session_of(folder_of_images(tmp_path / "images"), out)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    picture = out / "first.labels.png"
    half = out / f".{picture.name}.{ended.pid}-00ff.part"
    session.save(0, session.masks(0, Prompt(box=(1, 2, 11, 12))))
    old = picture.read_bytes()
    session.save(0, session.masks(0, Prompt(box=(10, 20, 40, 30))))
    new = picture.read_bytes()
    # Killed after the annotations were written, before them, and while the picture was written.
    for there, written, expected in ((old, new, new), (new, old, new), (new, new[:50], new)):
        picture.write_bytes(there)
        half.write_bytes(written)
        session_of(tmp_path / "images", out).recover()
        assert picture.read_bytes() == expected
        assert not half.exists()


def test_a_disk_that_fails_is_told_in_words(client, tmp_path):
    (tmp_path / "out").write_text("a file where the folder should be")
    objects = masks(client, box=[10, 20, 40, 30]).json()["masks"]
    answer = client.put("/api/images/0/objects", json={"objects": objects})
    assert answer.status_code == 500
    assert "out" in answer.json()["error"]


def test_of_many_channels_the_page_is_told_which_the_network_sees(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "images" / "a.npy", np.zeros((4, 6, 8), np.uint8))
    images = {tmp_path / "images" / "a.npy": Path("a.npy")}
    monkeypatch.setattr(FakePredictor, "input_channels", ("z",))
    session = Session("fake", images, FakePredictor, tmp_path / "out", ("x", "y", "z", "w"))
    assert TestClient(app_of(session), base_url="http://localhost").get("/api/images/0").json()[
        "seen"
    ] == [2]


def test_classes_of_objects_are_saved_and_found_again(client, tmp_path):
    [first] = masks(client, box=[10, 20, 40, 30]).json()["masks"]
    objects = [first | {"category": name} for name in ("tumour", None, "stroma", "tumour")]
    assert client.put("/api/images/0/objects", json={"objects": objects}).status_code == 200
    other = [first | {"category": "stroma"}]
    assert client.put("/api/images/1/objects", json={"objects": other}).status_code == 200
    written = json.loads((tmp_path / "out" / "annotations.json").read_text())
    names = {each["id"]: each["name"] for each in written["categories"]}
    assert names == {1: "object", 2: "tumour", 3: "stroma"}
    assert [each["category_id"] for each in written["annotations"]] == [2, 1, 3, 2, 3]
    again = client.get("/api/images/0").json()["objects"]
    assert [each["category"] for each in again] == ["tumour", None, "stroma", "tumour"]


@pytest.mark.parametrize("name", ["a.png", "b.c.PNG", "a.ome.tif", "a.OME.TIFF"])
def test_labels_are_named_like_their_image(tmp_path, name):
    write_png(tmp_path / name, np.zeros((4, 4), np.uint8))
    session = Session("fake", {tmp_path / name: Path(name)}, FakePredictor, tmp_path / "out")
    picture, _ = session.save(0, [Object((0, 16), 0.5)])
    assert picture.name == ("b.c.labels.png" if name.startswith("b") else "a.labels.png")


def test_a_stale_tab_is_told_and_changes_nothing(client, tmp_path):
    [first] = masks(client, box=[10, 20, 40, 30]).json()["masks"]
    [second] = masks(client, box=[30, 20, 50, 30]).json()["masks"]
    one = client.get("/api/images/0").json()["edition"]
    other = client.get("/api/images/0").json()["edition"]
    kept = client.put("/api/images/0/unsaved", json={"objects": [first], "edition": one})
    body = {"objects": [first], "edition": kept.json()["edition"]}
    assert client.put("/api/images/0/objects", json=body).status_code == 200
    for what in ("unsaved", "objects"):
        answer = client.put(f"/api/images/0/{what}", json={"objects": [second], "edition": other})
        assert answer.status_code == 409
        assert "changed in another tab" in answer.json()["error"]
        assert "Reload the page" in answer.json()["error"]
    now = client.get("/api/images/0").json()
    assert (now["saved"], [each["counts"] for each in now["objects"]]) == (True, [first["counts"]])
    again = {"objects": [first, second], "edition": now["edition"]}
    assert client.put("/api/images/0/objects", json=again).status_code == 200


def test_a_tab_of_an_earlier_server_is_told(tmp_path):
    images = folder_of_images(tmp_path / "images")
    clients = [
        TestClient(app_of(session_of(images, tmp_path / "out")), base_url="http://localhost")
        for _ in range(2)
    ]
    edition = clients[0].get("/api/images/0").json()["edition"]
    body = {"objects": None, "edition": edition}
    assert clients[1].put("/api/images/0/unsaved", json=body).status_code == 409
    assert clients[0].put("/api/images/0/unsaved", json=body).status_code == 200


def test_a_save_that_fails_makes_no_tab_stale(client, monkeypatch):
    [mask] = masks(client, box=[10, 20, 40, 30]).json()["masks"]
    body = {"objects": [mask], "edition": client.get("/api/images/0").json()["edition"]}

    def full(*_):
        raise OSError(28, "No space left on device", "a.png")

    with monkeypatch.context() as patched:
        patched.setattr("abbe.serve.coco.AnnotationFile.replace", full)
        assert client.put("/api/images/0/objects", json=body).status_code == 500
    assert client.put("/api/images/0/objects", json=body).status_code == 200


def test_requests_that_are_too_large_are_refused_before_they_are_read(client):
    header = {"Content-Type": "application/json"}
    point = masks(client, points=[[5, 5]] * 200_000, labels=[1] * 200_000)
    said = point.status_code, point.json()["error"]
    assert said == (413, "such a request has at most 64 KiB")
    many = masks(client, points=[[5, 5]] * 1001, labels=[1] * 1001)
    assert many.status_code == 400
    assert "at most 1000 items" in many.json()["error"]
    body = b"[" + b"1," * (30 << 20) + b"1]"
    started = time.process_time()
    large = client.put("/api/images/0/objects", content=body, headers=header)
    said = large.status_code, large.json()["error"]
    assert said == (413, "such a request has at most 32,768 KiB")
    assert time.process_time() - started < 1

    def parts():  # without a length stated before
        for _ in range(40):
            yield b"1," * (1 << 19)

    assert client.put("/api/images/0/objects", content=parts(), headers=header).status_code == 413
