"""What the notebooks call: a page knows its profile, runs configs, shows figures and says where they come from."""

from __future__ import annotations

import os
import re
from contextlib import suppress

import pandas as pd
from IPython.display import HTML, Image, Markdown, display
from matplotlib.figure import Figure

from resnet_lib.config import Config, ConfigError, checked_profile
from resnet_lib.data import cifar10, sources
from resnet_lib.data.dataset import Dataset
from resnet_lib.findings import claims, single_changes
from resnet_lib.findings.evidence import Cells
from resnet_lib.findings.recorded import runs_in_words
from resnet_lib.models.shapes import parts
from resnet_lib.questions.story import NOT_YET, stamp
from resnet_lib.records.find import Runs, find_diverged, find_runs
from resnet_lib.records.record import Diverged, Record
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.report import bars, canvas, closely, gallery, parameters, plots, tables
from resnet_lib.report.wording import first_sentence
from resnet_lib.runs import experiment

MAX_SEEDS = 100
SCREEN_DPI = 100


class Page:
    """One notebook at one profile.

    `profile` empty: `RESNET_LAB_PROFILE`, else `default`. `train` False: show what is recorded, train nothing.
    Raises ConfigError for a value that is not allowed, or a parameter that the notebook does not have.
    """

    def __init__(self, profile: str = "", seeds: int = 1, train: bool = True, default: str = "quick") -> None:
        parameters.refuse_unknown()
        self.profile = checked_profile(profile or os.environ.get("RESNET_LAB_PROFILE") or default)
        if type(seeds) is not int or not 1 <= seeds <= MAX_SEEDS:
            raise ConfigError(f"seeds = {seeds!r} is not valid: give a whole number from 1 to {MAX_SEEDS}")
        if type(train) is not bool:
            raise ConfigError(f"train = {train!r} is not valid: give True or False")
        self.seeds = range(seeds)
        self.train = train
        if text := stamp(self.profile):
            self.text(f"**{text}**")

    # --- runs

    def run(self, configs: dict[str, Config]) -> Runs:
        """Train what this page's seeds lack, if it may; then every record of every config at its profile.

        Of a run that diverges there is none, and the page says so. Seeds beyond the page's own are shown where somebody
        ran them: a page tells no less of a network than the report does.
        """
        if self.train:
            self._train([config.replace(seed=seed) for config in configs.values() for seed in self.seeds])
        runs = self.recorded(configs)
        ended = {label: find_diverged(config.at(self.profile), self.profile) for label, config in configs.items()}
        for label, places in ended.items():
            for place in places:
                self.text(f"**{label}: a run diverged at {place}**")
        if lacking := sum(not (records or ended[label]) for label, records in runs.items()):
            how = "set `train = True` to train what is missing"
            self.text(f"*Not yet recorded: {lacking} of {len(runs)} configurations; {how}.*")
        return runs

    def _train(self, configs: list[Config]) -> None:
        sized = [config.at(self.profile) for config in configs]
        folders = [RunFolder.of(config, self.profile) for config in sized]
        lacking = sum(folder.is_open for folder in folders)
        if lacking and self.profile == "full":
            print(  # and not as a text of the page, which is compared with what the records say
                f"{lacking} of {runs_in_words(len(sized))} to train at full size: minutes to days each on a CPU. "
                "`resnet-lab full --plan` tells of those that the lab plans. They can be interrupted at any time, and "
                "go on where they stopped."
            )
        for config in sized:
            with suppress(Diverged):
                experiment.run(config, self.profile)

    def recorded(self, configs: dict[str, Config]) -> Runs:
        """Every record of every config at this page's profile, whoever trained it."""
        return find_runs(configs, self.profile)

    # --- what is shown of them

    def images(self, config: Config) -> None:
        """Show images that `config` trains on at this page's profile."""
        if dataset := self._dataset(config.at(self.profile)):
            caption = "Training images, one row per class, with the number of images in each."
            self.figure(gallery.images(dataset, self.profile), caption)

    def network(self, config: Config) -> None:
        """Show what the network of `config` makes of an image, at this page's profile."""
        found = parts(config.at(self.profile))
        millions = sum(part.parameters for part in found) / 1e6
        said = f"{config.architecture.title} on an image of 3×32×32, part by part: {millions:.2f} million parameters."
        rows = [(part.name, "×".join(map(str, part.output)), f"{part.parameters:,}") for part in found]
        self.table(pd.DataFrame(rows, columns=["part", "output (channels × height × width)", "parameters"]), said)

    def curves(self, runs: Runs) -> None:
        """Show training loss, held-out accuracy and loss by epoch."""
        self.figure(plots.curves(runs, self.profile), plots.CAPTION, plots.settling(runs))

    def results(self, step: str, runs: Runs, configs: dict[str, Config]) -> None:
        """Show what a step of the story told beside what these runs of it reached."""
        self.table(tables.told_and_measured({step: runs}, self.profile, configs).drop(columns="step"))

    def verdicts(self, step: str, runs: Runs, configs: dict[str, Config]) -> None:
        """Show what a step of the story says, judged by these runs of it."""
        self.text(claims.page(step, runs, configs, self.profile))

    def suspects(self, configs: dict[str, Config], caption: str) -> None:
        """Show what each of some changes does to the first of `configs`, and which of them were not yet run."""
        lacking = single_changes.lacking(configs, self.profile)
        left = f" {NOT_YET.capitalize()}: {'; '.join(lacking)}." if lacking else ""
        self.table(single_changes.table(configs, self.profile), caption + left)

    def waterfalls(self, ways: list[Cells]) -> None:
        """Show how the gap between the story and the paper divides among the choices, on each way."""
        self.figure(bars.waterfalls(ways), bars.WAYS)

    def one_run(self, record: Record | None) -> None:
        """Show a run closely: which classes it confuses, whether its confidence is deserved, where it is wrong."""
        self.text(tables.heading(record))
        if record:
            self.figure(closely.confusion(record, self.profile), closely.CONFUSION)
            self.figure(closely.reliability(record, self.profile), closely.RELIABILITY)
            self.mistakes(record)

    def mistakes(self, record: Record) -> None:
        """Show the images of which a run was most sure and wrong."""
        if record.correct.all():
            self.text("It made no mistake.")
        elif dataset := self._dataset(record.config):
            self.figure(closely.mistakes(record, dataset, self.profile), closely.MISTAKES)

    def _dataset(self, config: Config) -> Dataset | None:
        """The images of a config; says so where a page that trains nothing has to do without them."""
        if self.train or config.dataset != "cifar10" or sources.is_cached():
            return cifar10.load(config)
        self.text("*The images are not on this machine: `resnet-lab data` gets them.*")
        return None

    def provenance(self, *shown: Runs) -> None:
        """Show where each number of the page comes from, one row per run, and how the numbers are to be read."""
        records = {record.path: record for runs in shown for found in runs.values() for record in found}.values()
        hours = sum(record.result["training_seconds"] for record in records) / 3600
        said = f"{runs_in_words(len(records))}, {hours:,.1f} hours of training in all"
        table = tables.provenance(list(records)).to_html(index=False, border=0) if records else ""
        display(HTML(f'<details class="provenance"><summary>{said}</summary>{table}</details>'))
        terms = re.sub("`(.+?)`", r"<code>\1</code>", tables.TERMS)  # no Markdown: pages do not fold that of an output
        display(HTML(f"<details><summary>{tables.TERMS_TITLE}</summary><p>{terms}</p></details>"))

    # --- figures, words, tables

    def figure(self, figure: Figure | None, caption: str, note: str = "") -> None:
        """Show a figure with its caption, and with what is to be known of it; where nothing can be drawn, say so."""
        if figure:
            shown = Image(canvas.drawn(figure, "png", SCREEN_DPI))  # not left to a backend, which may be another
            display(shown, metadata={"image/png": {"alt": first_sentence(caption)}})
        self.text(
            f"*{caption}* {note}".rstrip() if figure else f"*No figure yet: what it needs is not recorded. {caption}*"
        )

    def text(self, text: str) -> None:
        """Show Markdown."""
        display(Markdown(text))

    def table(self, table: pd.DataFrame, caption: str = "") -> None:
        """Show a table, and of what size the experiment was; of an empty one, that its runs are missing."""
        if table.empty:
            more = "" if NOT_YET in caption.lower() else f"{NOT_YET.capitalize()}."
        else:
            more = f"({stamp(self.profile)})" if stamp(self.profile) else ""
        if said := f"{caption} {more}".strip():
            self.text(f"*{said}*")
        if not table.empty:
            display(HTML(table.to_html(index=False, border=0)))
