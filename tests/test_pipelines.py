"""The benchmark's ladder: every rung trains, does what it is named for, and is timed as it is told."""

from __future__ import annotations

import itertools
import platform
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tiny_runs import CPU

from resnet_lib.machine.device import Choice
from resnet_lib.models.products import ProductConv2d
from resnet_lib.speed import bench, pipelines
from resnet_lib.training.metrics import RunningTotals
from resnet_lib.training.update import Replay

pytestmark = pytest.mark.usefixtures("bf16")


def test_the_ladder_adds_one_improvement_at_a_time():
    for choice in (CPU, Choice("cuda", 1, True, compile=True, graph=True), Choice("mps", 1, False)):
        rungs = bench.ladder(choice)
        for before, after in itertools.pairwise(rungs):
            fields = ["in_memory", "read_once", "fused", "precision"]
            changed = [name for name in fields if getattr(before, name) != getattr(after, name)]
            names = [name for name in choice.as_dict() if getattr(before.choice, name) != getattr(after.choice, name)]
            assert len(changed + names) == 1, after.name
        assert rungs[0].choice == Choice(choice.device, 1, False)
        assert rungs[-1].choice == choice


def test_the_usual_pipeline_is_in_tf32_only_where_there_is_some(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda: True)
    assert bench.ladder(Choice("cuda", 1, True))[0].precision == "tf32"
    assert bench.ladder(CPU)[0].precision == "fp32"
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda: False)
    assert bench.ladder(Choice("cuda", 1, True))[0].precision == "fp32"


LIBC, VERSION = platform.libc_ver()
KEEPS = LIBC == "glibc" and tuple(map(int, VERSION.split(".")[:2])) >= (2, 35)


@pytest.mark.skipif(not KEEPS, reason="needs glibc 2.35, which can be told to keep blocks of more than 32 MiB")
def test_a_run_on_a_cpu_keeps_freed_memory():
    """In a process of its own, for it is the process's: page faults without and with."""
    code = """
import resource, torch
from resnet_lib.machine.device import Choice
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(40 << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
given_back = faults()
Choice("cpu", 1, False).activate()
faults()
print(given_back, faults())
"""
    given_back, kept = map(int, subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert given_back >= 50  # some 50,000, or a hundred where pages are of 2 MiB
    assert kept < given_back / 10


@pytest.mark.parametrize("rung", [0, -1], ids=["conventional", "ours"])
def test_a_rate_is_of_images_and_leaves_the_first_step_out(small, clock, rung):
    pipeline, trained = pipelines.Pipeline("resnet8", bench.ladder(CPU)[rung], 8), []
    pipeline.network.register_forward_hook(lambda module, inputs, logits: trained.append(len(logits)))
    assert pipeline.rate(5.0) == 5 * 8
    assert sum(trained) == 8 + 5 * 8


def test_every_rung_trains(small):
    for rung in bench.ladder(CPU):
        pipeline = pipelines.Pipeline("resnet8", rung, 8)
        before = [p.clone() for p in pipeline.network.parameters()]
        pipeline.steps(2)
        assert all(not torch.equal(a, b) for a, b in zip(before, pipeline.network.parameters(), strict=True))
        assert all(p.isfinite().all() for p in pipeline.network.parameters())


def noting(events, conventional_step):
    def step(*arguments):
        events.append("conventional")
        conventional_step(*arguments)

    return step


def test_every_rung_does_what_it_is_named_for(small, monkeypatch):
    """As seen from the network, the optimizer and the metrics: that a rung trains does not tell it from another."""
    events, read = [], RunningTotals.read
    monkeypatch.setattr(torch, "compile", lambda function, **options: events.append("compiled") or function)
    monkeypatch.setattr(RunningTotals, "read", lambda totals: events.append("read") or read(totals))
    monkeypatch.setattr(pipelines.Pipeline, "conventional_step", noting(events, pipelines.Pipeline.conventional_step))
    found = []
    for rung in bench.ladder(replace(CPU, compile=True)):
        pipeline = pipelines.Pipeline("resnet8", rung, 8)
        pipeline.network.fc.register_forward_hook(lambda module, inputs, logits: events.append(str(logits.dtype)[6:]))
        pipeline.steps(1)
        if next(pipeline.network.parameters()).is_contiguous(memory_format=torch.channels_last):
            events.append("channels_last")
        if any(isinstance(module, ProductConv2d) for module in pipeline.network.modules()):
            events.append("products")
        if pipeline.optimizer.param_groups[0]["fused"]:
            events.append("fused")
        found.append(sorted(events))
        events.clear()
    assert found == [
        ["conventional", "float32"],
        ["float32", "read"],
        ["float32"],
        ["channels_last", "float32"],
        ["channels_last", "float32", "products"],
        ["bfloat16", "channels_last", "products"],
        ["bfloat16", "channels_last", "fused", "products"],
        ["bfloat16", "channels_last", "compiled", "fused", "products"],
    ]


@pytest.mark.parametrize("graph", [True, False])
def test_a_rung_with_a_graph_replays_it(small, graph):
    rung = replace(bench.ladder(CPU)[-1], choice=replace(CPU, graph=graph))
    assert isinstance(pipelines.Pipeline("resnet8", rung, 8).update, Replay) == graph
