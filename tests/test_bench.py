"""The benchmark measures what it says; no test looks at a time."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from threading import Barrier, Semaphore
from types import SimpleNamespace

import pytest
import torch
from tiny_runs import CPU

from resnet_lib.config import Config
from resnet_lib.machine.device import Choice
from resnet_lib.report import bench_facts, bench_figure, bench_tables
from resnet_lib.speed import bench, cost, measured, memory, pipelines

pytestmark = pytest.mark.usefixtures("bf16")


@pytest.mark.parametrize("missing", ["", "there is no C++ compiler"])
def test_what_was_tried_and_is_no_part_of_ours_is_told_beside_the_table(small, monkeypatch, missing):
    def rates(model, rungs, repeats, say):
        return [
            {
                "name": rung.name,
                "start_seconds": 9.0,
                "images_per_second": [400.0 if rung.choice.compile else 250.0 if rung.name == "fp32" else 500.0] * 2,
            }
            for rung in rungs
        ]

    monkeypatch.setattr(bench, "rates", rates)
    monkeypatch.setattr(bench, "missing_to_compile", lambda device: missing)
    monkeypatch.setattr(bench, "peak_memory", lambda model, rung, say: 1 << 20)
    monkeypatch.setattr(bench, "flops_per_image", lambda config: 1e9)
    result = bench.measure(CPU)
    assert any("time of a step" in fact for fact in bench_facts.facts(result))
    for model in ("resnet20", "resnet50"):
        assert [rung["name"] for rung in result["networks"][model]] == [rung.name for rung in bench.ladder(CPU)]
    assert bench_tables.latest([result]).count(f"| + {measured.PRODUCTS} |") == 2
    panels = [axes.get_title("left") for axes in bench_figure.draw(result).axes]
    assert [name in panel for name, panel in zip(("ResNet-20", "ResNet-50"), panels, strict=True)] == [True, True]
    told = [fact for fact in bench_facts.facts(result) if "torch.compile" in fact]
    expected = (
        "With torch.compile, which ours does without: 400 images/s, 0.80 times as many as ours (0.80–0.80 within the "
        "repeats), after a start of 9 s."
    )
    assert told == ([] if missing else [expected])
    told = "iterations, evaluations left out: 273 min. Both in bf16; in fp32, as runs are unless told otherwise, the "
    assert any(f"{told}iterations take 546 min (250 images/s)." in fact for fact in bench_facts.facts(result))


def test_a_cost_and_an_evaluation_are_told_in_images_a_second(small, clock):
    assert cost.images_per_second(Config(model="resnet8", batch_size=8), CPU) == cost.STEPS * 8
    assert bench.evaluation(bench.ladder(CPU)[-1], lambda line: None) == {"images_per_second": [64] * 5}


def test_the_ceiling_is_the_best_of_the_products_and_a_copy_reads_and_writes(small, monkeypatch):
    """A multiply-add counts as two; each call takes half a second."""
    monkeypatch.setattr(bench, "MATRICES", (32, 64, 48))
    monkeypatch.setattr(bench, "best_of", lambda call, device: 0.5)
    flops = 2 * 64**3 / 0.5
    assert bench.ceiling(CPU, lambda line: None) == {"fp32": flops, "bf16": flops, "copy": 2 * (1 << 16) / 0.5}


def test_flops_are_those_of_the_layers():
    """ResNet-20, three times its multiply-adds but for the gradient of the images, which nobody asks for."""
    multiply_adds = 32 * 32 * (27 * 16 + 6 * 144 * 16)
    multiply_adds += 16 * 16 * (144 * 32 + 5 * 288 * 32) + 8 * 8 * (288 * 64 + 5 * 576 * 64) + 640
    expected = 2 * (3 * multiply_adds - 32 * 32 * 27 * 16)
    assert cost.flops_per_image(Config(model="resnet20")) == pytest.approx(expected, rel=1e-9)


@pytest.mark.skipif(memory._bytes_of_process("VmHWM") is None, reason="this system does not tell it")
def test_peak_memory_grows_with_the_activations_that_are_kept():
    rung = bench.ladder(CPU)[2]  # fp32: bf16 saves less where a processor has no instructions for it
    small, large = (bench.peak_memory(model, rung, lambda line: None) for model in ("resnet8", "resnet56"))
    # Nine times the blocks, beside what does not grow; of that a process has more or less from the start.
    assert 2 < large / small < 9


def ended(*_):
    os._exit(1)  # as the system ends what takes too much memory


def test_memory_that_cannot_be_measured_costs_no_benchmark(monkeypatch):
    monkeypatch.setattr(memory, "_peak_memory", ended)
    heard = []
    assert bench.peak_memory("resnet8", bench.ladder(CPU)[0], heard.append) is None
    assert "is not known: the process that was to measure was ended" in heard[-1]


def test_the_sweep_measures_what_it_names(small, monkeypatch):
    """With a real pipeline, but never more than 8 images in a batch."""
    measured, rates = [], bench.rates

    def rates_of_few(model, rungs, repeats, say, batch):
        measured.append((model, batch, rungs[0].choice.threads))
        return rates(model if len(measured) == 1 else "resnet8", rungs, repeats, say, 8)

    monkeypatch.setattr(bench, "rates", rates_of_few)
    monkeypatch.setattr(bench, "side_by_side", lambda rung, runs: 100.0 * runs)
    found = bench.sweep(replace(CPU, threads=3), lambda line: None)
    assert [model for model, *_ in measured[:5]] == [f"resnet{depth}" for depth in (20, 32, 44, 56, 110)]
    assert [batch for _, batch, _ in measured[5:11]] == [int(batch) for batch in found["batch size"]]
    assert [threads for *_, threads in measured[11:]] == [int(threads) for threads in found["threads"]]
    assert "3" in found["threads"]  # those of every run, and no number of runs at a time
    assert "3" not in found["concurrent runs"]
    assert found["concurrent runs"]["1"] == 100
    assert all(rate > 0 for row in found.values() for rate in row.values())
    assert bench_tables.sweep(found)["varied"].tolist() == ["depth", "batch size", "concurrent runs", "threads"]


def test_runs_side_by_side_add_up_and_share_the_threads_out(monkeypatch):
    """Threads in place of processes, each of which waits for all the others and says 100 images/s."""
    threads = []

    def one_of_many(rung, barrier, seconds):
        threads.append(rung.choice.threads)
        barrier.wait()
        return 100.0

    monkeypatch.setattr(bench, "_one_of_many", one_of_many)
    monkeypatch.setattr(bench.pool, "processes", lambda runs, is_cuda: ThreadPoolExecutor(runs))
    for of_all, of_each in ((9, 3), (1, 1)):
        assert bench.side_by_side(bench.ladder(Choice("cpu", of_all, True))[0], 3) == 300
        assert threads == [of_each] * 3
        threads.clear()


def test_processes_train_side_by_side():
    rung = next(rung for rung in bench.ladder(Choice("cpu", 2, True)) if rung.name == "channels_last")  # fp32
    assert bench.side_by_side(rung, 2, seconds=0.01) > 0


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(), BrokenProcessPool(), RuntimeError("MPS: out of memory")])
def test_runs_that_do_not_fit_side_by_side_end_the_row_and_keep_what_was_found(monkeypatch, error):
    def fits(rung, runs):
        if runs > 2:
            raise error
        return 100.0 * runs

    monkeypatch.setattr(bench, "side_by_side", fits)
    lines = []
    assert bench.concurrent(bench.ladder(CPU)[0], [1, 2, 4, 8], lines.append) == {1: 100, 2: 200}
    assert lines[-1] == "4 concurrent runs are too many for the memory of cpu"


def test_what_went_wrong_in_one_of_many_is_told(monkeypatch):
    """Not that another waited for it in vain. Threads in place of processes: the first waits, the second fails."""
    begun = Semaphore(0)
    outcomes = iter([SimpleNamespace(steps=lambda count: None), torch.OutOfMemoryError()])

    class InTurn(ThreadPoolExecutor):
        def submit(self, *arguments):
            future = super().submit(*arguments)
            assert begun.acquire(timeout=30)  # or the one that fails could be the first
            return future

    def pipeline(*arguments):
        outcome = next(outcomes)
        begun.release()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(bench, "Pipeline", pipeline)
    monkeypatch.setattr(bench.pool, "processes", lambda runs, is_cuda: InTurn(runs))
    with pytest.raises(torch.OutOfMemoryError):
        bench.side_by_side(bench.ladder(CPU)[0], 2)


def test_one_of_many_that_fails_leaves_no_other_waiting(monkeypatch):
    def exhausted(*arguments):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(bench, "Pipeline", exhausted)
    barrier = Barrier(2)
    with pytest.raises(torch.OutOfMemoryError):
        bench._one_of_many(bench.ladder(CPU)[0], barrier, 0.01)
    assert barrier.broken


def test_a_sweep_says_of_concurrent_runs_whether_mps_was_started(small, monkeypatch, tmp_path):
    """Which only a GPU has: the choice is for one, the measuring left out."""
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(bench, "rates", lambda *_, **__: [{"images_per_second": [1.0]}])
    monkeypatch.setattr(bench, "concurrent", lambda *_: {1: 1.0})
    gpu = Choice("cuda", 1, True, graph=True)
    assert "concurrent runs" in bench.sweep(gpu, lambda line: None)
    (tmp_path / "control").touch()
    assert "concurrent runs, with MPS" in bench.sweep(gpu, lambda line: None)
    assert "concurrent runs" in bench.sweep(CPU, lambda line: None)


def test_where_a_processor_has_no_instructions_for_bf16_nothing_is_measured_in_it(small, monkeypatch):
    for place in (pipelines, bench):
        monkeypatch.setattr(place, "has_bf16", lambda device: False)
    result = bench.measure(CPU, quick=True)
    assert bench.ladder(CPU)[-1].precision == result["precision"] == "fp32"
    assert sorted(result["ceiling"]) == ["copy", "fp32"]
    assert result["tried"] == []
    assert "% of fastest fp32 matmul" in bench_tables.networks(result)[""].tolist()
    assert any(
        fact.endswith("Both in fp32: bf16 has no instructions here, and would be slower.")
        for fact in bench_facts.facts(result)
    )
