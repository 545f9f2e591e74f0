"""The same trouble in public: what people reported, and a run of ours that may show the same plateau."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_lib import causes, story, suspects
from resnet_lib.config import Config

AUGMENTED = {"crop": 4, "flip": True}


@dataclass(frozen=True)
class Case:
    """A thread read on 2026-11-23; `cause` only where the thread shows one."""

    thread: str
    saw: str
    cause: str = ""
    plateau: tuple[float, float] | None = None  # test accuracy in % on CIFAR-10 that counts as the same
    config: Config | None = None  # what may show it
    what: str = ""  # the config in words

    @property
    def url(self) -> str:
        if self.thread.startswith("PyTorch forum "):
            return f"https://discuss.pytorch.org/t/{self.thread.rpartition(' ')[2]}"
        repository, _, number = self.thread.partition(" #")
        return f"https://github.com/{repository}/issues/{number}"  # which leads to a pull request, too


CASES = (
    Case(
        "tflearn/tflearn #126", "stuck at 83 % instead of 94", "learning rate never reduced, preprocessing",
        (81, 85), Config(model="resnet32", epochs=100, **AUGMENTED), "ResNet-32, augmented, no drop",
    ),
    Case(
        "raghakot/keras-resnet #25", "stuck at 84 %", "no weight decay, learning rate not reduced (suspected)",
        (82, 86), Config(model="resnet18", epochs=100, weight_decay=0.0, **AUGMENTED),
        "ResNet-18, ImageNet stem, augmented, neither drop nor weight decay",
    ),
    Case(
        "kuangliu/pytorch-cifar #2", "every model at 88 to 89 %", "learning rate had to be lowered by hand",
        (87, 90), Config(model="hub-resnet18", stem="cifar", epochs=100, weight_decay=5e-4, **AUGMENTED),
        "ResNet-18, CIFAR stem, augmented, no drop",
    ),
    Case(
        "kuangliu/pytorch-cifar #107", "near-original ResNet-50 at 83 %, the CIFAR variant 10 points higher",
        "ImageNet stem",
        (81, 85), Config(model="resnet50", epochs=100, weight_decay=5e-4, schedule="cosine", **AUGMENTED),
        "ResNet-50, ImageNet stem, augmented, cosine",
    ),
    Case(
        "akamaster/pytorch_resnet_cifar10 #8", "ResNet-20 stays at 20 % error", "",
        (78, 82), story.step("03_cifar_architecture").configs["ResNet-20, 100 epochs"],
        "ResNet-20, no augmentation, two drops",
    ),
    Case(
        "akamaster/pytorch_resnet_cifar10 #28", "ResNet-20 at 88.73 % instead of 91.73 with a newer PyTorch",
        "said to be a change in PyTorch",
    ),
    Case("akamaster/pytorch_resnet_cifar10 #31", "10 % for 100 epochs at learning rate 0.1"),
    Case(
        "weiaicunzai/pytorch-cifar100 #17", "torchvision's ResNets at 60 % on CIFAR-100, the repository's own at 79",
        "ImageNet stem (guessed)",
    ),
    Case(
        "weiaicunzai/pytorch-cifar100 #27", "deep nets below shallow ones on CIFAR-100",
        "scheduler.step(epoch) under a newer PyTorch",
    ),
    Case(
        "htqin/IR-Net #11", "ResNet-18 at 86 %", "",
        (84, 88), causes.square()["its own stem, augmentation"], "ResNet-18, ImageNet stem, augmented, two drops",
    ),
    Case(
        "PyTorch forum 135051", "ResNet-20 by the paper's settings at 86 %", "crop without flip, among others",
        (85, 88), suspects.leave_one_out()["no flip"], "the paper's ResNet-20 without flip",
    ),
    Case(
        "pytorch/xla #683", "ResNet-18, 18 epochs: learning rate 0.05 gives 68 %, 0.20 gives 80 %", "learning rate",
        (66, 70), Config(model="hub-resnet18", epochs=18, lr=0.05), "ResNet-18, ImageNet stem, learning rate 0.05",
    ),
    Case("keras-team/keras #10632", "ResNet-110 v2 at 92 %", "batch size"),
)  # fmt: skip


def configs() -> dict[str, Config]:
    """The runs of ours, by thread."""
    return {case.thread: case.config for case in CASES if case.config}
