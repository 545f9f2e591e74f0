"""What `resnet-lab diagnose` shows of somebody's own log: its signs in lines, and the runs most like it in a table."""

from __future__ import annotations

import pandas as pd

from resnet_lib.findings import own_log, own_signs
from resnet_lib.findings.selection import finished
from resnet_lib.questions.wording import described
from resnet_lib.records.find import runs_folder
from resnet_lib.report.wording import in_range

FAR = 2  # times as far as two seeds of one setting are: another case
COMPARED = (
    f"Distance: mean difference of the accuracies over {own_log.TENTHS} parts of the training, in points; of each "
    "setting its nearest run."
)
CHECKLIST = "The checklist is the README's, “If your own ResNet stops at 80 %”; its first point, code, no curve shows."


def signs(log: own_log.Log) -> list[str]:
    """Of each sign of trouble that can be told, whether the log shows it, by what, and what then."""
    told = []
    for one in own_signs.signs(log):
        then = [f"then: {one.advice}"] if one.seen in ("yes", "in part") else []
        told.append("\n    ".join([f"{one.name}: {one.seen}", *one.evidence, *then]))
    return told


def nearest(log: own_log.Log) -> tuple[pd.DataFrame, str]:
    """One row for each of the `full` records that are most like the log, the nearest first, and how to read them."""
    if log.lost:
        return pd.DataFrame(), "It is compared with no record, for none diverged."
    recorded = [run for run in finished("full") if (run.config.dataset, run.config.train_images) == ("cifar10", None)]
    found, seeds = own_log.nearest(log, recorded), own_log.apart(log, recorded)
    if not recorded:
        return pd.DataFrame(), f"There are no records in {runs_folder('full')} to compare it with."
    if not found:
        each = "" if log.first is not None else ", one for each row, as there is no column `epoch`"
        return pd.DataFrame(), (
            "No record is at least half and at most twice as long as this log (taken for "
            f"{log.epochs:,} epochs{each}), so it is compared with none."
        )
    said = COMPARED
    if log.first and log.first > 1:
        said += f" The log begins at epoch {log.first}: what came before is not compared."
    if seeds:
        is_near = found[0][0] <= FAR * seeds[-1]
        said += f" Seeds of one setting are {in_range(seeds)} apart: " + (
            "what is much further away is another case."
            if is_near
            else f"no record is like this log, and the nearest, {found[0][0]:.1f} points away, is another case."
        )
    rows = [
        {
            "distance": f"{distance:.1f}",
            "what was trained": described(run.config),
            "ended at": f"{100 * run.accuracy:.1f} %",
            "record": run.path.name,
        }
        for distance, run in found
    ]
    return pd.DataFrame(rows), said
