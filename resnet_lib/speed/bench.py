"""How fast this machine trains, and how near that comes to what it can do.

Rates are measured in one process, the candidates in turn, several times over, so that what else goes on in the machine
hits all of them alike; so does what the lab sets for a whole process, for memory. The results are lists of
rates, from which tables take the median and the range. Starts are measured once each, in that process: what the first
has loaded, the others find there.
Training speed does not depend on what the images show, so they are noise.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import torch

from resnet_lib.config import Config
from resnet_lib.machine.cores import cores
from resnet_lib.machine.device import Choice, has_bf16, missing_to_compile, out_of_memory
from resnet_lib.machine.provenance import commit, environment
from resnet_lib.runs import pool
from resnet_lib.speed.breakdown import seconds_of_a_step
from resnet_lib.speed.cost import flops_per_image
from resnet_lib.speed.measured import COMPILED, FP32, OURS, rate
from resnet_lib.speed.memory import peak_memory
from resnet_lib.speed.pipelines import BATCH, IMAGES, Pipeline, Rung, ladder, noise, synchronize
from resnet_lib.training import train
from resnet_lib.training.loader import EvaluationBatches

Say = Callable[[str], None]

MATRICES = (512, 1024, 2048, 4096)  # sizes of the square products that the ceiling is taken from
COPIED = 1 << 28  # bytes


@torch.compiler.config.patch(force_disable_caches=True)  # a start is that of a machine which never compiled
def measure(choice: Choice, quick: bool = False, say: Say = lambda line: None) -> dict[str, Any]:
    """All measurements as one JSON-able dict; `quick`: the conventional pipeline, ours, and the ceiling."""
    rungs = ladder(replace(choice, compile=False) if quick else choice)
    in_bf16 = rungs[-1].precision == "bf16"
    tried = [replace(rungs[-1], name=FP32, precision="fp32")] if in_bf16 and not quick else []  # as runs are
    if not (quick or choice.compile or missing_to_compile(choice.device)):
        tried.append(replace(rungs[-1], name=COMPILED, choice=replace(choice, compile=True)))
    ends = [rungs[0], replace(rungs[-1], name=OURS, choice=replace(choice, compile=False))]
    turns = 5 if quick or choice.device == "cuda" else 9  # a GPU's start of each pipeline takes longest, not its turns
    ours = ends if quick else rungs
    found = rates("resnet20", [*ours, *tried], turns, say)
    result: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "environment": environment(choice),
        "batch_size": BATCH,
        "precision": rungs[-1].precision,
        "networks": {"resnet20": found[: len(ours)]},
        "tried": found[len(ours) :],  # and no part of ours
        "ceiling": ceiling(choice, say),
    }
    if not quick:
        for model in ("resnet56", "resnet110"):
            result["networks"][model] = rates(model, ends, 3, say)
        result["networks"]["resnet50"] = rates("resnet50", [r for r in rungs if not r.choice.compile], 3, say)
        result["peak_bytes"] = {rung.name: peak_memory("resnet110", rung, say) for rung in ends}
        result["evaluation"] = evaluation(rungs[-1], say)
        say("resnet20: where the time of a step goes")
        result["seconds_of_a_step"] = seconds_of_a_step(Pipeline("resnet20", ends[1]))
    result["flops_per_image"] = {model: flops_per_image(Config(model=model)) for model in result["networks"]}
    return result


def rates(model: str, rungs: list[Rung], repeats: int, say: Say, batch: int = BATCH) -> list[dict[str, Any]]:
    """Images/s of each rung, `repeats` times in turn, with the seconds that its start took: to the end of step one."""
    pipelines, rows = [], []
    for rung in rungs:
        say(f"{model}: starting “{rung.name}”")
        began = time.perf_counter()
        pipelines.append(Pipeline(model, rung, batch))
        pipelines[-1].steps(1)
        rows.append({"name": rung.name, "start_seconds": time.perf_counter() - began, "images_per_second": []})
    for repeat in range(repeats):
        for pipeline, row in zip(pipelines, rows, strict=True):
            say(f"{model}, {repeat + 1} of {repeats}: “{row['name']}”")
            row["images_per_second"].append(pipeline.rate())
    return rows


def ceiling(choice: Choice, say: Say) -> dict[str, float]:
    """The machine's own limits: FLOP/s in each precision that it has, the best over square products; bytes/s copied."""
    device = choice.activate()
    found = {}
    precisions = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if has_bf16(choice.device) else {})
    for name, dtype in precisions.items():
        for size in MATRICES:
            say(f"ceiling: {name} products of {size}x{size} matrices")
            a = torch.randn(size, size, device=device).to(dtype)
            seconds = best_of(lambda a=a: a @ a, device)
            found[name] = max(found.get(name, 0.0), 2 * size**3 / seconds)
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    found["copy"] = 2 * COPIED / best_of(lambda: target.copy_(source), device)  # read and written
    return found


def best_of(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds of the fastest of seven calls; on a GPU of several launched together, for a launch takes time as well."""
    calls = 1 if device.type == "cpu" else 20
    call()
    times = []
    for _ in range(7):
        synchronize(device)
        began = time.perf_counter()
        for _ in range(calls):
            call()
        synchronize(device)
        times.append((time.perf_counter() - began) / calls)
    return min(times)


def evaluation(rung: Rung, say: Say) -> dict[str, list[float]]:
    """Images/s of the evaluation, five times after a first, with the training's precision and layout (ResNet-20)."""
    say("evaluation")
    pipeline = Pipeline("resnet20", replace(rung, choice=replace(rung.choice, compile=False)))
    held_out = EvaluationBatches(
        *noise(), pipeline.update.batches.normalize, pipeline.device, rung.choice.memory_format
    )
    train.evaluate(pipeline.network, held_out, pipeline.config)  # in which libraries choose their algorithms
    found = []
    for _ in range(5):
        began = time.perf_counter()
        train.evaluate(pipeline.network, held_out, pipeline.config)
        found.append(IMAGES / (time.perf_counter() - began))
    return {"images_per_second": found}


# --- sweep


def nvidia_mps_is_started() -> bool:
    """Whether NVIDIA's Multi-Process Service is: with it processes compute on a GPU together, else in turn.

    Its control daemon has a pipe in this folder (NVIDIA's documentation of MPS, "Environment variables").
    """
    return Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"), "control").exists()


def sweep(choice: Choice, say: Say) -> dict[str, dict[str, float]]:
    """Images/s of ours against depth, batch size, threads and concurrent runs (of ResNet-20 where not said)."""
    rung = replace(ladder(replace(choice, compile=False))[-1], name=OURS)

    def one(model: str = "resnet20", batch: int = BATCH, rung: Rung = rung) -> float:
        return rate(rates(model, [rung], 3, say, batch)[0])

    counts = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= cores()]
    threads = sorted({*counts, choice.threads})
    runs = counts if choice.device == "cpu" else [1, 2, 4, 8]
    together = ", with MPS" if choice.device == "cuda" and nvidia_mps_is_started() else ""
    found = {
        "depth": {depth: one(f"resnet{depth}") for depth in (20, 32, 44, 56, 110)},
        "batch size": {batch: one(batch=batch) for batch in (32, 64, 128, 256, 512, 1024)},
        f"concurrent runs{together}": concurrent(rung, runs, say),
    }
    if choice.device == "cpu":
        found["threads"] = {n: one(rung=replace(rung, choice=replace(rung.choice, threads=n))) for n in threads}
    return {name: {str(key): value for key, value in row.items()} for name, row in found.items()}


def concurrent(rung: Rung, counts: list[int], say: Say) -> dict[int, float]:
    """Images/s of so many processes together, for each of the counts until one is too many for the device."""
    found = {}
    for runs in counts:
        say(f"{runs} concurrent runs")
        try:
            found[runs] = side_by_side(rung, runs)
        except (MemoryError, RuntimeError) as error:  # as is a broken pool: the system ends what takes too much memory
            if not isinstance(error, BrokenProcessPool) and not out_of_memory(error):
                raise
            say(f"{runs} concurrent runs are too many for the memory of {rung.choice.device}")
            break
    return found


def side_by_side(rung: Rung, runs: int, seconds: float = 5.0) -> float:
    """Images/s of several processes together, dealt out to all GPUs, or sharing the CPU's threads."""
    threads = max(1, rung.choice.threads // runs)
    rung = replace(rung, choice=replace(rung.choice, threads=threads))
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, pool.processes(runs, rung.choice.device == "cuda") as executor:
        barrier = manager.Barrier(runs)
        all_of_them = [executor.submit(_one_of_many, rung, barrier, seconds) for _ in range(runs)]
        for one in all_of_them:  # what went wrong in one is told, not that the others could not wait for it
            if (error := one.exception()) and not isinstance(error, BrokenBarrierError):
                raise error
        return sum(one.result() for one in all_of_them)


def _one_of_many(rung: Rung, barrier: Any, seconds: float) -> float:
    try:
        pipeline = Pipeline("resnet20", rung)
        pipeline.steps(1)
    except BaseException:
        barrier.abort()  # or the others would wait for this one for ever
        raise
    barrier.wait()
    return pipeline.rate(seconds)
