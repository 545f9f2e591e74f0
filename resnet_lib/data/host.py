"""An archive, downloaded from the host that publishes it."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from resnet_lib.data.formats import Unusable
from resnet_lib.machine.progress import bytes_bar

SILENCE_SECONDS = 15  # a host that is silent so long, at the start or in the middle, is given up


def download(url: str, target: Path, limit: int) -> None:
    """Write what `url` holds to `target`.

    Raises Unusable if it is not to be had, not whole, or larger than `limit` bytes, OSError if `target` cannot be
    written.
    """
    with target.open("wb") as file:
        for chunk in _chunks(url, limit):
            file.write(chunk)


def _chunks(url: str, limit: int) -> Iterator[bytes]:
    """The host's part of a download: its errors are Unusable, the disk's are not."""
    expected, received = None, 0
    try:
        with urllib.request.urlopen(url, timeout=SILENCE_SECONDS) as response:
            expected = int(response.headers.get("Content-Length") or 0)
            with bytes_bar(expected or None) as bar:
                while chunk := response.read(1 << 18):
                    received += len(chunk)
                    bar.update(len(chunk))
                    if received > limit:
                        raise Unusable(f"sends more than {limit:,} bytes")
                    yield chunk
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unusable(("" if expected is None else "broke off: ") + _explain(error)) from error
    if expected and received != expected:  # http.client takes a short body for a whole one
        raise Unusable(f"broke off after {received:,} of {expected:,} bytes")


def _explain(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"answers HTTP {error.code}"
    reason = getattr(error, "reason", error)  # URLError wraps the real one
    return f"silent for {SILENCE_SECONDS} s" if isinstance(reason, TimeoutError) else str(reason)
