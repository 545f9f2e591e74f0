"""The same trouble in public: what people reported, and a run of ours that may show the same plateau."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_lib.config import Config
from resnet_lib.questions import paper_runs, story, suspects

SAME = 0.02  # how far (share of the images) an accuracy may be from another to count as the same
READ = "November 2026"  # when the threads were


@dataclass(frozen=True)
class Case:
    """What a thread tells: a cause where it names one; and for some, a run of ours that resembles theirs."""

    thread: str
    saw: str
    cause: str = ""
    reported: float = 0.0  # the accuracy in % that they saw on CIFAR-10, where a run of ours is set beside it
    config: Config | None = None  # that run

    @property
    def plateau(self) -> tuple[float, float]:
        """What counts as the same accuracy, as shares of the images."""
        return self.reported / 100 - SAME, self.reported / 100 + SAME

    @property
    def url(self) -> str:
        if self.thread.startswith("PyTorch forum "):
            return f"https://discuss.pytorch.org/t/{self.thread.rpartition(' ')[2]}"
        repository, _, number = self.thread.partition(" #")
        return f"https://github.com/{repository}/issues/{number}"  # which leads to a pull request, too


# The training of kuangliu/pytorch-cifar on the network that torchvision's ResNet-50 is, in half as many epochs.
LIKE_KUANGLIUS = Config(
    model="resnet50", epochs=100, weight_decay=5e-4, schedule="cosine", **story.CROP_AND_FLIP, **story.IN_BF16
)

CASES = (
    Case(
        "tflearn/tflearn #126", "stuck at 83 % instead of 94", "learning rate never reduced, preprocessing",
        83, Config(model="resnet32", epochs=100, **story.CROP_AND_FLIP),
    ),
    Case(
        "raghakot/keras-resnet #25", "stuck at 84 %, with RMSprop",
        "no weight decay, learning rate not reduced (suspected); with both, 87.8 %, and with another network 92 (#28)",
        84, Config(model="resnet18", epochs=100, weight_decay=0.0, **story.CROP_AND_FLIP),
    ),
    Case(
        "kuangliu/pytorch-cifar #2", "every model at 88 to 89 %", "learning rate had to be lowered by hand",
        88.5, Config(model="hub-resnet18", stem="cifar", epochs=100, weight_decay=5e-4, **story.CROP_AND_FLIP),
    ),
    Case(
        "kuangliu/pytorch-cifar #107", "distributed, a near-original ResNet-50 at 83 %, the repository's at 93",
        "another network, as far as the asker remembers",
        83, LIKE_KUANGLIUS,
    ),
    Case(
        "pytorch/benchmark #1345", "torchvision's ResNet-50, by the training of kuangliu/pytorch-cifar, at 83.66 %", "",
        83.66, LIKE_KUANGLIUS,
    ),
    Case("akamaster/pytorch_resnet_cifar10 #8", "ResNet-20 stays at 20 % error (asks for rates and momentum)"),
    Case(
        "akamaster/pytorch_resnet_cifar10 #28", "ResNet-20 at 88.73 % instead of 91.73 with a newer PyTorch",
        "said to be a change in PyTorch",
        88.73, paper_runs.table_6()["ResNet-20"],
    ),
    Case("akamaster/pytorch_resnet_cifar10 #31", "10 % for 100 epochs at learning rate 0.1"),
    Case(
        "weiaicunzai/pytorch-cifar100 #29", "torchvision's ResNet-18 at 55 % on CIFAR-100, the repository's own at 70",
        "ImageNet's stem (guessed, by comparing the two networks)",
    ),
    Case(
        "hpcaitech/ColossalAI-Examples #131", "torchvision's ResNet below 90 %, a CIFAR one at 95",
        "a network for ImageNet (exchanged)",
    ),
    Case(
        "pytorch/xla #1025", "ResNet-18 reaches 80 % with a network of the test's own, not with torchvision's",
        "torchvision's network (exchanged)",
    ),
    Case(
        "pytorch/vision #1166", "torchvision's ResNet-18 short of 93 %",
        "its networks are for images of 224×224 (a maintainer)",
    ),
    Case(
        "weiaicunzai/pytorch-cifar100 #27", "ResNet-50 no better than ResNet-18 on CIFAR-100",
        "scheduler.step(epoch) under a newer PyTorch",
    ),
    Case("htqin/IR-Net #11", "ResNet-18 at 86 % (in a repository of 1-bit networks)"),
    Case(
        "PyTorch forum 135051", "ResNet-20 by the paper's settings at 86 %", "crop without flip, among others",
        86, suspects.leave_one_out()["no flip"],
    ),
    Case(
        "pytorch/xla #683", "ResNet-18, 18 epochs: learning rate 0.05 gives 68 %, 0.20 gives 80 %", "learning rate",
    ),
    Case(
        "keras-team/keras #10632", "ResNet-110 v2 at 92 % instead of 93",
        "batch size (another user); an older Keras (the asker)",
    ),
)  # fmt: skip


def configs() -> dict[str, Config]:
    """The runs of ours, by thread."""
    return {case.thread: case.config for case in CASES if case.config}
