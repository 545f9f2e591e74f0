"""A tiny CIFAR-10 as it is published, and what its copies and caches hold."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np

from resnet_lib.data.formats import CIFAR10, RECORD_BYTES, Manifest

RECORDS = 20  # images in each of the six tiny files
NAMES = tuple(CIFAR10.files)


def tiny_files() -> dict[str, bytes]:
    random = np.random.RandomState(0)
    records = random.randint(0, 256, (len(NAMES), RECORDS, RECORD_BYTES)).astype(np.uint8)
    records[:, :, 0] = np.arange(RECORDS) % 10
    return {name: part.tobytes() for name, part in zip(NAMES, records, strict=True)}


FILES = tiny_files()
TINY_CIFAR = Manifest(
    files={name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()},
    records=RECORDS,
    url="http://127.0.0.1:9/nobody-listens.tar.gz",
    package="./not-a-package",
)


def tar_gz(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def binary_archive() -> bytes:
    return tar_gz({f"cifar-10-batches-bin/{name}": content for name, content in FILES.items()})


def records_of(name: str) -> tuple[list[int], np.ndarray]:
    """Labels, and images uint8 [N, 3072], of a tiny file."""
    records = np.frombuffer(FILES[name], np.uint8).reshape(RECORDS, RECORD_BYTES)
    return records[:, 0].tolist(), records[:, 1:]


def write(folder: Path, members: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in members.items():
        (folder / name).write_bytes(content)
    return folder


def filled(cache: Path) -> bool:
    return all((cache / name).read_bytes() == content for name, content in FILES.items())


def left_over(cache: Path) -> list[str]:
    """What lies in the cache beside finished files."""
    return [p.name for p in cache.iterdir() if p.name not in {*NAMES, "origin.txt", "lock"}]
