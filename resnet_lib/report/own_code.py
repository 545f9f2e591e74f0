"""The settings that the lab recommends as plain PyTorch, for a training of one's own."""

from __future__ import annotations

from resnet_lib.questions import causes
from resnet_lib.records.find import find_seeds
from resnet_lib.report import commands, tables
from resnet_lib.report.wording import percent

MEAN, SD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # a test holds them against the images


def settings() -> str:
    """What the first of `COMMANDS` does, in PyTorch and torchvision."""
    command, config = next(iter(commands.COMMANDS.items()))
    decay = f"{config.weight_decay:g}"
    deviations, colour = ", ".join(f"{sd:.4f}" for sd in SD), tuple(round(255 * mean) for mean in MEAN)
    *_, alike = causes.square().values()
    first, other = find_seeds(config, "full"), find_seeds(alike, "full")
    known = [f"ResNet-20 ended at {percent(first)} with them"] if first else []
    known += [f"this network ended at {percent(other)}" if other else "this network is not yet run with them"]
    code = f"""`batches` is your `DataLoader`; on a GPU, move the model to it, and each batch:

```python
import torch
import torchvision
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import MultiStepLR
from torchvision.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToTensor

model = torchvision.models.resnet18(num_classes=10)
model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
normalisation = [ToTensor(), Normalize({MEAN}, ({deviations}))]
test_transform = Compose(normalisation)
crop = RandomCrop(32, padding={config.crop}, fill={colour})  # the mean, 0 once normalised
train_transform = Compose([crop, RandomHorizontalFlip(), *normalisation])
optimizer = SGD(model.parameters(), lr={config.lr:g}, momentum={config.momentum:g}, weight_decay={decay})
scheduler = MultiStepLR(optimizer, milestones={list(config.milestones)})  # step once per epoch
criterion = nn.CrossEntropyLoss()


def train_epoch(batches):  # {config.epochs} times; train_transform, shuffled, {config.batch_size} at a time
    model.train()
    for images, labels in batches:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()
    scheduler.step()


@torch.no_grad()
def accuracy(batches):  # of the test images, by test_transform
    model.eval()
    right = [model(images).argmax(1) == labels for images, labels in batches]
    return torch.cat(right).float().mean().item()
```"""
    said = f"The settings of <code>{command}</code> in plain PyTorch, here for torchvision's ResNet-18 with a 3×3 stem"
    return tables.folded(f"{said} ({', '.join(known)})", code)
