"""`resnet-lab verify-report` finds what does not come from a record."""

import json
import shutil
from dataclasses import replace

import matplotlib
import nbformat
import pytest
from crafted import craft, thrice

from resnet_lib.config import Config
from resnet_lib.data.sources import DataError
from resnet_lib.questions import story
from resnet_lib.report import canvas, execution, lab, published, verify

NAME = "03_cifar_architecture"


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A smoke report of one notebook."""
    folder = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESNET_LAB_REPORTS", str(folder))
        (outcome,) = lab.report("smoke", (NAME,))
        assert outcome.error is None
    return folder


@pytest.fixture
def reports(reported, tmp_path, monkeypatch):
    """A copy of it, for tests that damage theirs."""
    folder = shutil.copytree(reported, tmp_path / "reports")
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(folder))
    return folder


def test_a_report_is_what_its_records_say_until_somebody_changes_one(reports):
    assert verify.report("smoke") == {"2 runs": [], NAME: []}

    page = reports / "smoke" / f"{NAME}.ipynb"
    whole = page.read_text()
    notebook = nbformat.read(page, as_version=4)
    outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    table = next(data for data in outputs if "<table" in data.get("text/html", ""))
    table["text/html"] = table["text/html"].replace("0", "9")
    nbformat.write(notebook, page)
    path = next(reports.glob("smoke/runs/*/result.json"))
    result = path.read_text()
    path.write_text(json.dumps(json.loads(result) | {"accuracy": 0.999}))
    wrong = [line for lines in verify.report("smoke").values() for line in lines]
    assert any("accuracy does not agree" in line for line in wrong)
    assert any(line.startswith(f"{NAME}: cell ") for line in wrong)
    page.write_text(whole)
    path.write_text(result)


def test_a_notebook_that_failed_is_not_what_the_records_say(reports, monkeypatch):
    remedy = "`resnet-lab report --profile smoke --no-train` makes it anew"
    page = reports / "smoke" / f"{NAME}.ipynb"
    whole = page.read_text()
    notebook = nbformat.read(page, as_version=4)
    notebook.metadata[execution.OUTCOME]["error"] = "ValueError: no"
    nbformat.write(notebook, page)
    assert verify.report("smoke")[NAME] == [f"{NAME}: it failed (ValueError: no); {remedy}"]
    page.write_text(whole)
    execute = execution.execute
    monkeypatch.setattr(execution, "execute", lambda *given: replace(execute(*given), error="KeyError: 'x'"))
    assert verify.report("smoke")[NAME] == [f"{NAME}: it cannot be executed again (KeyError: 'x')"]


def test_a_notebook_that_the_lab_no_longer_has_is_named(reports):
    page = reports / "smoke" / f"{NAME}.ipynb"
    gone = page.rename(page.with_name("00_gone.ipynb"))
    assert verify.report("smoke")["00_gone"] == [f"00_gone: the lab has no such notebook any more: delete {gone}"]
    gone.rename(page)


def test_the_readme_is_checked_against_the_records_that_it_shows_alone(tmp_path, monkeypatch):
    for shown, checked in (("elsewhere", set()), ("reports", set(published.DOCUMENTS))):
        monkeypatch.setattr(published, "CHECKOUT", tmp_path)
        monkeypatch.setattr(published, "outdated", dict)
        monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / shown))
        assert verify.report("full").keys() == checked


def test_a_picture_that_the_records_draw_otherwise_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "CHECKOUT", tmp_path)
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / "reports"))
    (tmp_path / "requirements.lock").write_text(f"matplotlib=={matplotlib.__version__} \\\n")
    told = story.step("03_cifar_architecture").configs["ResNet-20, 100 epochs"]
    thrice(told, 0.8)
    drawn = {path.name for path in published.figures("full", tmp_path / "img")}
    assert published.outdated_pictures() == []
    (tmp_path / "img" / "curves.png").write_bytes(b"no picture")
    assert published.outdated_pictures() == ["curves.png"]
    craft(told, 0.83, seed=3)
    assert {*published.outdated_pictures()} == drawn
    assert published.can_compare_pictures()
    (tmp_path / "requirements.lock").write_text("matplotlib==1.0 \\\n")
    assert not published.can_compare_pictures()


def test_two_pictures_that_differ_in_a_digit_do_not_look_alike(tmp_path):
    said = {"a": "86.9 % (n = 2)", "b": "86.8 % (n = 2)", "c": "86.9 % (n = 3)", "d": "86.9 % (n = 2)"}
    for name, text in said.items():
        figure, axes = canvas.new_figure(2)
        axes.annotate(text, (0.5, 0.5), fontsize="small")
        canvas.save(figure, tmp_path / f"{name}.png")
    alike = [published._look_alike(tmp_path / "a.png", tmp_path / f"{name}.png") for name in "bcd"]
    assert alike == [False, False, True]


def test_a_damaged_record_is_named_and_stops_no_other_check(tmp_path, monkeypatch):
    """Its curve is shorter than those of the other seeds, of which no mean can then be drawn."""
    monkeypatch.setattr(published, "CHECKOUT", tmp_path)
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / "reports"))
    record, *_ = thrice(story.step("03_cifar_architecture").configs["ResNet-20, 100 epochs"], 0.8)
    history = record.path / "history.csv"
    history.write_text("".join(history.read_text().splitlines(keepends=True)[:-1]))
    notebook = nbformat.v4.new_notebook()
    notebook.metadata[execution.OUTCOME] = {"name": "00_gone", "title": "Any", "error": None, "cell": None}
    nbformat.write(notebook, tmp_path / "reports" / "full" / "00_gone.ipynb")
    monkeypatch.setattr(verify.sources, "fetch", lambda: None)
    found = verify.report("full")
    assert list(found) == ["3 runs", "documents", "00_gone"]
    assert f"{record.path.name}: the history's length does not agree" in found["3 runs"]
    assert found["documents"][0].startswith("documents and pictures cannot be made anew: ")


def test_without_the_images_the_notebooks_are_not_executed_and_the_rest_is_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path))
    craft(Config(epochs=2).at("quick"), 0.5, profile="quick")
    notebook = nbformat.v4.new_notebook()
    notebook.metadata[execution.OUTCOME] = {"name": NAME, "title": "Any", "error": None, "cell": None}
    nbformat.write(notebook, tmp_path / "quick" / f"{NAME}.ipynb")

    def refuse():
        raise DataError("no network")

    monkeypatch.setattr(verify.sources, "fetch", refuse)
    found = verify.report("quick")
    assert list(found) == ["1 run", "notebooks"]
    assert found["notebooks"] == ["the notebooks, which show images, were not executed again: no network"]
