"""Whether other machines may be contacted."""

from __future__ import annotations

import os


def is_offline() -> bool:
    """Whether RESNET_LAB_OFFLINE forbids it: set, and to anything but 0."""
    return os.environ.get("RESNET_LAB_OFFLINE", "0") not in ("", "0")
