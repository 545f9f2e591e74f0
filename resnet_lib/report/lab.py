"""The lab: its notebooks, each executed and rendered as a page."""

from __future__ import annotations

from collections.abc import Callable

from resnet_lib.questions import story
from resnet_lib.records.find import reports_folder
from resnet_lib.report.execution import Outcome, execute, source
from resnet_lib.report.pages import render, write_index

# In the order in which they are executed: each shows runs of those before it alone.
NOTEBOOKS = (*(step.notebook for step in story.STEPS), "06_paper_table", "05_root_cause", "explore", "report")
NEVER_TRAIN = {"explore", "report"}


def report(
    profile: str,
    names: tuple[str, ...] = NOTEBOOKS,
    train: bool = True,
    say: Callable[[str], None] = lambda line: None,
    done: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Execute notebooks at a profile and render them below `reports/<profile>/`, with an index of all that are there.

    A notebook that fails keeps its output, with the error in it, and does not stop the others. `say` hears every
    line that a notebook prints while it runs, `done` the outcome of each. Raises LabError for an unknown notebook,
    before any is executed.
    """
    sources = [source(name) for name in names]
    folder = reports_folder() / profile
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for number, path in enumerate(sources, 1):
        say(f"{path.stem} starts, {number} of {len(sources)}")
        outcomes.append(execute(path, {"profile": profile, "train": train}, folder / path.name, say))
        render(folder / path.name, outcomes[-1].title, profile)
        done(outcomes[-1])
    write_index(profile)
    return outcomes
