"""Records and benchmarks → tables, all columns text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from resnet_lib.architecture import Architecture
from resnet_lib.config import RECIPES, TEST_IMAGES, TRAIN_IMAGES, Config
from resnet_lib.findings.claims import verdicts
from resnet_lib.findings.judgement import accuracy
from resnet_lib.findings.stats import MIN_SEEDS
from resnet_lib.questions import paper_runs, story
from resnet_lib.questions.paper import TABLE_6
from resnet_lib.questions.story import NOT_YET, missing, stamp
from resnet_lib.records.record import Record, Runs, find_runs, find_seeds


def results(steps: dict[str, Runs], profile: str) -> pd.DataFrame:
    """One row per run of the story: what was told beside what was measured, at the last epoch. All columns are text."""
    rows = []
    for name, runs in steps.items():
        step = story.step(name)
        for label, records in runs.items():
            config = records[0].config if records else step.configs[label].at(profile)
            told = f"{step.claimed:g}" if step.tells_of(label, records, profile) else ""
            rows.append({"step": name[:2], "run": label, **_row(config, records, told, profile)})
    return pd.DataFrame(rows)


def _row(config: Config, records: list[Record], told: str, profile: str) -> dict[str, str]:
    estimate = accuracy(records) if records else None
    reached = max(record.history[-1]["drops"] for record in records) if records else 0
    return {
        "network": Architecture(config.model).title,
        "epochs": f"{config.total_steps() / config.steps_per_epoch():.0f}",
        "weight decay": f"{config.weight_decay:g}",
        "images": f"{config.train_images or TRAIN_IMAGES[config.split]:,}",
        "reported %": told,
        "ours %": f"{100 * estimate.mean:.1f}" if estimate else missing(config, profile),
        "95 % interval": estimate.interval if estimate else "",
        "n": str(len(records)),
        "LR drops reached": f"{reached} of {len(config.milestones)}" if records else "",
    }


def paper_results(profile: str) -> pd.DataFrame:
    """Table 6 of He et al. (2015), in the columns of `results`."""
    configs = paper_runs.table_6()
    rows = []
    for label, records in find_runs(configs, profile).items():
        told = f"{TABLE_6[configs[label].model].accuracy:.2f}"
        rows.append({"step": "Table 6", "run": label, **_row(configs[label].at(profile), records, told, profile)})
    return pd.DataFrame(rows)


def story_markdown(profile: str) -> str:
    """The results of the story and of the paper's own runs as far as recorded, and what holds of them, as Markdown."""
    steps = story.runs(profile)
    rows = pd.concat([results(steps, profile), paper_results(profile)])
    is_missing = rows["ours %"] == NOT_YET
    note = (
        "Test accuracy after the last epoch. The interval is a 95 % bootstrap over the test images and, from "
        f"{MIN_SEEDS} runs on, over seeds. Accuracies and differences are judged where the spread of seeds is known, "
        "curves as they were recorded. `n` is the number of runs. Steps 01 to 04: SGD, learning rate 0.1, momentum "
        "0.9, batch 128, no augmentation. Table 6 is that of He et al. (2015): per-pixel mean, random crops and flips."
    )
    recorded = {name: runs for name, runs in steps.items() if any(runs.values())}
    body = [markdown(rows[~is_missing]), note, *lacking(rows[is_missing]), verdicts(recorded, profile)]
    return "\n\n".join([f"**{stamp(profile)}**", *body] if stamp(profile) else body)


def lacking(rows: pd.DataFrame) -> list[str]:
    """A sentence on the rows of `results` that have no record; none where all have one."""
    if rows.empty:
        return []
    by_step = [f"{step} ({'; '.join(found['run'])})" for step, found in rows.groupby("step", sort=False)]
    return [f"{NOT_YET.capitalize()}: {', '.join(by_step)}."]


def markdown(table: pd.DataFrame) -> str:
    rows = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# --- the benchmark: what `bench.measure` found


def ladder(bench: dict[str, Any]) -> pd.DataFrame:
    """One row per pipeline, each with the improvements of those above it."""
    rows, before = [], None
    for rung in bench["networks"]["resnet20"]:
        rates = np.array(rung["images_per_second"])
        base = np.array(bench["networks"]["resnet20"][0]["images_per_second"])
        rows.append(
            {
                "pipeline": ("" if rung["name"] in ("conventional", "ours") else "+ ") + rung["name"],
                "images/s": f"{np.median(rates):,.0f}",
                "range": f"{rates.min():,.0f}–{rates.max():,.0f}",
                "× conventional": f"{np.median(rates) / np.median(base):.2f}",
                "× the row above": "" if before is None else f"{np.median(rates) / np.median(before):.2f}",
                "start-up": f"{rung['start_seconds']:.1f} s",
            }
        )
        before = rates
    return pd.DataFrame(rows)


def networks(bench: dict[str, Any]) -> pd.DataFrame:
    """One row per network: the conventional pipeline and ours, and ours as a share of the machine's matrix rate."""
    rows = []
    for model, rungs in bench["networks"].items():
        first, last = (np.array(rungs[i]["images_per_second"]) for i in (0, -1))
        flops = np.median(last) * bench["flops_per_image"][model]
        rows.append(
            {
                "network": Architecture(model).title,
                "repeats": str(len(last)),
                "compiled": "yes" if rungs[-1]["name"] == "torch.compile" else "no",
                "conventional, images/s": f"{np.median(first):,.0f}",
                "ours, images/s": f"{np.median(last):,.0f}",
                "ours ÷ conventional": f"{np.median(last) / np.median(first):.2f}",
                "GFLOP/s of ours": f"{flops / 1e9:,.0f}",
                "% of peak bf16 matmul": f"{100 * flops / bench['ceiling']['bf16']:.0f}",
            }
        )
    return pd.DataFrame(rows)


def bench_facts(bench: dict[str, Any]) -> list[str]:
    """What else was measured, one sentence each."""
    machine, limits, last = bench["environment"], bench["ceiling"], bench["networks"]["resnet20"][-1]
    rate = float(np.median(last["images_per_second"]))
    facts = [
        f"Measured on {bench['date'][:10]}: {machine['device_name']}, {machine['threads']} threads, torch "
        f"{machine['torch']}, batch {bench['batch_size']}; ResNet-20 in {len(last['images_per_second'])} repeats; "
        "rates are medians, ranges are from the slowest to the fastest repeat.",
        f"Peak of this machine: {limits['bf16'] / 1e9:,.0f} GFLOP/s in bf16, {limits['fp32'] / 1e9:,.0f} in fp32 "
        f"(square matrix products), {limits['copy'] / 1e9:,.1f} GB/s (copies).",
        f"ResNet-20's first epoch, start-up included: {last['start_seconds'] + TRAIN_IMAGES['all'] / rate:,.0f} s.",
    ]
    if peaks := bench.get("peak_bytes"):
        said = " and ".join(
            f"{f'{peak / 2**20:,.0f} MiB' if peak else 'not measured'} ({name})" for name, peak in peaks.items()
        )
        facts.append(f"Peak memory for training ResNet-110, beyond the network and the images: {said}.")
    if found := bench.get("evaluation"):
        share = (TEST_IMAGES["all"] / np.median(found["images_per_second"])) / (TRAIN_IMAGES["all"] / rate)
        facts.append(f"Evaluating the test images takes {100 * share:.1f} % of the time of an epoch.")
    return facts


def time_to_accuracy(bench: dict[str, Any], records: list[Record], target: float) -> pd.DataFrame:
    """One row per run on the benchmark's machine: when it reached `target` (%), in conventional epochs there."""
    epoch = TRAIN_IMAGES["all"] / np.median(bench["networks"]["resnet20"][0]["images_per_second"])
    rows = []
    for record in records:
        if not same_machine(record.result["environment"], bench["environment"]):
            continue
        seconds = np.cumsum([row["seconds"] for row in record.history])
        reached = [row["test_accuracy"] >= target / 100 for row in record.history]
        taken = seconds[reached.index(True)] if any(reached) else None
        rows.append(
            {
                "seed": str(record.config.seed),
                "epochs": str(len(record.history)),
                "test accuracy, last epoch": f"{100 * record.accuracy:.2f} %",
                "whole run": f"{seconds[-1] / 60:.1f} min",
                f"to {target:g} %": f"{taken / 60:.1f} min" if taken else "not reached",
                "in conventional epochs": f"{taken / epoch:.1f}" if taken else "–",
            }
        )
    return pd.DataFrame(rows)


def same_machine(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """As far as both tell: instructions were not noted at first, and one name covers processors with and without."""
    shared = [key for key in ("device_name", "threads", "instructions") if key in one and key in other]
    return all(one[key] == other[key] for key in shared)


def bench_markdown(benches: list[dict[str, Any]]) -> str:
    """Every machine's benchmark, and how soon the fast recipe reached the paper's ResNet-20 there, as Markdown."""
    fast = find_seeds(Config(model="resnet20", **RECIPES["fast"]), "full")
    paper = TABLE_6["resnet20"].accuracy
    parts = []
    for bench in benches:
        parts += [f"**{bench['environment']['device_name']}**", markdown(ladder(bench)), markdown(networks(bench))]
        parts.append("\n".join(f"- {fact}" for fact in bench_facts(bench)))
        times = time_to_accuracy(bench, fast, paper)
        if len(times):
            said = (
                f"Time to the paper's {paper:g} % by the recipe `fast` (ResNet-20, all training images), compilation "
                "and one evaluation per epoch included. The length was chosen after 18 epochs had fallen short on the "
                "test images, so the accuracy is slightly optimistic:"
            )
            parts += [said, markdown(times)]
        if "sweep" in bench:
            said = (
                "Our pipeline without torch.compile, ResNet-20 unless a depth is given; medians of three repeats "
                "(concurrent runs: one). On a machine with ranges as above, small differences mean nothing:"
            )
            parts += [said, markdown(sweep(bench["sweep"]))]
    return "\n\n".join(parts)


def sweep(found: dict[str, dict[str, float]]) -> pd.DataFrame:
    """One row per setting that was varied, with the rate at each of its values."""
    rows = [
        {"varied": name, "images/s": ", ".join(f"{value}: {rate:,.0f}" for value, rate in row.items())}
        for name, row in found.items()
    ]
    return pd.DataFrame(rows)


def faults_markdown(found: dict[str, Any]) -> str:
    """What `make soak` injected and how much of it was survived, as Markdown."""
    machine, tried = found["environment"], sum(row["tried"] for row in found["faults"].values())
    rows = [
        {"fault": fault, "injected": f"{row['tried']:,}", "survived": f"{row['survived']:,}"}
        for fault, row in found["faults"].items()
    ]
    survived = sum(row["survived"] for row in found["faults"].values())
    said = (
        f"`make soak` on {found['date'][:10]} ({machine['device_name']}, torch {machine['torch']}): {tried:,} faults "
        f"injected, {survived:,} survived"
    )
    how = f"{found['minutes']:g} minutes of faults at random, then every fault of the tests."
    return f"<details><summary>{said}</summary>\n\n{markdown(pd.DataFrame(rows))}\n\n{how}\n\n</details>"
