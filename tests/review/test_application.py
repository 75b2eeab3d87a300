"""The requests of the page, by a client that talks to the application without a network."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from urllib.parse import quote

import nibabel
import numpy as np
import pytest
from PIL import Image
from refusals import raises
from reviews import SHAPE, SmallAudit
from starlette.testclient import TestClient

from segmend.core.tables import write_json
from segmend.data.folder import DataFolder
from segmend.review.application import make_application
from segmend.review.review import Review

TOKEN = "t" * 32
HEADER = {"X-Segmend": "1"}


def client_of(review, *, inside=True, host="127.0.0.1:5000"):
    """A browser; ``inside`` if it has opened the printed address."""
    client = TestClient(make_application(review, TOKEN), f"http://{host}")
    if inside:
        assert client.get(f"/?token={TOKEN}").status_code in (200, 404)
    return client


@pytest.fixture
def made(make_review_audit):
    return make_review_audit("a", "b")


@pytest.fixture
def client(made):
    return client_of(made.review())


def post(client, path, **content):
    return client.post(f"/api/{path}", json=content, headers=HEADER)


def decide(client, decision, *, reader="Anna", case="a", label="organ", **more):
    answer = post(client, "decisions", reader=reader, case=case, label=label, decision=decision, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pixels(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


class TestGuard:
    def test_nothing_without_the_token(self, made):
        client = client_of(made.review(), inside=False)
        for path in ("/", "/?token=wrong", "/static/app.js", "/api/audit", "/api/cases/a", "/api/unknown"):
            assert client.get(path).status_code == 403
        assert client.get(f"/api/audit?token={TOKEN}").status_code == 403

    def test_the_first_page_gives_a_cookie_that_scripts_and_other_sites_do_not_see(self, made):
        answer = client_of(made.review(), inside=False).get(f"/?token={TOKEN}")
        cookie = answer.headers["set-cookie"]
        assert TOKEN in cookie
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))

    def test_a_cookie_of_another_server_does_not_help(self, made):
        other = TestClient(make_application(made.review(), "u" * 32), "http://127.0.0.1")
        other.cookies = client_of(made.review()).cookies
        assert other.get("/api/audit").status_code == 403

    @pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1", "127.0.0.1:4711"])
    def test_this_machine_by_its_names(self, client, host):
        assert client.get("/api/audit", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "[::1]", ""]
    )
    def test_no_other_name(self, client, host):
        assert client.get("/api/audit", headers={"Host": host}).status_code == 403
        assert client.get(f"/?token={TOKEN}", headers={"Host": host}).status_code == 403

    @pytest.mark.parametrize("path", ["decisions", "take_back", "open", "replace", "export"])
    @pytest.mark.parametrize("headers", [{}, {"X-Segmend": "0"}])
    def test_no_change_without_the_header(self, client, made, path, headers):
        given = {"reader": "Anna", "case": "a", "label": "organ", "decision": "accept"}
        assert client.post(f"/api/{path}", json=given, headers=headers).status_code == 403
        assert client.get("/api/labels?reader=Anna").json()["decision"] == [""] * 4

    def test_changes_are_not_made_by_reading(self, client):
        assert client.get("/api/export").status_code == 405

    @pytest.mark.parametrize("path", ["/api/audit", "/static/none", "/api/cases/none", "/elsewhere"])
    def test_every_answer_has_the_policy(self, client, path):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "http" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


NAMES = ["..", "../review.py", "..%2Freview.py", "%2e%2e%2freview.py", "..\\review.py", "/etc/passwd", "a\0b", ""]


class TestNames:
    @pytest.mark.parametrize("name", NAMES)
    def test_files_of_the_page_only(self, client, name):
        for spelled in (name, quote(name, safe="")):
            if "\0" not in spelled and spelled != "..":  # which a client resolves to the page itself
                assert client.get(f"/static/{spelled}").status_code == 404

    @pytest.mark.parametrize("name", ["review.py", "security.py", "__init__.py", "page", "page.html"])
    def test_no_files_of_the_program(self, client, name):
        assert client.get(f"/static/{name}").status_code == 404

    def test_shared_files_of_the_report(self, client):
        answer = client.get("/static/pixels.js")
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert "function" in answer.text

    @pytest.mark.parametrize("name", [*NAMES[:-1], "A", "unknown"])
    @pytest.mark.parametrize("more", ["", "/scan?axis=2&index=0", "/masks?axis=2&index=0", "/volume/scan.nii.gz"])
    def test_cases_of_the_audit_only(self, client, name, more):
        answer = client.get(f"/api/cases/{quote(name, safe='')}{more}")
        assert answer.status_code == 404

    @pytest.mark.parametrize("case", ["../a", "a/../../x", "unknown", "", None, 3, ["a"]])
    @pytest.mark.parametrize("path", ["decisions", "open", "replace"])
    def test_the_same_in_changes(self, client, made, path, case):
        before = sorted(made.root.rglob("*"))
        answer = post(client, path, reader="Anna", case=case, label="organ", decision="accept", tool="slicer", file="x")
        assert answer.status_code in (400, 404)
        assert sorted(made.root.rglob("*")) == before

    @pytest.mark.parametrize(
        "name", ["病例 1", "Проба", "حالة", "a b&c=d #1 +", "labels", "<img src=x>", "J\u00fcrgen"]
    )
    def test_any_that_a_file_may_have(self, make_review_audit, name):
        client = client_of(make_review_audit(name).review())
        assert client.get(f"/api/cases/{quote(name, safe='')}").json()["case"] == name
        decide(client, "accept", case=name)
        assert client.get("/api/labels?reader=Anna").json()["decision"] == ["accept", ""]
        assert post(client, "open", case=name, tool="itksnap").status_code == 200
        assert post(client, "replace", case=name, reader="Anna").status_code == 200

    def test_either_unicode_form(self, make_review_audit):
        client = client_of(make_review_audit("J\u00fcrgen").review())
        assert client.get("/api/cases/" + quote("Ju\u0308rgen")).json()["case"] == "J\u00fcrgen"


class TestBodies:
    @pytest.mark.parametrize("body", [b"", b"[]", b"3", b"{", b"\xff", b"[" * 50000, b" " * 70000])
    def test_that_are_no_object(self, client, body):
        answer = client.post("/api/decisions", content=body, headers=HEADER)
        assert answer.status_code == 400
        assert answer.json()["error"]

    @pytest.mark.parametrize(
        ("given", "status"),
        [
            ({"reader": ""}, 400),
            ({"reader": "x" * 101}, 400),
            ({"reader": {"a": 1}}, 400),
            ({"label": "unknown"}, 404),
            ({"label": ["organ"]}, 404),
            ({"region": 3}, 404),
            ({"region": "2"}, 404),
            ({"region": True}, 404),
            ({"label": "", "region": 2}, 404),
            ({"label": "lesion", "region": 2}, 404),
            ({"label": "", "decision": "accept"}, 400),
            ({"decision": "replace"}, 400),
            ({"decision": "ACCEPT"}, 400),
            ({"decision": None}, 400),
            ({"decision": ["accept"]}, 400),
            ({"comment": "x" * 4001}, 400),
            ({"comment": 3}, 400),
            ({"label": "lesion", "decision": "accept"}, 400),
        ],
    )
    def test_wrong_decisions_are_refused_and_not_written(self, client, given, status):
        answer = post(
            client, "decisions", **({"reader": "Anna", "case": "a", "label": "organ", "decision": "accept"} | given)
        )
        assert answer.status_code == status
        assert set(answer.json()) == {"error", "code"}
        assert client.get("/api/audit").json()["readers"] == []


def test_overview(client):
    found = client.get("/api/audit").json()
    assert found["classes"] == [
        {"index": 1, "name": "organ", "colour": "#e69f00"},
        {"index": 2, "name": "lesion", "colour": "#56b4e9"},
    ]
    assert (found["rows"], found["cases"], found["suspect"], found["dimensions"], found["unit"]) == (4, 2, 2, 3, "mm")
    assert (found["remarks"], found["data_type"], found["presets"]) == (["Train for longer."], "other", [])


def test_presets_of_ct(make_review_audit):
    found = client_of(make_review_audit("a", channels=("CT",)).review()).get("/api/audit").json()
    assert found["data_type"] == "ct"
    assert {"name": "lung", "low": -1350, "high": 150} in found["presets"]


class TestLabels:
    def test_columns_in_ranked_order(self, client):
        found = client.get("/api/labels?reader=Anna").json()
        assert found["case"] == ["a", "a", "b", "b"]
        assert found["rank"] == [1, 2, 3, 4]
        assert found["suspect"] == [True, False, True, False]
        assert found["proposal_score"] == [0.8, None, 0.8, None]
        assert {len(column) for name, column in found.items() if name != "steps"} == {4}

    def test_decisions_comments_and_numbers_of_others(self, client):
        decide(client, "accept", comment="yes")
        decide(client, "unsure", region=2)
        decide(client, "reject", reader="Ben")
        decide(client, "reject", reader="Cem")
        found = client.get("/api/labels?reader=Anna").json()
        assert (found["decision"][0], found["comment"][0], found["others"][0]) == ("accept", "yes", 2)
        assert (found["region_decisions"], found["steps"]) == ([1, 0, 0, 0], 2)
        assert client.get("/api/labels").json()["decision"] == [""] * 4

    def test_a_column_suspect_of_the_audit_is_believed(self, made):
        path = made.place.labels
        lines = path.read_text().splitlines()
        place = lines[0].split(",").index("suspect")
        cells = [line.split(",") for line in lines[1:]]
        told = [str(row[place] != "True") for row in cells]  # the contrary of what the scores say
        path.write_text(
            "\n".join(
                [
                    lines[0],
                    *[",".join([*row[:place], new, *row[place + 1 :]]) for row, new in zip(cells, told, strict=True)],
                ]
            )
        )
        assert client_of(made.review()).get("/api/labels").json()["suspect"] == [new == "True" for new in told]

    def test_names_that_look_like_numbers_or_nothing(self, make_review_audit):
        client = client_of(make_review_audit("007", "NA").review())
        assert client.get("/api/labels").json()["case"] == ["007", "007", "NA", "NA"]


class TestCase:
    def test_what_it_holds(self, client):
        found = client.get("/api/cases/a?reader=Anna").json()
        assert (found["shape"], found["spacing"]) == (list(SHAPE), [1.0, 1.5, 3.0])
        assert [axis["name"] for axis in found["axes"]] == ["axial", "coronal", "sagittal"]
        assert found["axes"][0]["letters"] == ["I", "S"]
        assert not found["axes"][0]["across"]["flipped"]
        assert found["labels"] == ["organ", "lesion"]
        assert found["checks"] == ["gap of organ: two empty slices"]
        assert found["start"] == {"organ": {"axis": 2, "index": 5}, "lesion": {"axis": 2, "index": 2}}
        (region,) = found["regions"]
        assert (region["box"], region["centre"]) == ([[2, 5], [3, 6], [5, 6]], [4, 4, 6])
        assert (region["number"], region["label"], region["decision"]) == (2, "organ", "")

    def test_decisions_of_the_reader_about_regions(self, client):
        decide(client, "reject", region=2, comment="vessel")
        (region,) = client.get("/api/cases/a?reader=Anna").json()["regions"]
        assert (region["decision"], region["comment"]) == ("reject", "vessel")
        (region,) = client.get("/api/cases/a?reader=Ben").json()["regions"]
        assert region["decision"] == ""


class TestSlices:
    def test_scan_equals_the_array(self, client, made):
        scan = made.arrays("a")[0]
        shown = pixels(client.get("/api/cases/a/scan?axis=2&index=3&low=0&high=1000"))
        assert (shown == np.rint(scan[:, :, 3].T * np.float32(0.255))).all()
        shown = pixels(client.get("/api/cases/a/scan?axis=1&index=9&low=0&high=1000"))
        assert (shown == np.rint(scan[:, 9, :].T[::-1] * np.float32(0.255))).all()

    def test_masks_equal_the_arrays(self, client, made):
        _, label, proposal, issues = made.arrays("a")
        shown = pixels(client.get("/api/cases/a/masks?axis=2&index=5"))
        assert (shown[..., 1] == proposal[:, :, 5].T).all()
        assert (shown[..., 2] == issues[:, :, 5].T).all()
        shown = pixels(client.get("/api/cases/a/masks?axis=2&index=2"))
        classes = np.where(label == 4, 2, label)  # the value 4 is the second class
        assert (shown[..., 0] == classes[:, :, 2].T).all()

    def test_oblique_scan_as_it_is_stored_turned_to_the_nearest_plane(self, make_review_audit):
        turn = np.deg2rad(20)
        affine = np.diag([1.0, 1.0, 4.0, 1.0])
        affine[1:3, 1:3] = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([1.0, 4.0])
        made = make_review_audit("a", affine=affine)
        shown = pixels(client_of(made.review()).get("/api/cases/a/masks?axis=2&index=5"))
        assert (shown[..., 1] == made.arrays("a")[2][::-1, ::-1, 5].T).all()

    def test_the_default_window_is_that_of_the_case(self, client):
        window = client.get("/api/cases/a").json()["window"][0]
        chosen = client.get(f"/api/cases/a/scan?axis=2&index=3&low={window['low']}&high={window['high']}")
        assert (pixels(chosen) == pixels(client.get("/api/cases/a/scan?axis=2&index=3"))).all()

    def test_channels(self, make_review_audit):
        made = make_review_audit("a", channels=("T1", "T2"))
        client = client_of(made.review())
        shown = pixels(client.get("/api/cases/a/scan?axis=2&index=3&low=0&high=1010&channel=1"))
        expected = np.rint((made.arrays("a")[0][:, :, 3].T + 10) * np.float32(255 / 1010))
        assert np.abs(shown - expected).max() <= 1
        assert len(client.get("/api/cases/a").json()["window"]) == 2
        assert client.get("/api/cases/a/scan?axis=2&index=3&channel=2").status_code == 400

    @pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
    def test_compressed_or_not(self, make_review_audit, ending):
        made = make_review_audit("a", ending=ending)
        shown = pixels(client_of(made.review()).get("/api/cases/a/scan?axis=0&index=4&low=0&high=1000"))
        assert (shown == np.rint(made.arrays("a")[0][4, :, :].T[::-1] * np.float32(0.255))).all()

    @pytest.mark.parametrize(
        "query",
        [
            *(
                "",
                "axis=2",
                "axis=3&index=0",
                "axis=2&index=8",
                "axis=2&index=-1",
                "axis=x&index=0",
                "axis=2&index=1e3",
            ),
            *("axis=2&index=0&low=1", "axis=2&index=0&low=2&high=1", "axis=2&index=0&low=nan&high=1"),
            *(
                "axis=2&index=0&low=0&high=inf",
                "axis=2&index=0&low=x&high=1",
                "axis=²&index=0",
                "axis=2&index=0&channel=1",
            ),
        ],
    )
    def test_wrong_requests(self, client, query):
        answer = client.get(f"/api/cases/a/scan?{query}")
        assert answer.status_code == 400
        assert answer.json()["error"]

    def test_volumes_for_rendering(self, client, made):
        for kind, expected in zip(("scan", "label", "proposal", "issues"), made.arrays("a"), strict=True):
            answer = client.get(f"/api/cases/a/volume/{kind}.nii.gz")
            image = nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content))
            classes = np.where(expected == 4, 2, expected) if kind == "label" else expected
            assert (np.asarray(image.dataobj)[:7] == classes[:7]).all()
            assert image.affine == pytest.approx(made.affine)
        assert client.get("/api/cases/a/volume/other.nii.gz").status_code == 404


class TestPictures:
    @pytest.fixture
    def client(self, make_folder, write_scan, tmp_path):
        """An audit of pictures, whose proposals are their labels."""
        data = make_folder(cases=("a",), shape=(20, 18), ending=".png", labels={"background": 0, "organ": 1})
        made = SmallAudit(tmp_path, ending=".png")
        for kind in ("proposals", "issues"):
            (tmp_path / "audit" / kind).mkdir(parents=True)
            shutil.copy(data / "labelsTr" / "a.png", tmp_path / "audit" / kind / "a.png")
        from audit_rows import example_row

        made.rows = [example_row(1, "a", "organ", 0.2)]
        made.labels = {"background": 0, "organ": 1}
        made.finish()
        return client_of(made.review())

    def test_are_shown_as_they_are_stored(self, client, tmp_path):
        stored = np.asarray(Image.open(tmp_path / "data" / "imagesTr" / "a_0000.png"))
        shown = pixels(client.get("/api/cases/a/scan?axis=2&index=0&low=0&high=255"))
        assert (shown == stored).all()
        found = client.get("/api/cases/a").json()
        assert [axis["name"] for axis in found["axes"]] == ["picture"]
        assert found["start"] == {"organ": {"axis": 2, "index": 0}}
        assert client.get("/api/audit").json()["unit"] == "px"
        assert client.get("/api/audit").json()["dimensions"] == 2


class TestReaders:
    def test_take_back(self, client):
        decide(client, "accept")
        decide(client, "reject", comment="no")
        answer = post(client, "take_back", reader="Anna").json()
        assert answer == {
            "case": "a",
            "label": "organ",
            "region": None,
            "decision": "accept",
            "comment": "",
            "steps": 1,
        }
        post(client, "take_back", reader="Anna")
        assert post(client, "take_back", reader="Anna").json() == {}

    def test_progress(self, client):
        decide(client, "accept")
        decide(client, "reject", label="lesion")
        found = client.get("/api/progress?reader=Anna").json()
        assert (found["decided"], found["accepted"], found["open"]) == (2, 1, 2)
        assert found["share_of_suspect_decided"] == 0.5
        assert client.get("/api/progress").status_code == 400

    def test_agreement(self, client):
        decide(client, "accept")
        decide(client, "reject", label="lesion")
        decide(client, "accept", reader="Ben")
        decide(client, "reject", reader="Ben", label="lesion")
        found = client.get("/api/agreement").json()
        assert found["readers"] == ["Anna", "Ben"]
        assert found["pairs"] == [{"first": "Anna", "second": "Ben", "labels": 2, "agreement": 1.0, "kappa": 1.0}]

    def test_a_blinded_reader_learns_how_many_decided_and_nothing_else(self, made):
        decide(client_of(made.review()), "reject", comment="secret", region=2)
        decide(client_of(made.review()), "reject", comment="secret")
        client = client_of(made.review(reader="Ben", blinded=True))
        assert client.get("/api/audit").json()["blinded"]
        assert client.get("/api/agreement").status_code == 400
        assert client.get("/api/labels?reader=Anna").status_code == 400
        assert client.get("/api/cases/a?reader=Anna").status_code == 400
        assert client.get("/api/progress?reader=Anna").status_code == 400
        assert post(client, "take_back", reader="Anna").status_code == 400
        assert client.get("/api/labels?reader=Ben").json()["others"] == [1, 0, 0, 0]
        for path in ("labels?reader=Ben", "cases/a?reader=Ben", "audit"):
            assert "secret" not in client.get(f"/api/{path}").text


class TestTwoServers:
    def test_see_each_other(self, made):
        first, second = client_of(made.review()), client_of(made.review())
        decide(first, "accept")
        assert second.get("/api/labels?reader=Anna").json()["decision"][0] == "accept"
        post(second, "take_back", reader="Anna")
        assert first.get("/api/labels?reader=Anna").json()["decision"][0] == ""


class TestChangedData:
    def test_a_scan_that_was_moved_is_said_and_the_others_stay(self, made):
        client = client_of(made.review())
        (made.data / "imagesTr" / "a_0000.nii.gz").rename(made.root / "elsewhere.nii.gz")
        answer = client.get("/api/cases/a")
        assert answer.status_code == 409
        assert "a_0000.nii.gz" in answer.json()["error"]
        assert client.get("/api/cases/b").status_code == 200

    def test_a_label_that_was_edited(self, made):
        client = client_of(made.review())
        made.write(made.data / "labelsTr" / "a.nii.gz", np.ones(SHAPE, np.uint8))
        answer = client.get("/api/cases/a/masks?axis=2&index=0")
        assert (answer.status_code, answer.json()["code"]) == (409, "changed-data")

    def test_a_scan_on_another_grid(self, made):
        client = client_of(made.review())
        made.write(made.data / "imagesTr" / "a_0000.nii.gz", np.ones((3, 3, 3), np.uint8))
        assert client.get("/api/cases/a/scan?axis=2&index=0").json()["code"] == "mismatch"

    def test_a_proposal_that_is_gone(self, made):
        client = client_of(made.review())
        made.place.proposal("a", ".nii.gz").unlink()
        assert client.get("/api/cases/a").status_code == 409

    def test_a_case_that_is_gone(self, made):
        for part in ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"):
            (made.data / part).unlink()
        with raises("mismatch", made.data, "case 'a'"):
            made.review()

    def test_classes_that_changed(self, made):
        description = json.loads((made.data / "dataset.json").read_text())
        write_json(made.data / "dataset.json", description | {"labels": description["labels"] | {"new": 9}})
        with raises("mismatch", "dataset.json"):
            made.review()

    def test_another_audit_in_the_same_folder(self, made):
        decide(client_of(made.review()), "accept")
        made.rows[0] = made.rows[1]
        made.rows = made.rows[1:]
        made.finish()
        with raises("mismatch", "review.sqlite"):
            made.review()

    def test_an_audit_that_is_not_finished(self, made):
        made.place.summary.unlink()
        with raises("unfinished"):
            made.review()

    def test_the_file_of_decisions_is_gone(self, made):
        client = client_of(made.review())
        (made.place.root / "review.sqlite").unlink()
        answer = post(client, "decisions", reader="Anna", case="a", label="organ", decision="accept")
        assert answer.status_code == 503


class TestRegions:
    """Overlapping regions: each has masks of its own."""

    @pytest.fixture
    def made(self, tmp_path):
        from audit_rows import example_row

        made = SmallAudit(tmp_path)
        label = np.zeros(SHAPE, np.uint8)
        label[2:8, 2:8, 2:6] = 1
        label[4:6, 4:6, 3:5] = 2
        made.write(made.data / "imagesTr" / "a_0000.nii.gz", label * np.uint8(50))
        made.write(made.data / "labelsTr" / "a.nii.gz", label)
        for region, mask in (("whole", label > 0), ("core", label == 2)):
            place = made.place.of_region(region)
            proposal = mask.astype(np.uint8)
            proposal[..., 5] = region == "core"
            made.write(place.proposal("a", ".nii.gz"), proposal)
            made.write(place.issues("a", ".nii.gz"), (proposal != mask).astype(np.uint8) * 2)
            made.rows.append(example_row(len(made.rows) + 1, "a", region, 0.2))
        made.labels = {"background": 0, "whole": [1, 2], "core": 2}
        description = {"name": "x", "channel_names": {"0": "MR"}, "labels": made.labels, "file_ending": ".nii.gz"}
        write_json(made.data / "dataset.json", description | {"regions_class_order": [1, 2]})
        made.finish()
        write_json(made.data / "dataset.json", description | {"regions_class_order": [1, 2]})
        folder = DataFolder.open(made.data)
        settings = json.loads(made.place.settings.read_text())
        write_json(made.place.settings, settings | {"classes": {**folder.labels, "ignore": folder.ignore}})
        return made

    def test_masks_by_region(self, made):
        client = client_of(Review(made.place, DataFolder.open(made.data)))
        found = client.get("/api/audit").json()
        assert found["by_region"]
        index = {each["name"]: each["index"] for each in found["classes"]}
        assert client.get("/api/cases/a/masks?axis=2&index=3").status_code == 404
        for region, inside in (("whole", 36), ("core", 4)):
            shown = pixels(client.get(f"/api/cases/a/masks?axis=2&index=3&label={region}"))
            assert np.unique(shown[..., 0]).tolist() == [0, index[region]]
            assert np.count_nonzero(shown[..., 0]) == inside
        shown = pixels(client.get("/api/cases/a/masks?axis=2&index=5&label=core"))
        assert (shown[..., 1] == index["core"]).all()
        assert (shown[..., 2] == 2).all()
        start = client.get("/api/cases/a").json()["start"]
        assert start == {"whole": {"axis": 2, "index": 5}, "core": {"axis": 2, "index": 5}}
        assert post(client, "open", case="a", tool="slicer").status_code == 200
