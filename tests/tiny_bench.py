"""The benchmark at a tiny size, in bf16, by a clock that tests can foretell."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

from resnet_lib.speed import bench, cost, pipelines


def measure_bf16(monkeypatch):
    for place in (pipelines, bench):
        monkeypatch.setattr(place, "has_bf16", lambda device: True)


def shrink(monkeypatch):
    monkeypatch.setattr(pipelines, "BATCH", 8)
    for place in (pipelines, bench):
        monkeypatch.setattr(place, "IMAGES", 64)
    monkeypatch.setattr(pipelines, "BASE", pipelines.BASE.replace(batch_size=8, train_images=64))
    monkeypatch.setattr(bench, "MATRICES", (32, 64))
    monkeypatch.setattr(bench, "COPIED", 1 << 16)
    monkeypatch.setattr(pipelines.Pipeline.rate, "__defaults__", (0.01,))
    monkeypatch.setattr(bench.rates, "__defaults__", (8,))
    monkeypatch.setattr(pipelines.Pipeline.__init__, "__defaults__", (8,))


def count_looks(monkeypatch):
    for place in (pipelines, bench, cost):
        monkeypatch.setattr(place, "time", SimpleNamespace(perf_counter=itertools.count().__next__))
