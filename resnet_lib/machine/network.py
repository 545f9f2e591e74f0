"""Whether other machines may be contacted."""

from __future__ import annotations

import os

OFFLINE = "RESNET_LAB_OFFLINE"


def is_offline() -> bool:
    """Whether RESNET_LAB_OFFLINE forbids it: set, and to anything but 0."""
    return os.environ.get(OFFLINE, "0") not in ("", "0")
