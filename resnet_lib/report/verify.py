"""Whether what is shown is what was measured: records, documents, pictures and executed notebooks, each made anew."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat

from resnet_lib.data import sources
from resnet_lib.data.sources import DataError
from resnet_lib.errors import LabError
from resnet_lib.findings.recorded import runs_in_words
from resnet_lib.records.find import reports_folder
from resnet_lib.report import execution, published
from resnet_lib.runs import ledger

SHOWN = ("text/html", "text/markdown", "text/plain")  # the first of these that an output has is what a page shows


def report(profile: str, say: Callable[[str], None] = lambda line: None) -> dict[str, list[str]]:
    """All that was checked at a profile, and of each a line for whatever does not agree with the records.

    The notebooks that were executed are executed again, training nothing.
    """
    say("records")
    found = {}
    if entries := ledger.entries(profile):
        problems = [f"{entry.path.name}: {line}" for entry in entries for line in ledger.problems(entry)]
        found[runs_in_words(len(entries))] = problems
    if published.is_published(profile):
        said = "its tables differ from the records; `resnet-lab figures` rewrites them"
        drawn = "it is drawn otherwise from the records; `resnet-lab figures` redraws it"
        try:
            stale = published.outdated()
            found |= {name: [f"{name}: {said}"] if name in stale else [] for name in published.DOCUMENTS}
            if published.can_compare_pictures():
                say("pictures")
                found["pictures"] = [f"img/{name}: {drawn}" for name in published.outdated_pictures()]
        except (LabError, ValueError) as error:  # mostly of a damaged record
            found["documents"] = [f"documents and pictures cannot be made anew: {error}"]
    notebooks = sorted((reports_folder() / profile).glob("*.ipynb"))
    executed = {path: outcome for path in notebooks if (outcome := execution.outcome_of(path))}
    if executed and profile != "smoke":
        try:
            sources.fetch()  # some show images
        except DataError as error:
            return found | {"notebooks": [f"the notebooks, which show images, were not executed again: {error}"]}
    for path, outcome in executed.items():
        say(f"{path.stem}, again")
        found[path.stem] = [f"{path.stem}: {line}" for line in _notebook(path, profile, outcome.error)]
    return found


def _notebook(path: Path, profile: str, error: str | None) -> list[str]:
    """What is wrong with an executed notebook, in which there was an error or none."""
    try:
        source = execution.source(path.stem)
    except LabError:
        return [f"the lab has no such notebook any more: delete {path}"]
    remedy = f"`resnet-lab report --profile {profile} --no-train` makes it anew"
    with tempfile.TemporaryDirectory() as name:
        again = Path(name) / path.name
        anew = execution.execute(source, {"profile": profile, "train": False}, again, lambda line: None)
        if anew.error:
            return [f"it cannot be executed again ({anew.error})"]
        if error:
            return [f"it failed ({error}); {remedy}"]
        return [f"{place} differs from the records; {remedy}" for place in differing(path, again)]


def differing(one: Path, other: Path) -> list[str]:
    """The cells of two executions of a notebook that show other texts; what was printed meanwhile is not shown."""
    shown = [texts_of(path) for path in (one, other)]
    if len(shown[0]) != len(shown[1]):
        return ["its cells"]
    return [f"cell {n + 1}" for n, (a, b) in enumerate(zip(*shown, strict=True)) if a != b]


def texts_of(path: Path) -> list[list[str]]:
    """Per cell, the text of every output that a page shows, pictures left out."""
    found = []
    for cell in nbformat.read(path, as_version=4).cells:
        shown = [output.data for output in cell.get("outputs", []) if "data" in output]
        texts = [data for data in shown if "image/png" not in data]
        found.append([next((data[kind] for kind in SHOWN if kind in data), "") for data in texts])
    return found
