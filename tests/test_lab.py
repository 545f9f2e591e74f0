"""The lab executes notebooks, renders pages that read offline, and says what failed."""

import os
import re

import nbformat
import papermill
import pytest
from checkout import copy_reports
from papermill.exceptions import PapermillExecutionError
from typer.testing import CliRunner

from resnet_lib.__main__ import app
from resnet_lib.errors import LabError
from resnet_lib.questions import story
from resnet_lib.report import (
    answer_figure,
    bars,
    bench_tables,
    checklist,
    commands,
    execution,
    figure6,
    lab,
    plots,
    published,
    results,
    summary,
    tables,
    verify,
)


@pytest.fixture
def reports(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / "{reports}"))
    return tmp_path / "{reports}/smoke"


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """A folder of notebooks of the test's own."""
    folder = tmp_path / "notebooks {of} mine"
    folder.mkdir()
    monkeypatch.setattr(execution, "SOURCES", folder)

    def write(name, *sources, parameters='profile: str = ""'):
        cells = [nbformat.v4.new_markdown_cell(f"# {name}"), nbformat.v4.new_code_cell(parameters)]
        cells[1].metadata["tags"] = ["parameters"]
        cells += [nbformat.v4.new_code_cell(source) for source in sources]
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, folder / f"{name}.ipynb")

    return write


def test_a_failing_notebook_keeps_its_error_and_does_not_stop_the_others(reports, notebooks):
    notebooks("breaks", "print('before')", "1 / 0", "print('after')")
    notebooks("works", "print('<b>fine</b>')")
    heard = []
    outcomes = lab.report("smoke", ("breaks", "works"), say=heard.append)
    assert [outcome.error is None for outcome in outcomes] == [False, True]
    assert "ZeroDivisionError" in outcomes[0].error
    assert "before" in heard
    assert "after" not in heard
    assert "ZeroDivisionError" in (reports / "breaks.html").read_text()
    assert "&lt;b&gt;fine" in (reports / "works.html").read_text()
    index = (reports / "index.html").read_text()
    assert "ZeroDivisionError" in index
    assert 'href="works.html"' in index


def test_a_report_that_is_interrupted_leaves_what_was_executed_before(reports, notebooks, monkeypatch):
    notebooks("works", "print('fine')")
    lab.report("smoke", ("works",))
    before = (reports / "works.ipynb").read_bytes()

    def interrupted(path, written, *arguments, **options):
        nbformat.write(nbformat.v4.new_notebook(), written)
        raise KeyboardInterrupt

    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lab.report("smoke", ("works",))
    assert (reports / "works.ipynb").read_bytes() == before


def test_a_notebook_that_shows_the_same_is_executed_to_the_same_bytes(reports, notebooks):
    """Which can be committed: no time, no path, no id that is drawn anew."""
    notebooks("works", "import matplotlib.pyplot as plt\nplt.plot([1, 2]);", "1 + 1")
    contents = []
    for _ in range(2):
        lab.report("smoke", ("works",))
        contents.append((reports / "works.ipynb").read_bytes())
    assert contents[0] == contents[1]
    assert b"injected-parameters" in contents[0]
    assert str(reports).encode() not in contents[0]
    assert str(execution.SOURCES).encode() not in contents[0]


def test_a_kernel_that_dies_does_not_stop_the_others(reports, notebooks):
    notebooks("dies", "import os\nos._exit(1)")
    notebooks("works", "pass")
    outcomes = lab.report("smoke", ("dies", "works"))
    assert [outcome.error is None for outcome in outcomes] == [False, True]
    assert outcomes[0].error.startswith("the kernel died: out of memory, or killed")


def test_a_kernel_that_does_not_come_up_does_not_stop_the_others(reports, notebooks, tmp_path, monkeypatch):
    notebooks("works", "pass")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ipykernel_launcher.py").write_text("raise SystemExit(3)")
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path / "broken"))
        (outcome,) = lab.report("smoke", ("works",))
    assert outcome.error.startswith("the kernel did not start, or was lost (Kernel died before")
    assert "the kernel did not start" in (reports / "index.html").read_text()


def test_the_index_links_to_pages_that_are_there_also_of_notebooks_executed_elsewhere(reports, notebooks):
    for name in ("here", "elsewhere"):
        notebooks(name, "print('seen')")
        lab.report("smoke", (name,))
    (reports / "elsewhere.html").unlink()
    lab.report("smoke", ("here",))
    links = re.findall(r'href="(\w+\.html)"', (reports / "index.html").read_text())
    assert sorted(links) == ["elsewhere.html", "here.html"]
    assert "seen" in (reports / "elsewhere.html").read_text()


def test_kernels_in_parallel_have_sockets_of_their_own_and_leave_none(reports, notebooks):
    notebooks("where", "import ipykernel.connect\nprint(ipykernel.connect.get_connection_info())")
    heard, before = [], set(execution.SOURCES.iterdir())
    for _ in range(2):
        lab.report("smoke", ("where",), say=heard.append)
    addresses = re.findall(r'"ip": "(.+?)"', "".join(heard))
    assert len(set(addresses)) == 2
    assert all("/lab" in address for address in addresses)
    assert set(execution.SOURCES.iterdir()) == before


def test_kernels_import_this_library_whatever_else_could_be_imported(reports, notebooks, tmp_path, monkeypatch):
    decoy = tmp_path / "other" / "resnet_lib"
    decoy.mkdir(parents=True)
    (decoy / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(decoy.parent))
    notebooks("whose", "import resnet_lib\nprint(resnet_lib.__file__)")
    heard = []
    lab.report("smoke", ("whose",), say=heard.append)
    assert str(published.CHECKOUT / "resnet_lib" / "__init__.py") in heard
    assert os.environ["PYTHONPATH"] == str(decoy.parent)


def test_the_index_keeps_what_was_run_before(reports, notebooks):
    notebooks("a", "1 / 0")
    notebooks("b", "pass")
    lab.report("smoke", ("a",))
    lab.report("smoke", ("b",))
    index = (reports / "index.html").read_text()
    assert 'href="a.html"' in index
    assert "ZeroDivisionError" in index
    assert 'href="b.html"' in index


@pytest.mark.fault("hostile names and parameters")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"epoch": 2}, "unknown parameter 'epoch': this notebook has crop, epochs, "),
        ({"epochs": -3}, "epochs = -3 is not valid: input should be greater than or equal to 1"),
        ({"milestones": 5}, "milestones = 5 is not valid: input should be a valid tuple"),
    ],
)
def test_papermill_is_refused_wrong_parameters_before_training(reports, tmp_path, given, words):
    with pytest.raises(PapermillExecutionError, match=re.escape(words)):
        papermill.execute_notebook(
            execution.source("01_ten_epochs"), tmp_path / "out.ipynb", {"profile": "smoke"} | given, progress_bar=False
        )
    assert not reports.exists()


def test_a_page_reads_offline_and_says_its_profile(reports):
    (outcome,) = lab.report("smoke", ("03_cifar_architecture",))
    assert outcome.error is None
    page = (reports / "03_cifar_architecture.html").read_text()
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert "smoke profile" in page
    assert "--jp-" not in page  # JupyterLab's colours, which only it defines
    assert page.count("<details") == page.count("</details>") > page.count('<details class="code">') > 5
    assert page.count("data:image/png;base64,") == 1
    assert re.search(r"\(± 5 points\)</td>\s*<td[^>]*>undecided</td>", page)
    assert "Warning" not in page
    assert "Traceback (most recent" not in page
    assert {path.name for path in (reports / "img").iterdir()} >= {"curves.png"}


def test_the_story_of_the_library_is_the_one_of_the_notebooks(monkeypatch):
    """The notebooks show their configs in plain sight, the report looks records up by the library's: keep in step."""
    monkeypatch.setenv("RESNET_LAB_PROFILE", "smoke")
    for step in story.STEPS:
        notebook = nbformat.read(execution.source(step.notebook), as_version=4)
        code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        scope = {}
        exec("\n".join(code[:2]), scope)  # the parameters, then the configs
        assert scope["configs"] == step.configs, step.notebook


def test_a_report_without_data_or_training_shows_what_is_recorded(tmp_path, monkeypatch):
    reports = committed(tmp_path, monkeypatch)
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "empty"))
    outcomes = lab.report("full", ("01_ten_epochs", "03_cifar_architecture"), train=False)
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert "not on this machine" in (reports / "full/01_ten_epochs.html").read_text()
    page = (reports / "full/03_cifar_architecture.html").read_text()
    assert "resnet20-10ep-s0" in page
    assert page.count('alt="') == page.count("<img")
    index = (reports / "full/index.html").read_text()
    pictures = re.findall(r'<img src="(.*?)" alt="(.*?)"', index)
    shown = {answer_figure.FIGURE, plots.FIGURE, bars.WAYS_FIGURE, bars.CHANGES_FIGURE, figure6.FIGURE}
    drawn = {f"img/{path.name}" for path in (reports / "full/img").iterdir() if path.stem in shown}
    assert {path for path, _ in pictures} == drawn
    assert index.count("<img") == len(pictures) >= 4
    assert all(" " in said for _, said in pictures)
    assert "The largest share of that" in index  # the cause, and not the curves alone
    assert "error %, ours" in index  # and the paper's table
    assert index.index("The answer so far") < index.index("The pages") < index.index("Results")


def committed(folder, monkeypatch):
    """A reports folder with the committed records alone."""
    reports = copy_reports(folder)
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(reports))
    return reports


@pytest.mark.parametrize("name", lab.NOTEBOOKS)
def test_the_executed_notebooks_are_of_these_sources(name):
    """Whether they show what the records say is verify-report's to tell, which executes them again."""
    path = published.CHECKOUT / "reports" / "full" / f"{name}.ipynb"
    code = [
        [cell.source for cell in nbformat.read(one, as_version=4).cells if cell.get("id") != "injected-parameters"]
        for one in (path, execution.source(name))
    ]
    assert code[0] == code[1], "run: resnet-lab report --profile full --no-train"
    outcome = execution.outcome_of(path)
    assert outcome is not None
    assert outcome.error is None
    shown = nbformat.read(path, as_version=4)
    for output in (output for cell in shown.cells for output in cell.get("outputs", [])):
        output.get("data", {}).pop("image/png", None)
    assert not re.findall(r"/(?:home|root|tmp|work|Users)/", nbformat.writes(shown))


def test_the_documents_are_made_from_the_committed_records(monkeypatch, tmp_path):
    committed(tmp_path, monkeypatch)
    assert not published.outdated(), "run: resnet-lab figures --profile full"
    readme = (published.CHECKOUT / "README.md").read_text()
    assert tables.markdown(summary.table()) in readme
    logs = re.findall(r"\]\((reports/full/runs/.*?)\)", readme)
    assert logs
    assert all((published.CHECKOUT / log).exists() for log in logs)
    page = published.CHECKOUT / published.RESULTS
    assert tables.story_markdown("full") in page.read_text()
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page.read_text())
    assert pictures
    assert all((page.parent / picture).exists() for picture in pictures)


@pytest.mark.parametrize("name", [published.README, published.CONTRIBUTING])
def test_a_document_without_markers_is_refused(documents, name):
    document = documents / name
    document.write_text("# nothing\n")
    with pytest.raises(LabError, match="lacks the lines"):
        published.update_documents()
    assert document.read_text() == "# nothing\n"


SECTIONS = [(published.README, name) for name in ("short", "reached", "checklist", "bench")]
SECTIONS += [(published.CONTRIBUTING, "faults")]
PAGES = (published.RESULTS, published.MEASURED)


@pytest.fixture
def documents(tmp_path, monkeypatch):
    """Those of a checkout of the test's own, in which every table says 12.3 and is right."""
    parts = [
        (results, ("page",)),
        (published, ("faults",)),
        (summary, ("short",)),
        (commands, ("reached",)),
        (checklist, ("checklist",)),
        (bench_tables, ("latest", "to_markdown")),
    ]
    for module, name in [(module, name) for module, names in parts for name in names]:
        monkeypatch.setattr(module, name, lambda *profile: "12.3 %")
    monkeypatch.setattr(published, "CHECKOUT", tmp_path)
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / "reports"))
    for name in {name for name, _ in SECTIONS}:
        parts = [f"<!-- {one}: begin -->\n12.3 %\n<!-- {one}: end -->\n" for where, one in SECTIONS if where == name]
        (tmp_path / name).write_text("between them\n".join(parts))
    for page in PAGES:
        (tmp_path / page).parent.mkdir(parents=True)
        (tmp_path / page).write_text("12.3 %")
    return tmp_path


@pytest.mark.parametrize(("name", "section"), SECTIONS)
def test_a_number_between_markers_that_was_changed_by_hand_is_found_and_mended(documents, name, section):
    document = documents / name
    right = document.read_text()
    assert verify.report("full") == {name: [] for name in published.DOCUMENTS}
    changed = right.replace(f"<!-- {section}: begin -->\n12.3", f"<!-- {section}: begin -->\n12.4")
    document.write_text(changed)
    assert "its tables differ" in "".join(verify.report("full")[name])
    assert document.read_text() == changed  # to verify is not to mend
    assert published.update_documents() == [name]
    assert document.read_text() == right


@pytest.mark.parametrize("name", PAGES)
def test_a_number_of_a_page_that_was_changed_by_hand_is_found_and_mended(documents, name):
    page = documents / name
    page.write_text("12.4 %")
    assert "its tables differ" in "".join(verify.report("full")[name])
    assert published.update_documents() == [name]
    assert page.read_text() == "12.3 %"


@pytest.mark.parametrize(
    ("folder", "profile", "written"),
    [
        ("checkout/reports", "full", ["checkout/img", "checkout/img", "checkout/README.md"]),
        ("checkout/reports", "quick", ["checkout/reports/quick/img"]),
        ("elsewhere", "full", ["elsewhere/full/img"]),
    ],
)
def test_figures_of_others_than_the_checkouts_own_records_leave_it_alone(
    tmp_path, monkeypatch, folder, profile, written
):
    seen = []
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / folder))
    monkeypatch.setattr(published, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(published, "figures", lambda profile, target, kind: seen.append(target) or [])
    monkeypatch.setattr(published, "bench_figures", lambda target: seen.append(target) or [])
    monkeypatch.setattr(published, "update_documents", lambda: seen.append(tmp_path / "checkout" / "README.md") or [])
    assert CliRunner().invoke(app, ["figures", "--profile", profile]).exit_code == 0
    assert seen == [tmp_path / path for path in written]


def test_figures_for_a_paper_leave_the_published_ones_alone(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(published, "figures", lambda *arguments: asked.append(arguments) or [])
    monkeypatch.setattr(published, "bench_figures", None)
    monkeypatch.setattr(published, "update_documents", None)
    monkeypatch.setattr(published, "is_published", lambda profile: True)
    assert CliRunner().invoke(app, ["figures", "--pdf", str(tmp_path / "paper")]).exit_code == 0
    assert asked == [("full", tmp_path / "paper", "pdf")]
