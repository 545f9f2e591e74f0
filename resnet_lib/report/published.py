"""What the repository shows of its own records: the figures in `img/` and the tables of its documents."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from resnet_lib.errors import LabError
from resnet_lib.findings import evidence
from resnet_lib.findings.recorded import overlay, recorded_story
from resnet_lib.machine.files import read_json, write_atomic
from resnet_lib.questions import paper_runs, story
from resnet_lib.records.find import find_runs, reports_folder
from resnet_lib.report import (
    answer_figure,
    bars,
    bench_figure,
    bench_tables,
    canvas,
    checklist,
    commands,
    figure6,
    plots,
    results,
    summary,
    tables,
)
from resnet_lib.speed.measured import benchmarks

CHECKOUT = Path(__file__).resolve().parents[2]
RUNS = "reports/full/runs"
# Of two pictures that look alike, so many points may differ visibly, for processors round otherwise: a digit has more.
VISIBLE, POINTS = 0.2, 20
DOCUMENTS = README, CONTRIBUTING, RESULTS, MEASURED = (
    "README.md",
    "CONTRIBUTING.md",
    "reports/full/README.md",
    "reports/bench/README.md",
)


def is_published(profile: str) -> bool:
    """Whether these are the records that the checkout's documents and img/ show."""
    return profile == "full" and reports_folder() == CHECKOUT / "reports"


def figures(profile: str, folder: Path, kind: Literal["png", "pdf"] = "png") -> list[Path]:
    """Draw the report's figures into `folder` from the records of a profile, as far as there are any.

    The answer in short, the curves of all runs of the story, single changes, the ways from the assumed settings to the
    paper's, and the paper's Figure 6.
    """
    drawn: dict[str, Figure | None] = {
        answer_figure.FIGURE: answer_figure.draw(profile),
        plots.FIGURE: plots.curves(overlay(recorded_story(profile)), profile),
        bars.CHANGES_FIGURE: bars.changes(profile),
        bars.WAYS_FIGURE: bars.waterfalls(evidence.ways(evidence.factorials(profile))),
        figure6.FIGURE: figure6.draw(find_runs(paper_runs.configs(), profile), profile),
    }
    for name in (name for name, figure in drawn.items() if not figure and kind == "png"):
        (folder / f"{name}.png").unlink(missing_ok=True)  # of records that are no longer there
    return [_saved(figure, folder / f"{name}.{kind}") for name, figure in drawn.items() if figure]


def bench_figures(folder: Path) -> list[Path]:
    """Draw every committed benchmark into `folder`, as `bench_<name of its file>.png`."""
    return [_saved(bench_figure.draw(bench), folder / f"bench_{name}.png") for name, bench in _benchmarks().items()]


def _saved(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(figure, path)
    return path


def update_documents() -> list[str]:
    """Write what `outdated` finds, and return the names of what was written."""
    found = outdated()
    for name, text in found.items():
        write_atomic(CHECKOUT / name, text.encode())
    return list(found)


def outdated() -> dict[str, str]:
    """The documents of the checkout that differ from what the records say, each with the text that it should have.

    They show the `full` records, the benchmarks and the last soak: README and CONTRIBUTING between their markers, the
    others as a whole. Raises LabError if a marker is not there.
    """
    benches = _benchmarks()
    readme = {
        "short": summary.short(f"[in the results]({_place(results.ANSWER)})") or story.NOT_YET,
        "reached": commands.reached() or story.NOT_YET,
        "checklist": checklist.checklist(RUNS, _place(results.THREADS), RUNS),
        "bench": bench_tables.latest(list(benches.values())),
    }
    texts = {
        README: _between_markers(CHECKOUT / README, readme),
        CONTRIBUTING: _between_markers(CHECKOUT / CONTRIBUTING, {"faults": faults()}),
        RESULTS: results.page(),
        MEASURED: bench_tables.to_markdown(benches),
    }
    return {name: text for name, text in texts.items() if text != _text(CHECKOUT / name)}


def _place(title: str) -> str:
    """A section of the page of results, as the README links to it; of a title of plain words."""
    return f"{RESULTS}#{title.lower().replace(' ', '-')}"


def can_compare_pictures() -> bool:
    """Whether this is the matplotlib of requirements.lock: by another one all may look otherwise."""
    return f"matplotlib=={matplotlib.__version__} " in _text(CHECKOUT / "requirements.lock")


def outdated_pictures() -> list[str]:
    """The names of those in img/ that look otherwise when they are drawn anew."""
    with tempfile.TemporaryDirectory() as name:
        drawn = figures("full", Path(name)) + bench_figures(Path(name))
        return [path.name for path in drawn if not _look_alike(path, CHECKOUT / "img" / path.name)]


def _look_alike(one: Path, other: Path) -> bool:
    try:
        a, b = (imread(path)[:, :, :3] for path in (one, other))
    except (OSError, SyntaxError, IndexError):  # it is not there, or no such picture
        return False
    return a.shape == b.shape and np.count_nonzero(abs(a - b).max(axis=2) > VISIBLE) <= POINTS


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _between_markers(path: Path, sections: dict[str, str]) -> str:
    """The text of a file, with the sections in their places."""
    new = _text(path)
    for name, content in sections.items():
        markers = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, begin, rest = new.partition(markers[0])
        _, end, after = rest.partition(markers[1])
        if not begin or not end:
            raise LabError(f"{path} lacks the lines {markers[0]} and {markers[1]}: restore them")
        new = f"{before}{begin}\n{content}\n{end}{after}"
    return new


def faults() -> str:
    """The table of what `make soak` found."""
    path = reports_folder() / "faults.json"
    return tables.faults_markdown(read_json(path)) if path.exists() else story.NOT_YET


def _benchmarks() -> dict[str, dict[str, Any]]:
    return benchmarks(reports_folder() / "bench")
