"""Executed notebooks as pages that read offline, and their index."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html
from pygments.formatters import HtmlFormatter

from resnet_lib.findings.recorded import recorded_story
from resnet_lib.machine.files import write_atomic
from resnet_lib.records.find import reports_folder, runs_folder
from resnet_lib.report import answer, checklist, commands, plots, summary
from resnet_lib.report.execution import outcome_of
from resnet_lib.report.published import figures
from resnet_lib.report.results import body
from resnet_lib.report.wording import first_sentence

INTERVAL = r"\[([-+]?\d+\.\d+), ([-+]?\d+\.\d+)\]"  # as of an estimate
PAGES = PackageLoader("resnet_lib.report", "")


@cache
def templates() -> Environment:
    return Environment(loader=PAGES, autoescape=True)


def render(notebook: Path, title: str, profile: str) -> Path:
    """The notebook as one HTML page: code folded away, pictures and style inside, no address outside it."""
    exporter = HTMLExporter(
        template_name="basic", template_file="folded_code.html", extra_loaders=[PAGES], embed_images=True
    )
    body, _ = exporter.from_filename(str(notebook))
    path = notebook.with_suffix(".html")
    return write_page("page.html", path, title=title, profile=profile, body=body)


def write_index(profile: str) -> Path:
    """`index.html`: what was run, now or before, what came out of it, the figures of the whole story."""
    folder = reports_folder() / profile
    found = {path: outcome for path in sorted(folder.glob("*.ipynb")) if (outcome := outcome_of(path))}
    for path, outcome in found.items():
        if not _is_rendered(path):  # executed elsewhere: published notebooks come without their pages
            render(path, outcome.title, profile)
    drawn = {path.stem for path in figures(profile, folder / "img")}
    return write_page(
        "index.html",
        folder / "index.html",
        title="Why does a ResNet on CIFAR-10 stop at 80 %?",
        profile=profile,
        outcomes=[*found.values()],
        recorded={
            name: f"settings recorded: {sum(map(bool, runs.values()))} of {len(runs)}"
            for name, runs in recorded_story(profile).items()
        },
        answer=_html("\n\n".join([summary.short(), answer.answer(profile), commands.reached()]))
        if profile == "full"
        else "",
        checklist=_html(checklist.checklist("runs", "05_root_cause.html", str(runs_folder(profile))))
        if profile == "full"
        else "",
        results=_html(body(profile)),
        curves=plots.FIGURE if plots.FIGURE in drawn else "",
        alt=first_sentence(plots.CAPTION),
        caption=plots.CAPTION,
    )


def _html(text: str) -> str:
    """Of Markdown, in which no line breaks within an interval."""
    return re.sub(INTERVAL, r"[\1,&nbsp;\2]", markdown2html(text))


def _is_rendered(notebook: Path) -> bool:
    page = notebook.with_suffix(".html")
    return page.exists() and page.stat().st_mtime >= notebook.stat().st_mtime


def write_page(template: str, path: Path, **content: Any) -> Path:
    content["styles"] = HtmlFormatter().get_style_defs(".highlight")  # the colours of code
    write_atomic(path, templates().get_template(template).render(**content).encode())
    return path
