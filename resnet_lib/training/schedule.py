"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from resnet_lib.config import Config

FINAL_SHARE = 1e-4  # of the peak: where one-cycle begins and ends, as good as zero


def lr_at(step: int, config: Config) -> float:
    """Learning rate of optimizer step `step`, counted from 0.

    Multi-step: `gamma` once for every milestone reached (He et al. 2015, section 4.2: at 32k and 48k iterations).
    Cosine: Loshchilov & Hutter 2017, one half period to zero. One-cycle: linear to `lr` at `onecycle_peak` of the
    way, then linear towards zero (after Smith 2018). Any of them may be preceded by a warm-up: milestones count from
    the start of the run all the same, the others from the end of the warm-up.
    """
    if step < config.warmup:
        done = step / config.warmup if config.warmup_shape == "linear" else 0.0
        return config.lr * (config.warmup_start + (1 - config.warmup_start) * done)
    if config.schedule == "multistep":
        return config.lr * config.gamma ** drops_before(step, config)
    first, last = config.warmup, config.total_steps
    progress = min(1.0, (step - first) / max(1, last - first))  # past the end: as at the end
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * progress))
    if progress < config.onecycle_peak:
        return config.lr * max(FINAL_SHARE, progress / config.onecycle_peak)
    return config.lr * max(FINAL_SHARE, (1 - progress) / (1 - config.onecycle_peak))


def drops_before(step: int, config: Config) -> int:
    """How many of the milestones lie at or before `step`; one past the end of the run is legal and never counts."""
    return sum(step >= milestone for milestone in config.milestone_steps)
