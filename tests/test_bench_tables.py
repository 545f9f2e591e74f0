"""What is said and drawn of what the benchmark found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_bench import measure_bf16, shrink
from tiny_runs import CPU

from resnet_lib.config import Config
from resnet_lib.machine import device
from resnet_lib.records.record import Record
from resnet_lib.report import bench_facts, bench_figure, bench_tables, canvas, published
from resnet_lib.speed import bench, measured, pipelines
from resnet_lib.speed.breakdown import seconds_of_a_step

pytestmark = pytest.mark.usefixtures("bf16")


@pytest.fixture(scope="module")
def quick():
    """What a quick benchmark measured, as it is kept in a file, and what it said meanwhile."""
    said = []
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        measure_bf16(patch)
        return json.dumps(bench.measure(CPU, quick=True, say=said.append)), said


@pytest.fixture
def quick_result(quick):
    """Of its own for each test, which may change it."""
    return json.loads(quick[0])


def test_quick_measures_and_is_shown(quick, quick_result, tmp_path):
    result, said = quick_result, quick[1]
    rows = bench_tables.ladder(result)
    assert rows["pipeline"].tolist() == ["conventional", "ours"]
    assert rows["× conventional"][0] == "1.00"
    assert all(len(row["images_per_second"]) == 5 for row in result["networks"]["resnet20"])
    assert all(rate > 0 for row in result["networks"]["resnet20"] for rate in row["images_per_second"])
    assert list(bench_tables.networks(result)) == ["", "ResNet-20"]
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
    figure = bench_figure.draw(result)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["conventional", "ours"]
    canvas.save(figure, tmp_path / "ladder.png")


def test_the_time_of_a_step_is_told_by_kind_of_operation(small, quick_result):
    ours = bench.ladder(CPU)[-1]
    found = seconds_of_a_step(pipelines.Pipeline("resnet8", ours, 8), 3)
    assert list(found) == ["whole", "convolutions", "batch normalisation"]
    assert all(found.values())
    assert seconds_of_a_step(pipelines.Pipeline("resnet8", replace(ours, choice=replace(CPU, compile=True)), 8)) == {}
    result = quick_result
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
def test_when_compilation_pays_is_told_where_ours_is_compiled(quick_result, rate, told):
    """Steps of 2 ms, and of 1 ms if compiled."""
    result = quick_result | {"batch_size": 2}
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
    assert row["whole run (in epochs of the conventional pipeline)"] == "3.0 min (1.8)"
    assert row["test accuracy, last epoch"] == "70.00 %"
    assert row.get("to 91.25 %") == ("2.0 min (1.2)" if shown else None)


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
