"""Convolutions as matrix products: the same, wherever they are taken for one."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
import torch.nn.functional as F
import torchvision
from tiny_runs import CPU
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_lib.config import Config
from resnet_lib.machine.device import Choice
from resnet_lib.models.build import build_model, place
from resnet_lib.models.products import ProductConv2d, use_products

# kernel, stride, padding, map
NETWORKS = [
    ((1, 1), 1, 0, (4, 4)),
    ((1, 1), 2, 0, (8, 8)),
    ((1, 1), 1, 0, (1, 1)),
    ((3, 3), 1, 1, (1, 1)),
    ((3, 3), 1, 1, (2, 2)),
    ((3, 3), 2, 1, (2, 2)),
]


class Called(TorchDispatchMode):
    """Notes the operations that are called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))

    @property
    def convolutions(self):
        return sum("convolution" in name and "backward" not in name for name in self.names)


def results(conv, images, weights):
    """The maps, and the gradients of images, kernel and bias."""
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    out = conv(images)
    return [out, *torch.autograd.grad(out, [images, *conv.parameters()], weights[: out.numel()].view_as(out))]


def compare(kernel, stride, padding, size, bias=False):
    """Assert that both compute the same; returns whether the product was one."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, kernel, stride, padding, bias=bias, dtype=torch.float64).to(
        memory_format=torch.channels_last
    )
    images = torch.randn(2, 3, *size, dtype=torch.float64).to(memory_format=torch.channels_last)
    weights = torch.randn(10_000, dtype=torch.float64)
    expected = results(conv, images, weights)
    use_products(conv)
    with Called() as called:
        found = results(conv, images, weights)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
    is_product = called.convolutions == 0
    for tensor in found[: 3 if is_product else 2]:  # the maps, and the gradients of the images and the kernel
        assert tensor.is_contiguous(memory_format=torch.channels_last)
    return is_product


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), NETWORKS)
def test_the_networks_convolutions_over_small_maps_are_products(kernel, stride, padding, size, bias):
    assert compare(kernel, stride, padding, size, bias)


def test_a_convolution_of_any_shape_is_the_same():
    """Among them maps of one row, kernels of one column, and padding beyond what a network would have.

    Whether it is a product is asked of each dimension for itself: every shape of one, beside three of the other.
    """
    every = [
        (taps, stride, padding, side)
        for taps, stride, padding, side in itertools.product((1, 2, 3, 5), (1, 2, 3), (0, 1, 2), (1, 2, 3, 5))
        if side + 2 * padding >= taps
    ]
    beside = [(1, 1, 0, 1), (3, 2, 1, 2), (3, 1, 1, 5)]  # a single tap, one that sees the whole map, one that does not
    pairs = [pair for one, other in itertools.product(every, beside) for pair in ((one, other), (other, one))]
    draw = random.Random(0)
    pairs += [(draw.choice(every), draw.choice(every)) for _ in range(50)]
    were_products = [compare(*zip(*pair, strict=True)) for pair in pairs]
    assert 0.05 < sum(were_products) / len(were_products) < 0.95


@pytest.mark.parametrize("size", [(3, 3), (2, 3), (4, 4), (8, 8)])
def test_over_larger_maps_a_kernel_remains_a_convolution(size):
    assert not compare((3, 3), 1, 1, size)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 4, 1, groups=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.ConvTranspose2d(4, 4, 1),
    ],
    ids=["groups", "dilation", "reflected", "same", "transposed"],
)
def test_what_is_no_plain_convolution_is_left_alone(conv):
    before = type(conv)
    use_products(conv)
    assert type(conv) is before


@pytest.mark.parametrize(("name", "left"), [("resnet20", 19), ("resnet18", 10), ("resnet50", 9), ("hub-resnet50", 9)])
def test_networks_keep_their_names_and_numbers(monkeypatch, name, left):
    """`left`: the convolutions over larger maps than 2x2, by kernels of more than one tap."""
    monkeypatch.setattr(torch.hub, "load", lambda repo, which, **options: getattr(torchvision.models, which)(**options))
    images = torch.randn(2, 3, 32, 32)
    networks = []
    for choice in (Choice("cpu", 1, True), CPU):
        network = place(build_model(Config(model=name))[0], choice)
        with Called() as called, torch.no_grad():
            networks.append((network.eval()(images), called.convolutions, network.state_dict()))
    (plain, every, state), (product, some, same) = networks
    torch.testing.assert_close(product, plain, rtol=1e-4, atol=1e-4)
    assert (some, list(same)) == (left, list(state))
    assert all(torch.equal(same[key], state[key]) for key in state)
    assert every == sum(isinstance(module, ProductConv2d) for module in network.modules())


def test_a_kernel_larger_than_the_map_is_refused_as_torch_refuses_it():
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        ProductConv2d(3, 5, 3)(torch.randn(1, 3, 2, 2))


def test_a_product_is_in_the_precision_of_autocast():
    conv = ProductConv2d(4, 8, 3, padding=1)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(torch.randn(2, 4, 1, 1)).dtype == torch.bfloat16
        assert conv(torch.randn(2, 4, 8, 8)).dtype == torch.bfloat16
    images = torch.randn(2, 4, 2, 2)
    torch.testing.assert_close(conv(images), F.conv2d(images, conv.weight, conv.bias, padding=1))
