"""Ways to train that have a name: presets of `Config`, any field of which can still be given another value."""

from __future__ import annotations

from typing import Any

from resnet_lib.config import ConfigError

RECIPES: dict[str, dict[str, Any]] = {
    # He et al. 2015, section 4.2, as in its final runs: all 50,000 images. The paper's batches of 128 were spread over
    # two GPUs, so that its batch norm probably saw 64 images at a time; here it sees all of them.
    "paper": {"iterations": 64_000, "milestones": (32_000, 48_000), "crop": 4, "flip": True, "normalize": "pixel"},
    # One-cycle and Muon, a seventh of the paper's passes. On the validation split, one seed each, ResNet-20 came to
    # 91.14 and 91.26 % in 16 epochs with `muon_lr` 0.02 and 0.04; with SGD alone (lr 0.4), to 91.10 % in 30. Then, on
    # all images, 18 epochs with 0.03 gave 90.70 % on the test images (seed 0), and these 24 gave 91.09, 90.68, 91.10 %.
    "fast": {
        "epochs": 24,
        "schedule": "onecycle",
        "lr": 0.1,
        "muon_lr": 0.04,
        "onecycle_peak": 0.2,
        "nesterov": True,
        "weight_decay": 5e-4,
        "decayed": "weights",
        "crop": 4,
        "flip": "alternating",
        "precision": "bf16",
    },
}

# The paper's ResNet-110 starts at lr 0.01 "until the training error is below 80% (about 400 iterations)".
SLOW_START = {"warmup": 400, "warmup_start": 0.1, "warmup_shape": "constant"}


def recipe(name: str, model: str) -> dict[str, Any]:
    """The fields of a recipe for a network. Raises ConfigError for a name that is none."""
    if name not in RECIPES:
        raise ConfigError(f"recipe = {name!r} is not valid: choose {' or '.join(RECIPES)}")
    return RECIPES[name] | (SLOW_START if (name, model) == ("paper", "resnet110") else {})
