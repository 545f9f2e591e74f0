"""One update of the weights: augmentation, forward, backward, optimizer; nothing in it waits for the device.

`Update` runs it as it stands, or compiled; `Replay` as one CUDA graph. All compute the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_lib.config import Config
from resnet_lib.machine.device import Choice
from resnet_lib.models.build import place
from resnet_lib.training.loader import TrainBatches
from resnet_lib.training.metrics import RunningTotals
from resnet_lib.training.optimizer import make_optimizer

CAPTURE_WARMUP = 3  # steps before a capture, in which cuDNN chooses its algorithms and buffers come into being


def autocast(device: torch.device, config: Config) -> torch.autocast:
    """Mixed precision if the config says bf16, else nothing.

    Without a cache of casts: a step uses each weight once, so that it would only cost memory.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16", cache_enabled=False)


class Update:
    """Trains on the images of a plan, adding to `totals` what the network said of them before it changed."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, batches: TrainBatches, config: Config, choice: Choice
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.batches = batches
        self.config = config
        self.totals = RunningTotals(batches.images.device)
        # An epoch's last, smaller batch would have to be compiled, or captured, for itself.
        self.full_batch = min(config.batch_size, len(batches.images))
        self.compiled_loss = compiled(Update.loss, choice) if choice.compile else None  # of a bound one, a cycle

    def __call__(self, plan: Tensor) -> None:
        """One step on a plan [4, B] of `TrainBatches`."""
        is_compiled = self.compiled_loss and plan.shape[1] == self.full_batch
        loss = self.compiled_loss(self, plan) if is_compiled else self.loss(plan)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def loss(self, plan: Tensor) -> Tensor:
        """The mean loss [] over the batch of a plan [4, B], which is added to the totals."""
        images, labels = self.batches.take(plan)
        with autocast(images.device, self.config):
            logits = self.model(images)
            loss = F.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
        self.totals.add(loss, logits, labels)
        return loss


def compiled(function: Callable[..., Tensor], choice: Choice) -> Callable[..., Tensor]:
    """`function` and its derivative by torch.compile, for one shape of input.

    On a GPU what is small and independent shares a kernel, such as the casts of all weights: of ResNet-20's kernels
    most would be done in less time than it takes to start them.
    """
    return torch.compile(function, dynamic=False, options={"combo_kernels": choice.device == "cuda"})


class Replay(Update):
    """An update captured once as a CUDA graph: a single launch for whole batches, instead of hundreds."""

    graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, plan: Tensor) -> None:
        if plan.shape[1] != self.full_batch:
            super().__call__(plan)
            return
        if self.graph is None:
            self.capture(plan)
        self.plan.copy_(plan)
        self.graph.replay()

    def capture(self, plan: Tensor) -> None:
        """See "Whole-network capture" in PyTorch's notes on CUDA semantics for the order of these calls."""
        self.plan = plan.clone()
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        with undone(self):
            side.wait_stream(torch.cuda.current_stream())  # here, so that it waits for what was kept, too
            with torch.cuda.stream(side):
                for _ in range(CAPTURE_WARMUP):
                    super().__call__(self.plan)
            torch.cuda.current_stream().wait_stream(side)
            self.optimizer.zero_grad()  # the gradients must come into being inside the graph
            # The default forbids CUDA calls to every thread, among them the one that pins a DataLoader's memory.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                super().__call__(self.plan)
        self.graph = graph


def make_update(model: nn.Module, images: np.ndarray, labels: np.ndarray, config: Config, choice: Choice) -> Update:
    """What trains `model` on uint8 images [N, 3, H, W] with labels [N], all moved to where `choice` says."""
    device = choice.activate(config.precision)
    if choice.compile:
        torch.compiler.reset()  # else the ninth shape of network in a process would run as it is, and not say so
    model = place(model, choice)
    batches = TrainBatches(images, labels, config, device, choice.memory_format)
    return (Replay if choice.graph else Update)(model, make_optimizer(model, config, choice), batches, config, choice)


@contextmanager
def undone(update: Update) -> Iterator[None]:
    """Undo, in place, what steps inside the block change; momentum that did not exist before becomes zero.

    If the block raises, nothing is undone: the run ends.
    """
    totals, state = update.totals, update.optimizer.state
    tensors = [*update.model.state_dict().values(), *totals.tensors.values()]
    tensors += [values["momentum_buffer"] for values in state.values() if values.get("momentum_buffer") is not None]
    kept = [tensor.clone() for tensor in tensors]
    known = {id(tensor) for tensor in tensors}
    yield
    for tensor, before in zip(tensors, kept, strict=True):
        tensor.copy_(before)
    for values in state.values():
        if (momentum := values.get("momentum_buffer")) is not None and id(momentum) not in known:
            momentum.zero_()
