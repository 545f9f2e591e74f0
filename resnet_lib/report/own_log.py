"""What `resnet-lab diagnose` shows of somebody's own log, as tables of text."""

from __future__ import annotations

import pandas as pd

from resnet_lib.architecture import Architecture
from resnet_lib.findings import own_log
from resnet_lib.questions import agenda
from resnet_lib.records.record import Record
from resnet_lib.report.tables import scientific

SEEN = {True: "yes", False: "no", None: "?"}
HOW_TO_READ = (
    f"Distance: mean difference of the accuracies over {own_log.TENTHS} parts of the training, in points; of each "
    "setting its nearest run. Numbers in brackets are those of the checklist in the README, whose first point, the "
    "code, no curve shows: see to it first."
)


def signs(log: Record) -> pd.DataFrame:
    """One row for each sign of trouble: whether the log shows it, and what then."""
    rows = [
        {
            "sign": one.name,
            "seen": SEEN[one.is_seen],
            "the log": one.evidence,
            "then": one.advice if one.is_seen else "",
        }
        for one in own_log.signs(log)
    ]
    return pd.DataFrame(rows)


def nearest(log: Record) -> pd.DataFrame:
    """One row for each of the `full` records that are most like the log, the nearest first; none if nothing is."""
    unique = {run.path: run for runs in agenda.recorded("full").values() for run in runs}
    rows = [
        {
            "distance": f"{distance:.1f}",
            "what was trained": described(run),
            "ended at": f"{100 * run.accuracy:.1f} %",
            "record": run.path.name,
        }
        for distance, run in own_log.nearest(log, unique.values())
    ]
    return pd.DataFrame(rows)


def described(run: Record) -> str:
    """The settings that matter most, in words: `ResNet-20, crop and flip, weight decay 5e-4, ..., 100 epochs`."""
    config = run.config
    arch = Architecture(config.model)
    parts = [arch.title]
    if config.stem and config.stem != arch.shape:
        parts.append({"cifar": "3×3 stem", "imagenet": "ImageNet's stem"}[config.stem])
    parts.append(" and ".join(["crop"] * bool(config.crop) + ["flip"] * bool(config.flip)) or "no augmentation")
    parts.append(f"weight decay {scientific(config.weight_decay)}")
    drops = run.history[-1]["drops"]
    falls = f"{drops or 'no'} drop{'' if drops == 1 else 's'}" if config.schedule == "multistep" else config.schedule
    parts += [f"learning rate {config.lr:g}, {falls}", f"{len(run.history)} epochs"]
    return ", ".join(parts)
