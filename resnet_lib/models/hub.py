"""The reference ResNets of torch.hub (`pytorch/vision`), built with ten classes.

The hub's entry points are torchvision's own model functions, and run those of the installed torchvision; so without
a network that gives the same network. For a recorded run the hub is asked first: the story's check is torch.hub's
ResNet, and a record is to say whether it was. The source returned beside the model says which way it came.
"""

from __future__ import annotations

import io
import socket
from contextlib import redirect_stderr, redirect_stdout
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import torch
from torch import nn

from resnet_lib.config import Config
from resnet_lib.errors import LabError
from resnet_lib.machine.network import is_offline

HUB_HOST = "github.com"
CONNECT_SECONDS, ANSWER_SECONDS = 3, 30


def build(config: Config, num_classes: int, ask: bool) -> tuple[nn.Module, str]:
    """The hub's network of `config.model`, randomly initialised by its own code, and where it came from.

    If not to `ask`, from the installed torchvision at once.

    With stem "cifar", its first convolution and max-pool are replaced by a 3x3 convolution of stride 1, so that images
    of 32x32 keep their resolution. Raises LabError where torchvision is not installed, or does not fit torch.
    """
    model, source = _original(config, num_classes, ask)
    if config.stem == "cifar":
        model.conv1 = nn.Conv2d(3, model.conv1.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
        model.maxpool = nn.Identity()
        source += ", with the CIFAR stem"
    return model, source


def _original(config: Config, num_classes: int, ask: bool) -> tuple[nn.Module, str]:
    name = f"resnet{config.architecture.depth}"
    try:
        import torchvision
    except ModuleNotFoundError:
        raise LabError(
            f"{config.model} needs torchvision: pip install -e '.[lab,dev]' in the clone, or choose a network of the "
            "lab's"
        ) from None
    except (ImportError, RuntimeError, AttributeError) as error:  # by version, and by whether it is tried again
        said = str(error).partition("\n")[0]
        raise LabError(f"torchvision does not fit this torch: install both from the same place ({said})") from None
    release = torchvision.__version__.partition("+")[0]
    why = "hub not reached" if ask else "the hub was not asked"
    if ask and _reachable():
        repository = f"pytorch/vision:v{release}"  # the release that fits the installed torch
        seeded, limit = torch.get_rng_state(), socket.getdefaulttimeout()
        socket.setdefaulttimeout(ANSWER_SECONDS)  # torch.hub's downloads have none, and a proxy may never answer
        try:
            # It announces its download, with a path of this machine: by version of torch on one or the other.
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                model = torch.hub.load(
                    repository, name, weights=None, num_classes=num_classes, trust_repo=True, verbose=False
                )
            return model, f"torch.hub {repository}, by the installed torchvision {release}"
        except Exception as error:  # a rate limit, a proxy in the way: torch.hub can raise almost anything
            torch.set_rng_state(seeded)
            why += f": {type(error).__name__}"
        finally:
            socket.setdefaulttimeout(limit)
    model = getattr(torchvision.models, name)(weights=None, num_classes=num_classes)
    return model, f"torchvision {release}, installed ({why})"


def _reachable() -> bool:
    if is_offline():
        return False
    try:
        proxy = "" if proxy_bypass(HUB_HOST) else getproxies().get("https", "")  # by which torch.hub would go
        through = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        place = (through.hostname, through.port or 80) if through.hostname else (HUB_HOST, 443)
        socket.create_connection(place, CONNECT_SECONDS).close()
    except (OSError, ValueError):  # the second is of an address that is none
        return False
    return True
