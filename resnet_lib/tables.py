"""Records → tables, all columns text."""

from __future__ import annotations

import pandas as pd

from resnet_lib import story
from resnet_lib.claims import accuracy, verdicts
from resnet_lib.config import TRAIN_IMAGES, Architecture, Config
from resnet_lib.paper import TABLE_6
from resnet_lib.records import Record, Runs, find_runs
from resnet_lib.stats import MIN_SEEDS
from resnet_lib.story import NOT_YET, stamp


def results(steps: dict[str, Runs], profile: str) -> pd.DataFrame:
    """A row a run of the story: what was told beside what was measured, at the last epoch. All columns are text."""
    rows = []
    for name, runs in steps.items():
        step = story.step(name)
        for label, records in runs.items():
            config = records[0].config if records else step.configs[label].at(profile)
            told = f"{step.claimed:g}" if step.tells_of(label, records, profile) else ""
            rows.append({"step": name[:2], "run": label, **_row(config, records, told)})
    return pd.DataFrame(rows)


def _row(config: Config, records: list[Record], told: str) -> dict[str, str]:
    estimate = accuracy(records) if records else None
    happened = max(record.history[-1]["drops"] for record in records) if records else "–"
    return {
        "network": _network(config),
        "epochs": f"{config.total_steps() / config.steps_per_epoch():.0f}",
        "images": f"{config.train_images or TRAIN_IMAGES[config.split]:,}",
        "published %": told,
        "ours %": f"{100 * estimate.mean:.1f}" if estimate else NOT_YET,
        "95 % interval": estimate.interval if estimate else "",
        "n": str(len(records)),
        "drops": f"{happened} of {len(config.milestones)}",
    }


def _network(config: Config) -> str:
    arch = Architecture(config.model)
    return f"{'plain' if arch.family == 'plain' else 'ResNet'}-{arch.depth}{' (torch.hub)' * (arch.family == 'hub')}"


def paper_results(profile: str) -> pd.DataFrame:
    """Table 6 of He et al. (2015), in the columns of `results`."""
    configs = story.paper_configs()
    rows = [
        {"step": "Table 6", "run": "as in the paper"}
        | _row(configs[model].at(profile), records, f"{TABLE_6[model].accuracy:.2f}")
        for model, records in find_runs(configs, profile).items()
    ]
    return pd.DataFrame(rows)


def story_markdown(profile: str) -> str:
    """The results of the story and of the paper's own runs, and what holds of the steps recorded, as Markdown."""
    steps = story.runs(profile)
    table = pd.concat([results(steps, profile), paper_results(profile)])
    rows = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    note = (
        "Accuracy on the test images at the last epoch. The interval is a bootstrap over these images, and over seeds "
        f"too from {MIN_SEEDS} runs on; `n` counts runs, `drops` the learning-rate drops that happened. Steps 01 to 04 "
        "train without augmentation; Table 6 is that of He et al. (2015), with it."
    )
    recorded = {name: runs for name, runs in steps.items() if any(runs.values())}
    body = ["\n".join(f"| {' | '.join(row)} |" for row in rows), note, verdicts(recorded, profile)]
    return "\n\n".join([f"**{stamp(profile)}**", *body] if stamp(profile) else body)
