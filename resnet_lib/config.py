"""What a run is: one frozen, validated `Config` holds every setting of the experiment.

Its fingerprint names the run. What changes its speed, and each step by rounding alone (device, memory layout, threads,
compilation), is not here but in `resnet_lib.machine.device`.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from resnet_lib.architecture import Architecture
from resnet_lib.errors import LabError, in_words

PROTOCOL = 1  # raise whenever a change of the code changes results: old records are then not taken for new ones

TRAIN_IMAGES = {"all": 50_000, "train45k": 45_000, "train45k-test": 45_000}
TEST_IMAGES = {"all": 10_000, "train45k": 5_000, "train45k-test": 10_000}

Profile = Literal["smoke", "quick", "full"]

# What a profile makes of an experiment; `full` leaves it as it is.
SIZES: dict[str, dict[str, Any]] = {
    "smoke": {"train_images": 200, "test_images": 100, "epochs": 2, "width": 4},
    "quick": {"train_images": 1_000, "test_images": 500, "epochs": 5},
}


def checked_profile(name: str) -> Profile:
    """Raises ConfigError for a name that is no profile's."""
    if name not in get_args(Profile):
        raise ConfigError(f"profile = {name!r} is not valid: choose {', '.join(get_args(Profile))}")
    return name


class ConfigError(LabError):
    """A value that is not valid; the message names the field, the value and what is valid."""


class Config(BaseModel):
    """Everything that determines the result of one training run.

    `epochs` is the length, and `milestones` count epochs, unless `iterations` is given: then it is the length, and
    milestones count iterations, as the paper does (64,000 with drops at 32,000 and 48,000).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    protocol: int = PROTOCOL

    # data
    dataset: Literal["cifar10", "synthetic"] = "cifar10"
    # train45k: hold out 5,000 training images, and evaluate on those, or with -test on the test images all the same
    split: Literal["all", "train45k", "train45k-test"] = "all"
    train_images: int | None = Field(None, ge=10, le=50_000)  # a fixed stratified subset; None: all of the split
    test_images: int | None = Field(None, ge=10, le=10_000)
    normalize: Literal["channel", "pixel", "none"] = "channel"  # pixel: per-pixel mean alone, as the paper
    crop: int = Field(0, ge=0, le=16)  # pixels of padding (0 once normalised) before a random 32x32 crop; 0: no crop
    flip: bool | Literal["alternating"] = False  # mirror half of the images, drawn anew, or the other half each epoch

    # network
    model: str = "resnet20"  # resnetD, plainD or hub-resnetD; see `Architecture`
    stem: Literal["cifar", "imagenet"] | None = None  # None: the one that belongs to the body
    shortcut: Literal["A", "B"] | None = None  # None: A on the CIFAR shape, B on the ImageNet shape
    width: int | None = Field(None, ge=1, le=512)  # filters of the first stage; None: 16 (CIFAR) or 64 (ImageNet)
    init: Literal["torch"] | None = None  # torch: the layers' own; None: He-normal, or what the hub gives

    # optimisation
    epochs: int = Field(10, ge=1, le=10_000)
    iterations: int | None = Field(None, ge=1, le=10_000_000)
    batch_size: int = Field(128, ge=1, le=50_000)
    lr: float = Field(0.1, gt=0, le=100)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(1e-4, ge=0, le=1)
    decayed: Literal["all", "weights"] = "all"  # weights: neither batch norm's parameters nor biases
    muon_lr: float | None = Field(None, gt=0, le=1)  # Muon for convolutions, at this rate where others have `lr`
    schedule: Literal["multistep", "cosine", "onecycle"] = "multistep"  # multistep without milestones: constant
    milestones: tuple[int, ...] = ()
    gamma: float = Field(0.1, gt=0, le=1)  # factor at each milestone
    warmup: int = Field(0, ge=0)  # iterations before the schedule takes over
    warmup_start: float = Field(0.1, ge=0, le=1)  # lr at the first step, as a share of `lr`
    warmup_shape: Literal["linear", "constant"] = "linear"  # constant: stays at the start, as ResNet-110's 0.01
    onecycle_peak: float = Field(0.2, gt=0, lt=1)  # share of the run after its warm-up at which one-cycle reaches `lr`
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"  # tf32: NVIDIA's; bf16: autocast, parameters stay float32
    seed: int = Field(0, ge=0, lt=4096)  # with the epoch it seeds a generator of which torch uses 32 bits

    @field_validator("milestones", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value  # JSON has no tuples

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        arch = self.architecture
        if arch.family == "hub" and (self.stem == "imagenet" or self.shortcut or self.width or self.init):
            raise ValueError(
                f"model '{self.model}' can only be changed by stem 'cifar': leave shortcut, width and init unset, and "
                "stem 'imagenet', which it already has"
            )
        if arch.family == "plain" and self.shortcut:
            raise ValueError(f"model '{self.model}' has no shortcuts: leave shortcut unset")
        if list(self.milestones) != sorted(set(self.milestones)) or any(m < 1 for m in self.milestones):
            raise ValueError(f"milestones {self.milestones} must be positive and increasing")
        if self.milestones and self.schedule != "multistep":
            raise ValueError(f"milestones belong to schedule 'multistep', not '{self.schedule}'")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum above 0")
        for field, limits in (("train_images", TRAIN_IMAGES), ("test_images", TEST_IMAGES)):
            count, limit = getattr(self, field), limits[self.split]
            if count and count > limit:
                raise ValueError(f"{field} {count} is more than the {limit:,} of split '{self.split}'")
        images = self.train_size
        if self.total_epochs > 2**20:
            raise ValueError(f"{self.total_epochs:,} epochs are too many: at most {2**20:,} are drawn apart")
        last_batch = images % self.batch_size or self.batch_size
        if arch.shape == "imagenet" and self.stem != "cifar" and last_batch == 1:
            raise ValueError(
                f"batch_size {self.batch_size} leaves one of {images:,} images for the last batch, but batch norm on "
                f"the 1x1 maps of '{self.model}' needs two or more: use another batch_size"
            )
        return self

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise ConfigError(in_words(error, list(Config.model_fields))) from None

    def replace(self, /, **changes: Any) -> Config:
        """A copy with some fields changed, validated again; pydantic's own `model_copy` does not validate."""
        return Config(**{**self.model_dump(), **changes})

    __replace__ = replace  # for copy.replace

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits of SHA-256 over every field that differs from its default, the seed left out.

        Defaults are left out so that a later field, whose default means what the code did before, renames no run; and
        so is what changes nothing in this run: `epochs` where `iterations` stand in their place, a milestone to which
        it does not come, a stem, shortcut or width that the network has anyway, and the like. `protocol` always counts.
        """
        length = self.iterations or self.epochs
        reached = self.model_copy(update={"milestones": tuple(m for m in self.milestones if m < length)})
        unused = {
            "seed": True,
            "epochs": self.iterations is not None,
            "gamma": not reached.milestones,
            "warmup_start": not self.warmup,
            "warmup_shape": not self.warmup,
            "onecycle_peak": self.schedule != "onecycle",
            "train_images": self.train_images == TRAIN_IMAGES[self.split],
            "test_images": self.test_images == TEST_IMAGES[self.split],
        }
        usual = {name: getattr(self, name) == value for name, value in self.architecture.usual.items()}
        idle = {name for name, is_idle in {**unused, **usual}.items() if is_idle}
        fields = reached.model_dump(mode="json", exclude=idle, exclude_defaults=True) | {"protocol": self.protocol}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def architecture(self) -> Architecture:
        return Architecture(self.model)

    @property
    def held_out(self) -> Literal["test", "val"]:
        """What the evaluated images are called: nothing measured on the test set is ever `val`."""
        return "val" if self.split == "train45k" else "test"

    @property
    def train_size(self) -> int:
        """How many images are trained on: all of the split, unless fewer were asked for."""
        return self.train_images or TRAIN_IMAGES[self.split]

    @property
    def total_images(self) -> int:
        """How many images the whole run trains on: the last batch of an epoch may be smaller than the others."""
        epochs, steps = divmod(self.total_steps, self.steps_per_epoch)
        return epochs * self.train_size + min(steps * self.batch_size, self.train_size)

    @property
    def test_size(self) -> int:
        """How many held-out images are evaluated."""
        return self.test_images or TEST_IMAGES[self.split]

    @property
    def length_label(self) -> str:
        return f"{self.iterations}it" if self.iterations else f"{self.epochs}ep"

    @property
    def run_id(self) -> str:
        """Name of the run's folder: model, length, seed, fingerprint."""
        return f"{self.model}-{self.length_label}-s{self.seed}-{self.fingerprint}"

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training images; the last batch of a pass may be smaller."""
        return math.ceil(self.train_size / self.batch_size)

    @property
    def total_steps(self) -> int:
        return self.iterations or self.epochs * self.steps_per_epoch

    @property
    def total_epochs(self) -> int:
        """Passes over the training images; the last one may end early."""
        return math.ceil(self.total_steps / self.steps_per_epoch)

    @property
    def milestone_steps(self) -> tuple[int, ...]:
        """The steps from which each further drop applies."""
        unit = 1 if self.iterations else self.steps_per_epoch
        return tuple(m * unit for m in self.milestones)

    def at(self, profile: Profile) -> Config:
        """This experiment at the size of a profile: fewer images and epochs, milestones scaled with them (but never 0).

        And in fp32, because bf16 is many times slower on CPUs without its instructions. `full` is as it is given.
        """
        if profile == "full":
            return self
        size = SIZES[profile]
        images = min(self.train_images or size["train_images"], size["train_images"])
        steps = math.ceil(images / self.batch_size)  # of an epoch
        unit, length, most = "epochs", self.epochs, size["epochs"]
        if self.iterations:
            unit, length, most = "iterations", self.iterations, size["epochs"] * steps
        limit = min(length, most)
        total_steps = limit if self.iterations else limit * steps
        is_ours = self.architecture.family != "hub"
        return self.replace(
            **{unit: limit},
            train_images=images,
            test_images=min(self.test_images or size["test_images"], size["test_images"]),
            milestones=tuple(sorted({max(1, round(m * limit / length)) for m in self.milestones})),
            warmup=round(self.warmup * total_steps / self.total_steps),
            dataset="synthetic" if profile == "smoke" else self.dataset,
            precision="fp32",
            width=size.get("width", self.width) if is_ours else self.width,
        )
