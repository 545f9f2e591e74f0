"""Records → tables, all columns text; and what all tables need: Markdown, and a machine's name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from resnet_lib.config import Config
from resnet_lib.findings.claims import verdicts
from resnet_lib.findings.comparison import accuracy_of
from resnet_lib.findings.recorded import count, missing, recorded_story
from resnet_lib.findings.stats import MIN_SEEDS
from resnet_lib.questions import story
from resnet_lib.questions.wording import augmentation, described, scientific
from resnet_lib.records.find import Runs
from resnet_lib.records.record import Record

CLAIMS = (
    "Claims of the story, and the lab's readings of it: that test loss never rose may mean that it comes near its "
    "minimum in the last epochs; an accuracy may be one from before the drops. Claims about curves are about the "
    "recorded runs alone. Each interval holds alone, not jointly with the others."
)

INPUTS = ("hostile names and parameters", "random configs, CSVs, JSONs, notebooks and npz files")  # of `make soak`
TERMS_TITLE = "How the numbers are to be read"
TERMS = (
    "Intervals are of 95 %, over test images and seeds. `n`: the number of runs; for a difference, that of the smaller "
    "group. `seed sd`: the standard deviation over seeds; for a difference, of one run of the first group minus one of "
    f"the second. “Pooled”: it comes from similar settings with {MIN_SEEDS} runs or more (the same network, as long, "
    "whose rate came down, or did not, as here; if there are none, those of a difference's other side): because this "
    "one has fewer runs, or is a change of a setting, which is always judged so. Such an interval can be narrower than "
    f"one from {MIN_SEEDS} runs of its own. “Seed spread unknown”, or “over images alone”: the interval leaves seeds "
    "out, and is too narrow. “Undecided”: it allows both answers, or leaves seeds out. Each interval holds by itself; "
    "wider ones that hold jointly are marked as such. Points are percentage points; differences are those of the "
    "accuracies before these were rounded."
)


def told_and_measured(steps: dict[str, Runs], profile: str, configs: dict[str, Config] | None = None) -> pd.DataFrame:
    """One row per run of the story: what was told beside what was measured, at the last epoch. All columns are text.

    `configs` are those of a page, by label, whose parameters may be others than the story's.
    """
    rows = []
    for name, runs in steps.items():
        step = story.step(name)
        for label, records in runs.items():
            config = (configs or step.configs)[label]
            is_told = profile != "smoke" and step.tells_of(label, config)
            of_which = " (one of these)" if step.also else ""  # the story does not say which
            told = f"{step.claimed:g}{of_which}" if is_told else ""
            rows.append(
                {"step": name[:2], "run": step.named(label), **_row(config.at(profile), records, told, profile)}
            )
    return pd.DataFrame(rows)


def _row(config: Config, records: list[Record], told: str, profile: str) -> dict[str, str]:
    estimate = accuracy_of(records, profile) if records else None
    reached = max(record.history[-1]["drops"] for record in records) if records else 0
    return {
        "epochs": f"{config.total_steps / config.steps_per_epoch:.0f}",
        "weight decay": scientific(config.weight_decay),
        "images": f"{config.train_size:,}",
        "reported %": told,
        "measured %": f"{100 * estimate.mean:.1f}" if estimate else missing(config, profile),
        "95 % interval": estimate.interval if estimate else "",
        "n": count(records, config, profile),
        "LR drops made": f"{reached} of {len(config.milestones)}" if records else "",
    }


def settings(runs: Runs) -> pd.DataFrame:
    """One row per setting, whatever it is: what was trained, and what came of it, the means over its seeds."""
    rows = []
    for label, records in runs.items():
        last = [record.history[-1]["train_accuracy"] for record in records]
        means = {name: np.mean([record.result[name] for record in records]) for name in ("accuracy", "loss", "ece")}
        rows.append(
            {
                "setting": label,
                "what was trained": described(records[0].config),
                "seeds": ", ".join(str(record.config.seed) for record in records),
                f"{records[0].config.held_out} accuracy, %": f"{100 * means['accuracy']:.2f}",
                "training accuracy, %": f"{100 * np.mean(last):.2f}",
                f"{records[0].config.held_out} loss": f"{means['loss']:.3f}",
                "calibration error, %": f"{100 * means['ece']:.1f}",
            }
        )
    return pd.DataFrame(rows).fillna("")


def heading(record: Record | None) -> str:
    """Which run it is, and how many images it got wrong, as Markdown."""
    if record is None:
        return "None is recorded."
    wrong, count = (~record.correct).sum(), len(record.correct)
    return f"`{record.path.name}`: {described(record.config)}. It misclassifies {wrong:,} of {count:,} images."


def story_markdown(profile: str) -> str:
    """The results of the story as far as recorded, and what holds of what it tells, as Markdown."""
    steps, told = recorded_story(profile), story.BASELINE
    note = (
        "Step: the number of its notebook. Test accuracy after the last epoch. LR drops made: how many of those that "
        f"are scheduled came before the end. Steps 01 to 04: SGD, learning rate {told.lr:g}, momentum "
        f"{told.momentum:g}, batch {told.batch_size}, {augmentation(told)}."
    )
    if others := _in_other_precision(steps):
        note += f" All runs are in {told.precision}, except {others}."
    parts = [markdown(told_and_measured(steps, profile)), note]
    if judged := verdicts(steps, profile):
        title = "The story's claims, and the lab's readings of them: what holds"
        parts.append(folded(title, f"{CLAIMS}\n\n{judged}"))
    return "\n\n".join(parts)


def _in_other_precision(steps: dict[str, Runs]) -> str:
    """The recorded runs that are not in the precision of the others, in words."""
    shown = [records[0].config for runs in steps.values() for records in runs.values() if records]
    others = [config for config in shown if config.precision != story.BASELINE.precision]
    told = [f"{one.architecture.title}'s {one.epochs} epochs ({one.precision})" for one in others]
    return ", ".join(dict.fromkeys(told))


def provenance(records: list[Record]) -> pd.DataFrame:
    """Where the numbers of runs come from, a row for each."""
    return pd.DataFrame(
        [
            {
                "run": record.path.name,
                "device": ", then ".join(machines(record)),
                "precision": record.config.precision,
                "torch": record.result["environment"]["torch"],
                "network from": record.result["model_source"],
                "data (SHA-256)": record.result["data_sha256"][:12],
                "commit": record.result["commit"][:12] + record.result["commit"][40:],  # " with changes", too
                "training time": f"{record.result['training_seconds']:,.0f} s",
            }
            for record in records
        ]
    )


def machine(environment: dict[str, Any]) -> str:
    """`AMD EPYC, AVX512, 2 threads`, as far as it was noted; of a GPU its name alone."""
    parts = [environment["device_name"]]
    if environment.get("device", "cpu") == "cpu":
        parts += [environment["instructions"]] if "instructions" in environment else []
        threads = environment["threads"]
        parts.append(f"{threads} threads" if threads > 1 else "1 thread")
    return ", ".join(parts)


def machines(record: Record, leave_out: str = "") -> list[str]:
    """What a run was trained on, in order: `NVIDIA H200`, `AMD EPYC, AVX512, 2 threads`; of the last, all is known."""
    last = {name: value for name, value in record.result["environment"].items() if name != leave_out}
    return [machine(last) if name == last["device_name"] else name for name in record.seconds_by_device]


def markdown(table: pd.DataFrame) -> str:
    rows = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def folded(summary: str, text: str) -> str:
    """Markdown of which a reader first sees the summary alone."""
    return f"<details><summary>{summary}</summary>\n\n{text}\n\n</details>"


def faults_markdown(found: dict[str, Any]) -> str:
    """What `make soak` tried and how much of it was survived, as Markdown."""
    tried = sum(row["tried"] for row in found["faults"].values())
    rows = [
        {"fault": fault, "tried": f"{row['tried']:,}", "survived": f"{row['survived']:,}"}
        for fault, row in found["faults"].items()
    ]
    survived = sum(row["survived"] for row in found["faults"].values())
    where = f"{machine(found['environment'])}, torch {found['environment']['torch']}"
    inputs = sum(row["tried"] for fault, row in found["faults"].items() if fault in INPUTS)
    said = f"<code>make soak</code> on {found['date'][:10]} ({where}): {tried - inputs:,} injected faults and "
    said += f"{inputs:,} random or hostile inputs"
    how = f"{found['minutes']:g} minutes of faults at random, then every fault of the tests"
    how += f" (commit {found['commit'][:10]})."
    survivors = "all survived" if survived == tried else f"{survived:,} survived"
    return folded(f"{said}, {survivors}", f"{markdown(pd.DataFrame(rows))}\n\n{how}")
