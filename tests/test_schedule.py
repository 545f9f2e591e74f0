import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_lib.config import Config
from resnet_lib.training.schedule import FINAL_SHARE, drops_before, lr_at

STEPS = 60
BASE = {"iterations": STEPS, "lr": 0.3}
WARMUP = {"warmup": 12, "warmup_start": 0.25}


def reference(step, config):
    """The rule of every schedule written down again, drop by drop and line by line."""
    if step < config.warmup:
        low = config.warmup_start * config.lr
        return low if config.warmup_shape == "constant" else low + (config.lr - low) * step / config.warmup
    if config.schedule == "multistep":
        lr = config.lr
        for milestone in config.milestones:
            lr = lr * config.gamma if step >= milestone else lr
        return lr
    share = (step - config.warmup) / (config.iterations - config.warmup)
    if config.schedule == "cosine":
        return config.lr * math.cos(math.pi * share / 2) ** 2  # (1 + cos 2x) / 2 = cos² x
    rising, falling = share / config.onecycle_peak, (1 - share) / (1 - config.onecycle_peak)
    return config.lr * max(FINAL_SHARE, min(rising, falling))


@pytest.mark.parametrize("warmup", [{}, WARMUP, {**WARMUP, "warmup_shape": "constant"}], ids=["", "linear", "constant"])
@pytest.mark.parametrize(
    "schedule",
    [
        {},
        {"milestones": (20, 40), "gamma": 0.2},
        {"milestones": (5, 20)},  # the first one within the warm-up
        {"schedule": "cosine"},
        {"schedule": "onecycle"},
        {"schedule": "onecycle", "onecycle_peak": 0.45},
    ],
    ids=str,
)
def test_every_schedule_against_a_plain_reference(schedule, warmup):
    config = Config(**BASE, **schedule, **warmup)
    for step in range(STEPS):
        assert lr_at(step, config) == pytest.approx(reference(step, config), rel=1e-12)


@pytest.mark.parametrize(
    ("fields", "scheduler"),
    [
        (
            {"milestones": (20, 40), "gamma": 0.2},
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [20, 40], gamma=0.2),
        ),
        ({"milestones": (1, 2, 3)}, lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [1, 2, 3])),
        ({"schedule": "cosine"}, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS)),
        (
            {"milestones": (30,), **WARMUP},
            lambda o: torch.optim.lr_scheduler.ChainedScheduler(
                [
                    torch.optim.lr_scheduler.LinearLR(o, 0.25, total_iters=12),
                    torch.optim.lr_scheduler.MultiStepLR(o, [30]),
                ]
            ),
        ),
    ],
    ids=["multistep", "early", "cosine", "warmup"],
)
def test_step_by_step_what_torchs_schedulers_give(fields, scheduler):
    config = Config(**BASE, **fields)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config.lr)
    theirs = scheduler(optimizer)
    for step in range(STEPS):
        assert lr_at(step, config) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(
    "fields",
    [
        {"iterations": 64_000, "milestones": (32_000, 48_000)},  # He et al. 2015, section 4.2
        {"epochs": 164, "milestones": (82, 123)},  # 391 steps an epoch
    ],
    ids=["iterations", "epochs"],
)
def test_a_drop_applies_from_the_first_step_after_its_milestone(fields):
    config = Config(**fields)
    unit = 1 if config.iterations else 391
    first, second = (m * unit for m in config.milestones)
    steps = (0, first - 1, first, second - 1, second, config.total_steps - 1)
    assert [lr_at(s, config) for s in steps] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert [drops_before(s, config) for s in steps] == [0, 0, 1, 1, 2, 2]


def test_a_milestone_past_the_end_never_counts():
    config = Config(epochs=10, milestones=(50, 75))
    assert {lr_at(step, config) for step in range(config.total_steps)} == {config.lr}
    assert drops_before(config.total_steps - 1, config) == 0


def test_the_110_layer_networks_warmup_stays_at_a_tenth():
    config = Config(iterations=64_000, milestones=(32_000,), warmup=400, warmup_shape="constant")
    assert [lr_at(step, config) for step in (0, 200, 399, 400)] == pytest.approx([0.01, 0.01, 0.01, 0.1])


def test_one_cycle_starts_and_ends_near_zero_and_peaks_once():
    config = Config(schedule="onecycle", iterations=100, lr=0.4)
    rates = [lr_at(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.4 * FINAL_SHARE)
    assert max(rates) == rates[20] == pytest.approx(0.4)
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] == pytest.approx(0.4 / 80)  # one step before zero
    assert lr_at(100, config) == pytest.approx(0.4 * FINAL_SHARE)


@pytest.mark.parametrize("beyond", [0, 1, 17, 1000])
@pytest.mark.parametrize(
    ("schedule", "final"), [("multistep", 1.0), ("cosine", 0.0), ("onecycle", FINAL_SHARE)], ids=str
)
def test_past_the_end_it_stays_at_the_end(schedule, final, beyond):
    assert lr_at(STEPS + beyond, Config(**BASE, schedule=schedule)) == pytest.approx(0.3 * final, abs=1e-12)


@st.composite
def configs(draw):
    schedule = draw(st.sampled_from(["multistep", "cosine", "onecycle"]))
    milestones = draw(st.sets(st.integers(1, 500), max_size=4)) if schedule == "multistep" else ()
    length = draw(st.sampled_from(["epochs", "iterations"]))
    share = st.floats(0.01, 0.99)
    return Config(
        **{length: draw(st.integers(1, 300))},
        train_images=draw(st.integers(10, 500)),
        batch_size=draw(st.integers(1, 200)),
        lr=draw(st.floats(1e-6, 100)),
        schedule=schedule,
        milestones=tuple(sorted(milestones)),
        gamma=draw(st.floats(0.01, 1)),
        warmup=draw(st.integers(0, 400)),
        warmup_start=draw(st.floats(0, 1)),
        warmup_shape=draw(st.sampled_from(["linear", "constant"])),
        onecycle_peak=draw(share),
    )


@given(configs(), st.floats(0, 1))
def test_the_rate_is_never_negative_nor_above_its_peak(config, where):
    step = round(where * (config.total_steps - 1))
    lr = lr_at(step, config)
    assert 0 <= lr <= config.lr * (1 + 1e-12)
    if config.warmup_start > 0 or step >= config.warmup:
        assert lr > 0


@given(configs())
def test_after_the_warmup_it_only_falls_but_for_one_cycles_rise(config):
    first = config.warmup
    if config.schedule == "onecycle":
        first += math.ceil(config.onecycle_peak * max(1, config.total_steps - config.warmup))
    rates = [lr_at(step, config) for step in range(first, min(config.total_steps, first + 300))]
    assert rates == sorted(rates, reverse=True)
