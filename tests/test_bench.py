"""The benchmark runs what it says, and its tables and figure show what it found; no test looks at a time."""

import itertools
import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from resnet_lib.__main__ import app
from resnet_lib.cli.options import _load_average as load_average
from resnet_lib.cli.options import warn_if_busy
from resnet_lib.config import Config, ConfigError
from resnet_lib.errors import LabError
from resnet_lib.machine import device
from resnet_lib.machine.device import THREADS, Choice, DeviceError
from resnet_lib.machine.provenance import environment
from resnet_lib.models.products import ProductConv2d
from resnet_lib.records.record import Record
from resnet_lib.report import bench_facts, bench_tables, canvas, published
from resnet_lib.report.ladder import ladder
from resnet_lib.speed import bench, cost, measured, pipelines
from resnet_lib.speed.breakdown import seconds_of_a_step
from resnet_lib.training.metrics import RunningTotals
from resnet_lib.training.update import Replay

CPU = Choice(device="cpu", threads=1, channels_last=True, products=True)


@pytest.fixture(autouse=True)
def bf16(monkeypatch):
    """Measured in bf16 wherever the tests run."""
    for place in (pipelines, bench):
        monkeypatch.setattr(place, "has_bf16", lambda device: True)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(pipelines, "BATCH", 8)
    for place in (pipelines, bench):
        monkeypatch.setattr(place, "IMAGES", 64)
    monkeypatch.setattr(pipelines, "BASE", pipelines.BASE.replace(batch_size=8, train_images=64))
    monkeypatch.setattr(bench, "MATRICES", (32, 64))
    monkeypatch.setattr(bench, "COPIED", 1 << 16)
    monkeypatch.setattr(pipelines.Pipeline.rate, "__defaults__", (0.01,))
    monkeypatch.setattr(bench.rates, "__defaults__", (8,))
    monkeypatch.setattr(pipelines.Pipeline.__init__, "__defaults__", (8,))


@pytest.fixture
def clock(monkeypatch):
    """From one look at the clock to the next a second passes, whatever is done in it."""
    for place in (pipelines, bench, cost):
        monkeypatch.setattr(place, "time", SimpleNamespace(perf_counter=itertools.count().__next__))


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


def test_quick_measures_and_is_shown(small, tmp_path):
    said = []
    result = json.loads(json.dumps(bench.measure(CPU, quick=True, say=said.append)))
    ladder = bench_tables.ladder(result)
    assert ladder["pipeline"].tolist() == ["conventional", "ours"]
    assert ladder["× conventional"][0] == "1.00"
    assert all(len(row["images_per_second"]) == 5 for row in result["networks"]["resnet20"])
    assert all(rate > 0 for row in result["networks"]["resnet20"] for rate in row["images_per_second"])
    assert bench_tables.networks(result)["network"].tolist() == ["ResNet-20"]
    assert result["tried"] == []
    assert "ceiling" in " ".join(said)
    assert all(value > 0 for value in result["ceiling"].values())
    text = bench_tables.latest([result])
    assert "| conventional |" in text
    page = bench_tables.to_markdown({"cpu": result | {"noted": ["by hand."]}})
    assert "% of fastest bf16 matmul" in page
    assert "Noted by hand: by hand." in page
    assert text.endswith("**NVIDIA GPU**: not measured.")
    gpu = result | {"environment": result["environment"] | {"device": "cuda", "device_name": "NVIDIA H200"}}
    older = result | {"environment": result["environment"] | {"device_name": "an older CPU"}}
    both = bench_tables.latest([gpu, result, older])  # the last CPU and the last GPU
    assert text.removesuffix("**NVIDIA GPU**: not measured.") in both
    assert f"<summary>NVIDIA H200, on {result['date'][:10]}: " in both
    assert "an older CPU" not in both
    assert bench_tables.latest([]) == "not yet run"
    page = bench_tables.to_markdown({"cpu": result, "gpu": gpu})
    assert page.index("## ") < page.index(f"## NVIDIA H200, on {result['date'][:10]}\n")
    assert "not measured." not in page
    assert "| threads | 1: 500 |" in bench_tables.to_markdown({"cpu": result | {"sweep": {"threads": {"1": 500.0}}}})
    figure = ladder(result)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["conventional", "ours"]
    canvas.save(figure, tmp_path / "ladder.png")


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
    panels = [axes.get_title("left") for axes in ladder(result).axes]
    assert [name in panel for name, panel in zip(("ResNet-20", "ResNet-50"), panels, strict=True)] == [True, True]
    told = [fact for fact in bench_facts.facts(result) if "torch.compile" in fact]
    expected = (
        "With torch.compile, which ours does without: 400 images/s, 0.80 times as many as ours (0.80–0.80 within the "
        "repeats), after a start of 9 s."
    )
    assert told == ([] if missing else [expected])
    told = "iterations, evaluations left out: 273 min. Both in bf16; in fp32, as runs are unless told otherwise, the "
    assert any(f"{told}iterations take 546 min (250 images/s)." in fact for fact in bench_facts.facts(result))


def test_the_time_of_a_step_is_told_by_kind_of_operation(small):
    ours = bench.ladder(CPU)[-1]
    found = seconds_of_a_step(pipelines.Pipeline("resnet8", ours, 8), 3)
    assert list(found) == ["whole", "convolutions", "batch normalisation"]
    assert all(found.values())
    assert seconds_of_a_step(pipelines.Pipeline("resnet8", replace(ours, choice=replace(CPU, compile=True)), 8)) == {}
    result = bench.measure(CPU, quick=True)
    assert not any("time of a step" in fact for fact in bench_facts.facts(result))
    result |= {"batch_size": 100, "flops_per_image": {"resnet20": 3e8}, "ceiling": result["ceiling"] | {"bf16": 1e12}}
    result["seconds_of_a_step"] = {"whole": 0.1, "convolutions": 0.06, "batch normalisation": 0.03}
    assert (
        "The time of a step of ResNet-20: convolutions 60 %, batch normalisation 30 %, all else 10 %. In the few "
        "steps measured for this it reached 30 % of the fastest bf16 matmul; if all but the convolutions took no time, "
        "it would reach 50 %."
    ) in bench_facts.facts(result)


@pytest.mark.parametrize(
    ("rate", "told"),
    [
        (2_000.0, "Compilation earns its start of 15 s back after 15,000 steps of ResNet-20."),
        (1_023.0, "Compilation earns its start of 15 s back after 330,000 steps of ResNet-20."),
        (1_010.0, "What compilation gains is within the ranges; its start took 15 s."),
    ],
)
def test_when_compilation_pays_is_told_where_ours_is_compiled(small, rate, told):
    """Steps of 2 ms, and of 1 ms if compiled."""
    result = bench.measure(CPU, quick=True) | {"batch_size": 2}
    rungs = result["networks"]["resnet20"] = result["networks"]["resnet20"][-1:] * 2
    assert not any("ompilation" in fact for fact in bench_facts.facts(result))
    rungs[0] = rungs[0] | {"images_per_second": [980.0, 1_000.0, 1_020.0]}
    rungs[1] = {"name": "torch.compile", "start_seconds": 15.0, "images_per_second": [rate] * 2}
    assert told in bench_facts.facts(result)
    iterations = {2_000.0: "79 s", 1_023.0: "140 s", 1_010.0: "142 s"}[rate]
    told = f"64,000 iterations, evaluations left out: {iterations}. Both in bf16 (the recipe `paper` is in fp32)."
    assert any(told in fact for fact in bench_facts.facts(result))


@pytest.mark.parametrize(("best", "shown"), [(0.80, False), (0.92, True)])
def test_time_to_accuracy_has_a_column_only_if_it_was_ever_reached(best, shown):
    result = {"networks": {"resnet20": [{"images_per_second": [500.0]}]}}  # a conventional epoch of 100 s
    history = [{"seconds": 60.0, "test_accuracy": accuracy} for accuracy in (0.5, best, 0.7)]
    record = Record(Path("run"), Config(seed=3), history, {"accuracy": 0.7})
    (row,) = bench_tables.time_to_accuracy(result, [record], 91.25).to_dict("records")
    assert row["whole run (conventional epochs)"] == "3.0 min (1.8)"
    assert row["test accuracy, last epoch"] == "70.00 %"
    assert row.get("to 91.25 %") == ("2.0 min (1.2)" if shown else None)


def test_a_busy_machine_is_told_before_anything_is_timed(monkeypatch, capsys):
    for busy, said in ((0.1, ""), (0.9, "busy in the last minute (0.9 processes per core)")):
        monkeypatch.setattr("resnet_lib.cli.options._load_average", lambda busy=busy: busy)
        warn_if_busy("the rates will be too low")
        assert said in (printed := capsys.readouterr().err)
        assert bool(printed) == bool(said)


def test_a_load_is_told_where_the_system_tells_it(monkeypatch):
    assert 0 <= load_average() < 1_000
    monkeypatch.setattr(os, "getloadavg", None)
    monkeypatch.delattr(os, "getloadavg")
    assert load_average() == 0


def test_processors_of_one_name_are_told_apart_by_their_instructions_where_noted():
    old, slow, fast = (
        {"device_name": "abacus", "threads": 2} | more
        for more in ({}, {"instructions": "AVX2"}, {"instructions": "AVX512"})
    )
    assert measured.same_machine(old, fast)
    assert not measured.same_machine(slow, fast)
    assert not measured.same_machine(old | {"threads": 1}, old)
    gpu = {"device": "cuda", "device_name": "NVIDIA H200", "threads": 16}
    assert measured.same_machine(gpu, gpu | {"threads": 2})
    assert not measured.same_machine(gpu, gpu | {"device_name": "NVIDIA H100"})


def test_from_how_many_steps_on_compilation_is_taken_to_pay_is_what_was_measured():
    """On the GPU of which the comment at COMPILE_STEPS tells."""
    path = published.CHECKOUT / "reports" / "bench" / "nvidia-h200.json"
    assert round(measured.steps_to_earn_back(json.loads(path.read_text())), -3) == device.COMPILE_STEPS


@pytest.mark.parametrize("rung", [0, -1], ids=["conventional", "ours"])
def test_a_rate_is_of_images_and_leaves_the_first_step_out(small, clock, rung):
    pipeline, trained = pipelines.Pipeline("resnet8", bench.ladder(CPU)[rung], 8), []
    pipeline.network.register_forward_hook(lambda module, inputs, logits: trained.append(len(logits)))
    assert pipeline.rate(5.0) == 5 * 8
    assert sum(trained) == 8 + 5 * 8


def test_a_cost_and_an_evaluation_are_told_in_images_a_second(small, clock):
    assert cost.images_per_second(Config(model="resnet8", batch_size=8), CPU) == cost.STEPS * 8
    assert bench.evaluation(bench.ladder(CPU)[-1], lambda line: None) == {"images_per_second": [64] * 5}


def test_the_ceiling_is_the_best_of_the_products_and_a_copy_reads_and_writes(small, monkeypatch):
    """A multiply-add counts as two; each call takes half a second."""
    monkeypatch.setattr(bench, "MATRICES", (32, 64, 48))
    monkeypatch.setattr(bench, "best_of", lambda call, device: 0.5)
    flops = 2 * 64**3 / 0.5
    assert bench.ceiling(CPU, lambda line: None) == {"fp32": flops, "bf16": flops, "copy": 2 * (1 << 16) / 0.5}


def test_every_rung_trains(small):
    for rung in bench.ladder(CPU):
        pipeline = pipelines.Pipeline("resnet8", rung, 8)
        before = [p.clone() for p in pipeline.network.parameters()]
        pipeline.steps(2)
        assert all(not torch.equal(a, b) for a, b in zip(before, pipeline.network.parameters(), strict=True))
        assert all(p.isfinite().all() for p in pipeline.network.parameters())


def test_every_rung_does_what_it_is_named_for(small, monkeypatch):
    """As seen from the network, the optimizer and the metrics: that a rung trains does not tell it from another."""
    events, read = [], RunningTotals.read
    monkeypatch.setattr(torch, "compile", lambda network, **options: events.append("compiled") or network)
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


def noting(events, conventional_step):
    def step(*arguments):
        events.append("conventional")
        conventional_step(*arguments)

    return step


@pytest.mark.parametrize("graph", [True, False])
def test_a_rung_with_a_graph_replays_it(small, graph):
    rung = replace(bench.ladder(CPU)[-1], choice=replace(CPU, graph=graph))
    assert isinstance(pipelines.Pipeline("resnet8", rung, 8).update, Replay) == graph


def test_flops_are_those_of_the_layers():
    """ResNet-20, three times its multiply-adds but for the gradient of the images, which nobody asks for."""
    multiply_adds = 32 * 32 * (27 * 16 + 6 * 144 * 16)
    multiply_adds += 16 * 16 * (144 * 32 + 5 * 288 * 32) + 8 * 8 * (288 * 64 + 5 * 576 * 64) + 640
    expected = 2 * (3 * multiply_adds - 32 * 32 * 27 * 16)
    assert cost.flops_per_image(Config(model="resnet20")) == pytest.approx(expected, rel=1e-9)


@pytest.mark.skipif(bench._bytes_of_process("VmHWM") is None, reason="this system does not tell it")
def test_peak_memory_grows_with_the_activations_that_are_kept():
    rung = bench.ladder(CPU)[2]  # fp32: bf16 saves less where a processor has no instructions for it
    peaks = [
        bench.peak_memory(model, rung, lambda line: None) for model in ("resnet8", "resnet8", "resnet8", "resnet32")
    ]
    *few, large = peaks  # what a process has from the start differs, and weighs in so small a network
    small = sorted(few)[1]
    assert 1.5 < large / small < 6  # five times the blocks, beside what does not grow


def test_the_sweep_measures_what_it_names(small, monkeypatch):
    """With a real pipeline, but never more than 8 images in a batch."""
    measured, rates = [], bench.rates

    def rates_of_few(model, rungs, repeats, say, batch):
        measured.append((model, batch, rungs[0].choice.threads))
        return rates(model if len(measured) == 1 else "resnet8", rungs, repeats, say, 8)

    monkeypatch.setattr(bench, "rates", rates_of_few)
    monkeypatch.setattr(bench, "side_by_side", lambda rung, runs: 100.0 * runs)
    found = bench.sweep(CPU, lambda line: None)
    assert [model for model, *_ in measured[:5]] == [f"resnet{depth}" for depth in (20, 32, 44, 56, 110)]
    assert [batch for _, batch, _ in measured[5:11]] == [int(batch) for batch in found["batch size"]]
    assert [threads for *_, threads in measured[11:]] == [int(threads) for threads in found["threads"]]
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_what_went_wrong_in_one_of_many_is_told():
    with pytest.raises(DeviceError, match="device 'cuda' is not available here"):
        bench.side_by_side(bench.ladder(Choice("cuda", 1, True))[0], 2)


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


def test_a_sweep_joins_what_was_measured_on_its_own_machine_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "sweep", lambda choice, say: {"depth": {"20": 100.0}})
    file = tmp_path / "bench.json"
    command = ["bench", "--sweep", "--device", "cpu", "--json", str(file)]
    here = environment(CPU) | {"threads": THREADS}
    kept = {"environment": here, "networks": {}}
    file.write_text(json.dumps(kept))
    assert CliRunner().invoke(app, command).exit_code == 0
    assert json.loads(file.read_text()) == kept | {"sweep": {"depth": {"20": 100.0}}}
    for content, words in (
        (json.dumps(kept | {"environment": here | {"device_name": "abacus"}}), "was measured on another machine"),
        ("{}", "is not there yet"),
        ('{"sweep": {}}', "is not a benchmark's"),
        ('{"networks"', "is not a benchmark's"),
        ("[]", "is not a benchmark's"),
        ('{"environment": 1, "networks": {}}', "is not a benchmark's"),
    ):
        file.write_text(content)
        with pytest.raises(LabError, match=words):
            CliRunner().invoke(app, command, catch_exceptions=False)
        assert file.read_text() == content


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--figure", "ladder.jpg"], "ladder.jpg is not the name of a PNG file: let it end in .png"),
        (["--sweep", "--quick"], "--sweep measures all that it has, and draws nothing: leave out --quick and --figure"),
        (["--sweep", "--figure", "ladder.png"], "draws nothing: leave out --quick and --figure"),
    ],
)
def test_what_a_benchmark_cannot_do_is_refused_before_it_begins(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "measure", None)
    with pytest.raises(ConfigError, match=words):
        CliRunner().invoke(app, ["bench", *options], catch_exceptions=False)


def test_a_benchmark_measured_anew_keeps_the_sweep_and_the_notes_of_its_machine(tmp_path, monkeypatch):
    here = environment(CPU) | {"threads": THREADS}
    measured = {"environment": here, "networks": {}, "date": "today"}
    monkeypatch.setattr(bench, "measure", lambda choice, quick, say: measured)
    for table in ("ladder", "networks"):
        monkeypatch.setattr(bench_tables, table, lambda result: pd.DataFrame())
    monkeypatch.setattr(bench_facts, "facts", lambda result: [])
    file = tmp_path / "bench.json"
    kept, of_a_whole_one = {"sweep": {"depth": {}}, "noted": ["by hand."]}, {"peak_bytes": {}}
    for options, before, of_before, stays in (
        ([], here, of_a_whole_one, kept),
        ([], here | {"device_name": "abacus"}, of_a_whole_one, {}),
        (["--quick"], here, {}, kept),
    ):
        file.write_text(json.dumps(measured | {"environment": before, "date": "before"} | kept | of_before))
        command = ["bench", *options, "--device", "cpu", "--json", str(file)]
        assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
        assert json.loads(file.read_text()) == measured | stays


def test_a_quick_benchmark_takes_the_place_of_no_whole_one(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "measure", None)
    file = tmp_path / "bench.json"
    whole = json.dumps({"environment": environment(CPU), "networks": {}, "peak_bytes": {}})
    file.write_text(whole)
    with pytest.raises(LabError, match=r"bench\.json is a whole benchmark, more than --quick measures"):
        CliRunner().invoke(app, ["bench", "--quick", "--device", "cpu", "--json", str(file)], catch_exceptions=False)
    assert file.read_text() == whole


def test_where_a_processor_has_no_instructions_for_bf16_nothing_is_measured_in_it(small, monkeypatch):
    for place in (pipelines, bench):
        monkeypatch.setattr(place, "has_bf16", lambda device: False)
    result = bench.measure(CPU, quick=True)
    assert bench.ladder(CPU)[-1].precision == result["precision"] == "fp32"
    assert sorted(result["ceiling"]) == ["copy", "fp32"]
    assert result["tried"] == []
    assert "% of fastest fp32 matmul" in bench_tables.networks(result)
    assert any(
        fact.endswith("Both in fp32: bf16 has no instructions here, and would be slower.")
        for fact in bench_facts.facts(result)
    )
