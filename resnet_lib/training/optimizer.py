"""The optimizers: SGD for all parameters, or Muon for convolutions beside SGD for the rest."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from resnet_lib.config import Config
from resnet_lib.machine.device import Choice


def make_optimizer(model: nn.Module, config: Config, choice: Choice) -> torch.optim.SGD:
    """SGD over all parameters, weight decay on all of them, or on weights of layers alone.

    The paper does not say which parameters it decays; all of them is PyTorch's default. A fused kernel updates each
    group. With `muon_lr`, convolutions are Muon's and have neither decay nor SGD's rate.
    """

    def rate(value: float) -> float | Tensor:
        # A graph reads it at each replay; the fused kernel as float32.
        return torch.tensor(value, dtype=torch.float32, device=choice.device) if choice.graph else value

    convolutions = [p for p in model.parameters() if p.ndim == 4 and config.muon_lr]
    rest = [p for p in model.parameters() if p.ndim != 4 or not config.muon_lr]
    decayed = [p for p in rest if p.ndim > 1 or config.decayed == "all"]
    others = [p for p in rest if p.ndim <= 1 and config.decayed != "all"]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others}]
    if config.muon_lr:
        muon = {"momentum": 0.0, "muon_momentum": config.momentum}  # SGD adds none: the matrices come from their own
        ratio = config.muon_lr / config.lr  # to the rate of the schedule
        groups.append({"params": convolutions, "lr": rate(config.muon_lr), "lr_ratio": ratio, **muon})
    return (Muon if config.muon_lr else torch.optim.SGD)(
        [group for group in groups if group["params"]],
        lr=rate(config.lr),
        momentum=config.momentum,
        nesterov=config.nesterov,
        fused=True,
    )


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr * group.get("lr_ratio", 1.0))
        else:
            group["lr"] = lr * group.get("lr_ratio", 1.0)


def load_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Go on from a saved state; the rates stay the optimizer's own, which are where its device reads them.

    Momentum is laid out in memory as its parameter is, which may not be as it was saved, on another device: torch's
    fused kernel adds up what has the same place in memory, and does not ask.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    for parameter, values in optimizer.state.items():
        if (momentum := values.get("momentum_buffer")) is not None:
            values["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)


class Muon(torch.optim.SGD):
    """SGD, but in groups with a `muon_momentum` the step is the semi-orthogonal matrix nearest to the momentum.

    Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks". Before its step a filter bank is
    scaled to the norm sqrt(filters), which the batch norm after it cancels: so the learning rate is the size of a step
    relative to the bank, and weight decay would have no effect.
    """

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            if "muon_momentum" in group:
                banks: dict[torch.Size, list[Tensor]] = defaultdict(list)
                for parameter in group["params"]:
                    banks[parameter.shape].append(parameter)
                for same in banks.values():
                    self.orthogonalize_gradients(same, group["muon_momentum"], group["nesterov"])
        super().step()

    def orthogonalize_gradients(self, banks: list[Tensor], momentum: float, nesterov: bool) -> None:
        """Put orthogonal matrices in place of the gradients of filter banks of one shape."""
        looked_ahead = []
        for bank in banks:
            if "momentum_buffer" not in self.state[bank]:
                self.state[bank]["momentum_buffer"] = torch.zeros_like(bank)
            buffer = self.state[bank]["momentum_buffer"]
            buffer.mul_(momentum).add_(bank.grad)
            looked_ahead.append((bank.grad + momentum * buffer if nesterov else buffer).flatten(1))
            bank.mul_(len(bank) ** 0.5 / bank.norm())
        for bank, matrix in zip(banks, orthogonalize(torch.stack(looked_ahead)), strict=True):
            tall = max(1, len(matrix) / matrix.shape[1]) ** 0.5  # Jordan's scale where rows outnumber columns
            bank.grad.copy_(tall * matrix.reshape(bank.shape))


def orthogonalize(matrices: Tensor) -> Tensor:
    """Nearly the closest semi-orthogonal matrices to [N, rows, columns]: the same singular vectors, values near 1.

    Five steps of a Newton-Schulz iteration with the quintic of Jordan et al. 2024, which leave singular values between
    about 0.7 and 1.2: for a step, as good as 1.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices  # the smaller of the two products
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if is_tall else x
