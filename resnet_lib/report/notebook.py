"""What the notebooks call: a page knows its profile, runs configs, shows figures and says where they come from."""

from __future__ import annotations

import ast
import os
from contextlib import suppress
from typing import Any

import pandas as pd
from IPython import get_ipython
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure

from resnet_lib.config import Config, ConfigError, checked_profile
from resnet_lib.data import cifar10, sources
from resnet_lib.data.cifar10 import Dataset
from resnet_lib.findings.judgement import runs_in_words
from resnet_lib.questions.story import NOT_YET, stamp
from resnet_lib.records.find import Runs, find_diverged, find_runs
from resnet_lib.records.record import Diverged, Record
from resnet_lib.report import closely, gallery, tables
from resnet_lib.runs import experiment

MAX_SEEDS = 100
INJECTED = "# Parameters"  # first line of the cell in which papermill puts the values it was given


class Page:
    """One notebook at one profile.

    `profile` empty: `RESNET_LAB_PROFILE`, else quick. `train` False: show what is recorded, train nothing.
    Raises ConfigError for a value that is not allowed, or a parameter that the notebook does not have.
    """

    def __init__(self, name: str, profile: str = "", seeds: int = 1, train: bool = True) -> None:
        refuse_unknown_parameters()
        self.name = name
        self.profile = checked_profile(profile or os.environ.get("RESNET_LAB_PROFILE") or "quick")
        if type(seeds) is not int or not 1 <= seeds <= MAX_SEEDS:
            raise ConfigError(f"seeds = {seeds!r} is not valid: give a whole number from 1 to {MAX_SEEDS}")
        if type(train) is not bool:
            raise ConfigError(f"train = {train!r} is not valid: give True or False")
        self.seeds = range(seeds)
        self.train = train
        self._say_profile()

    def images(self, config: Config, caption: str) -> None:
        """Show images that `config` trains on at this page's profile."""
        if dataset := self._dataset(config.at(self.profile)):
            self.figure(gallery.images(dataset, self.profile), caption)

    def mistakes(self, record: Record | None, caption: str) -> None:
        """Show the images of which a run was most sure and wrong."""
        if record is None:
            self.figure(None, caption)
        elif record.correct.all():
            self.text("It made no mistake.")
        elif dataset := self._dataset(record.config):
            self.figure(closely.mistakes(record, dataset, self.profile), caption)

    def _dataset(self, config: Config) -> Dataset | None:
        """The images of a config; says so where a page that trains nothing has to do without them."""
        if self.train or config.dataset != "cifar10" or sources.is_cached():
            return cifar10.load(config)
        display(Markdown("*The images are not on this machine: `resnet-lab data` gets them.*"))
        return None

    def run(self, configs: dict[str, Config]) -> Runs:
        """Train what this page's seeds lack, if it may; then every record of every config at its profile.

        Of a run that diverges there is none, and the page says so. Seeds beyond the page's own are shown where somebody
        ran them: a page tells no less of a network than the report does.
        """
        for config in configs.values() if self.train else ():
            for seed in self.seeds:
                with suppress(Diverged):
                    experiment.run(config.replace(seed=seed).at(self.profile), self.profile)
        runs = find_runs(configs, self.profile)
        ended = {label: find_diverged(config.at(self.profile), self.profile) for label, config in configs.items()}
        for label, places in ended.items():
            for place in places:
                display(Markdown(f"**{label}: a run diverged at {place}**"))
        if lacking := sum(not (records or ended[label]) for label, records in runs.items()):
            how = "`resnet-lab full --plan` says how long" if self.profile == "full" else "with `train` they are run"
            display(Markdown(f"*{lacking} of {len(runs)} configurations have no record yet: {how}.*"))
        return runs

    def figure(self, figure: Figure | None, caption: str) -> None:
        """Show a figure with its caption; where there is nothing to draw, say so."""
        if figure:
            display(figure, metadata={"image/png": {"alt": caption}})
        display(Markdown(f"*{caption}*" if figure else f"*No figure, for want of records: {caption}*"))

    def text(self, text: str) -> None:
        """Show Markdown, and of what size the experiment was."""
        display(Markdown(text))
        self._say_profile()

    def table(self, table: pd.DataFrame, caption: str = "") -> None:
        """Show a table, and of what size the experiment was; of an empty one, that its runs are missing."""
        said = f"{caption} {NOT_YET.capitalize()}.".strip() if table.empty else caption
        if said:
            display(Markdown(f"*{said}*"))
        if not table.empty:
            display(HTML(table.to_html(index=False, border=0)))
        self._say_profile()

    def provenance(self, runs: Runs) -> None:
        """Show where each number of the page comes from, one row per run."""
        records = {record.path: record for found in runs.values() for record in found}.values()
        rows = [
            {
                "run": record.path.name,
                "device": ", then ".join(tables.machines(record)),
                "precision": record.config.precision,
                "torch": record.result["environment"]["torch"],
                "network from": record.result["model_source"],
                "data (SHA-256)": record.result["data_sha256"][:12],
                "commit": record.result["commit"][:12] + record.result["commit"][40:],  # " with changes", too
                "training time": f"{record.result['training_seconds']:,.0f} s",
            }
            for record in records
        ]
        hours = sum(record.result["training_seconds"] for record in records) / 3600
        said = f"{runs_in_words(len(records))}, {hours:,.1f} hours of training in all"
        table = pd.DataFrame(rows).to_html(index=False, border=0) if rows else ""
        display(HTML(f'<details class="provenance"><summary>{said}</summary>{table}</details>'))
        self._say_profile()

    def _say_profile(self) -> None:
        if text := stamp(self.profile):
            display(Markdown(f"**{text}**"))


def refuse_unknown_parameters() -> None:
    """papermill only warns of a parameter that the notebook lacks; here it is an error, before anything is trained."""
    shell = get_ipython()
    cells = shell.user_ns.get("In", []) if shell else []
    declared = {name for cell in cells for name in declared_names(cell)}
    for cell in cells:
        if cell.startswith(INJECTED):
            for name in assigned_names(cell):
                if name not in declared:
                    raise ConfigError(f"unknown parameter '{name}': this notebook has {', '.join(sorted(declared))}")


def declared_names(cell: str) -> list[str]:
    """Names that a cell declares with a type: `epochs: int = 10`."""
    targets = [node.target for node in _statements(cell) if isinstance(node, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def assigned_names(cell: str) -> list[str]:
    targets = [target for node in _statements(cell) if isinstance(node, ast.Assign) for target in node.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _statements(cell: str) -> list[Any]:
    try:
        return ast.parse(cell).body
    except SyntaxError:  # a cell of magics or of a person's experiments
        return []
