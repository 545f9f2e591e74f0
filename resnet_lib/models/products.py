"""Convolutions that are matrix products, computed as such.

On 32x32 images ImageNet's stem leaves the deep stages maps of 4x4 to 1x1 pixels. There the convolutions that torch
has on a CPU, oneDNN's, stay far below its matrix products: forward and backward, a 1x1 kernel from 512 to 2048 channels
took 36 ms in fp32 and 50 ms in bf16 on 128 maps of one pixel, and the matrix product 4 and 2 ms (Intel Xeon, family 6,
model 207, which has AMX; 2 threads, torch 2.15, medians of 5).
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ProductConv2d(nn.Conv2d):
    """The same convolution, [N, C, H, W] -> [N, C', H', W'], by a matrix product where that is no more arithmetic.

    That is where the kernel has a single tap (a product over pixels), and where every pixel of the result sees the
    whole map (a product over maps), as with a 3x3 kernel on 2x2 pixels or on one. `x` need not be copied for it if it
    is channels_last.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel_size == (1, 1) and self.padding == (0, 0):
            return self.over_pixels(x)
        if all(self.sees_all(dim, x.shape[2 + dim]) for dim in (0, 1)):
            return self.over_maps(x)
        return super().forward(x)

    def over_pixels(self, x: Tensor) -> Tensor:
        if self.stride != (1, 1):
            x = F.avg_pool2d(x, 1, self.stride)  # a slice, but its gradient keeps the layout
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)

    def over_maps(self, x: Tensor) -> Tensor:
        (height, rows), (width, columns) = ((x.shape[2 + dim], self.corners(dim, x.shape[2 + dim])) for dim in (0, 1))
        # What each pixel of the result has over the map: a window of the kernel, which moves the other way.
        corners, places = product(rows, columns), list(product(range(height), range(width)))
        seen = [(i + y) * self.kernel_size[1] + j + z for i, j in corners for y, z in places]
        taps = torch.tensor(seen, device=x.device)
        kernel = self.weight.permute(0, 2, 3, 1).flatten(1, 2)  # [C', taps, C]
        matrix = kernel.index_select(1, taps).view(len(kernel) * len(rows) * len(columns), -1)  # [C'H'W', HWC]
        bias = None if self.bias is None else self.bias.repeat_interleave(len(rows) * len(columns))
        out = F.linear(x.permute(0, 2, 3, 1).flatten(1), matrix, bias)
        out = out.view(len(x), len(kernel), len(rows), len(columns))
        return out.contiguous(memory_format=torch.channels_last)

    def corners(self, dim: int, size: int) -> range:
        """Where the map begins in the kernel, for each pixel of the result along `dim`."""
        kernel, stride, padding = self.kernel_size[dim], self.stride[dim], self.padding[dim]
        count = (size + 2 * padding - kernel) // stride + 1
        return range(padding, padding - count * stride, -stride)

    def sees_all(self, dim: int, size: int) -> bool:
        corners = self.corners(dim, size)
        return len(corners) > 0 and corners[-1] >= 0 and corners[0] + size <= self.kernel_size[dim]


def use_products(network: nn.Module) -> None:
    """Make every plain convolution of a network, whoever wrote it, one that is a product where it can be."""
    for module in network.modules():
        is_plain = type(module) is nn.Conv2d and module.groups == 1 and module.dilation == (1, 1)
        if is_plain and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module.__class__ = ProductConv2d
