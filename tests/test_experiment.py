"""A run is trained once: then loaded, recorded as it was, or refused with what to do."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from crafted import craft
from tiny_runs import CPU, SYNTHETIC, TINY

from resnet_lib.config import PROTOCOL, ConfigError
from resnet_lib.data import cifar10
from resnet_lib.data.sources import DataError
from resnet_lib.machine.device import DeviceError, DeviceLost, missing_to_compile
from resnet_lib.machine.progress import Lines, Progress
from resnet_lib.models.build import build_model
from resnet_lib.records import checkpoint
from resnet_lib.records.record import RecordError
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.runs import experiment, weights
from resnet_lib.training import train


def test_a_finished_run_is_loaded_not_trained_again(trained, monkeypatch):
    monkeypatch.setattr(train, "fit", None)
    monkeypatch.setattr(cifar10, "load", None)
    again = experiment.run(SYNTHETIC)
    assert (again.config, again.history, again.result) == (trained.config, trained.history, trained.result)
    assert experiment.is_finished(SYNTHETIC)
    assert not experiment.is_finished(SYNTHETIC.replace(seed=1))
    assert not experiment.is_finished(SYNTHETIC, "quick")


def test_the_result_agrees_with_history_and_predictions(trained):
    result, predictions = trained.result, trained.predictions
    assert result["accuracy"] == trained.history[-1]["test_accuracy"] == trained.correct.mean()
    assert result["loss"] == trained.history[-1]["test_loss"]
    assert result["images"] == len(predictions["label"]) == 40
    assert np.trace(result["confusion"]) == trained.correct.sum()
    assert result["per_class_accuracy"] == pytest.approx(
        [trained.correct[predictions["label"] == c].mean() for c in range(10)]
    )
    assert result["fingerprint"] == SYNTHETIC.fingerprint
    assert result["parameters"] == sum(p.numel() for p in build_model(SYNTHETIC)[0].parameters())
    assert result["data_sha256"] == cifar10.load(SYNTHETIC).sha256
    assert "synthetic" in result["data_source"]
    assert result["environment"].items() >= {k: v for k, v in CPU.as_dict().items() if k != "why"}.items()


def test_the_weights_of_a_run_give_its_result(trained):
    path = trained.path / weights.NAME
    assert weights.config_of(path) == SYNTHETIC
    metrics = weights.evaluate(SYNTHETIC, path, CPU)
    assert metrics == {name: trained.result[name] for name in metrics}
    assert not checkpoint.in_folder(trained.path)


def test_held_out_training_images_are_never_called_test(reports, capsys):
    config = SYNTHETIC.replace(split="train45k", epochs=1, milestones=())
    record = experiment.run(config, choice=CPU, show=Lines())
    assert f", val accuracy {100 * record.accuracy:.1f} %, " in capsys.readouterr().out
    assert {"val_loss", "val_accuracy"} < record.history[0].keys()
    assert not [name for name in record.history[0] if name.startswith("test")]
    assert record.result["evaluated_on"] == "val"


def test_without_the_images_there_is_no_run_and_none_on_others(reports, monkeypatch, tmp_path):
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "empty"))
    monkeypatch.delenv("RESNET_LAB_DATA", raising=False)
    with pytest.raises(DataError, match="CIFAR-10 could not be had"):
        experiment.run(TINY, choice=CPU, show=Progress())
    assert not reports.exists()


def test_a_run_of_another_protocol_is_shown_but_not_trained_by_this_code(reports, monkeypatch):
    monkeypatch.setattr(train, "fit", None)
    config = SYNTHETIC.replace(protocol=PROTOCOL + 1)
    with pytest.raises(RecordError, match=f"protocol {PROTOCOL + 1}, and this code trains by {PROTOCOL}"):
        experiment.run(config, choice=CPU, show=Progress())
    assert not RunFolder.of(config, "full").path.exists()
    record = craft(config, 0.5)
    assert experiment.run(config, choice=CPU, show=Progress()) == record


def test_a_profile_that_there_is_not_is_refused_before_anything_is_trained(reports):
    with pytest.raises(ConfigError, match="profile = 'Full' is not valid"):
        experiment.run(SYNTHETIC, "Full")


def test_a_run_that_another_process_finished_meanwhile_is_loaded(trained, reports, monkeypatch, tmp_path):
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / "meanwhile"))
    folder, load = RunFolder.of(SYNTHETIC, "full").path, cifar10.load

    def load_slowly(config):
        shutil.copytree(trained.path, folder)
        return load(config)

    monkeypatch.setattr(cifar10, "load", load_slowly)
    monkeypatch.setattr(train, "fit", None)
    assert experiment.run(SYNTHETIC, choice=CPU, show=Progress()).result == trained.result


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(),
        RuntimeError("MPS backend out of memory (MPS allocated: 3.00 GB)"),
        RuntimeError("FIND was unable to find an engine to execute this computation"),
    ],
    ids=["CUDA", "Metal", "cuDNN"],
)
def test_a_device_too_small_for_the_batch_is_said_with_what_to_set(reports, monkeypatch, error):
    def exhausted(*arguments):
        raise error

    monkeypatch.setattr(train, "fit", exhausted)
    with pytest.raises(DeviceError, match=r"too little memory for batches of 64 in resnet8: use fewer --jobs if "):
        experiment.run(SYNTHETIC.replace(batch_size=64), "quick", CPU)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory")]
)
@pytest.mark.parametrize(("device", "helps"), [("cpu", True), ("cuda", False)])
def test_a_lack_of_host_memory_is_not_blamed_on_the_device(reports, monkeypatch, error, device, helps):
    def exhausted(*arguments):
        raise error

    monkeypatch.setattr(train, "fit", exhausted)
    with pytest.raises(DeviceError, match="this machine has too little memory for batches of 32") as raised:
        experiment.run(SYNTHETIC, "quick", replace(CPU, device=device))
    assert ("a smaller batch_size" in str(raised.value)) == helps


@pytest.mark.parametrize(
    ("error", "is_lost", "kind", "told"),
    [
        (torch.AcceleratorError("CUDA error: an illegal memory access"), True, DeviceLost, "access: this process can"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True, DeviceLost, "FAILED: this process can"),
        (torch.AcceleratorError("CUDA error: no kernel image"), False, DeviceError, "image: use a torch that is built"),
    ],
)
def test_a_gpu_that_failed_is_said_with_what_to_do(reports, monkeypatch, error, is_lost, kind, told):
    def failing(*arguments):
        if is_lost or arguments:
            raise error

    monkeypatch.setattr(train, "fit", failing)
    monkeypatch.setattr(torch.cuda, "synchronize", failing)
    with pytest.raises(DeviceError, match=told) as raised:
        experiment.run(SYNTHETIC, "quick", replace(CPU, device="cuda"))
    assert type(raised.value) is kind


@pytest.mark.skipif(bool(missing_to_compile("cpu")), reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore:dynamo_pgo force disabled")
def test_a_compilation_that_fails_says_how_to_train_without(reports, tmp_path):
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho no room >&2\nexit 1\n")
    broken.chmod(0o755)
    with (
        torch._inductor.config.patch({"cpp.cxx": (None, str(broken))}),
        torch.compiler.config.patch(force_disable_caches=True),
        pytest.raises(DeviceError, match=r"torch\.compile failed: train by `resnet-lab run`, with --no-compile \(.*C"),
    ):
        experiment.run(SYNTHETIC, "quick", replace(CPU, compile=True))
