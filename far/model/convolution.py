"""The interaction's 3-D convolution over channels-last grids, in two exact forms.

``conv3d`` is PyTorch's. ``stacked_conv2d`` calls no 3-D convolution: each frame is stacked with its neighbours along
the channels, and one 2-D convolution with block-diagonal weights does the rest. Both are the same sum: they differ by
rounding alone. On an H200 (torch 2.11, cuDNN 9.19, bf16, 32 clips of 8x14x14x96 in 6 groups) ``conv3d`` takes 0.10 ms
forward and 0.35 ms with the backward pass, ``stacked_conv2d`` 0.31 and 1.19 ms, the other forms without a 3-D
convolution more (``docs/performance.md``): the second form is for libraries whose first is wrong.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CUDNN: int | None = torch.backends.cudnn.version() if torch.backends.cuda.is_built() else None
"""The version of cuDNN, e.g. 91900 for 9.19.0; None without."""


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """Convolve a grid in the form that is right and fastest on its device.

    Args:
        x: shape (B, T, H, W, C).
        weight: shape (C', C / groups, kT, kH, kW), all three odd.
        bias: shape (C',), or None.
        groups: groups of channels.

    Returns:
        Shape (B, T, H, W, C'), with zeros around the grid.
    """
    if x.is_cuda:
        return (stacked_conv2d if conv3d_is_wrong(x.dtype, CUDNN) else conv3d)(x, weight, bias, groups)
    if x.dtype in (torch.bfloat16, torch.float16):
        # oneDNN's gradient of bf16 weights is uninitialised memory where T is 2 (torch 2.13, AVX-512 with bf16)
        return conv3d(x.float(), weight.float(), None if bias is None else bias.float(), groups).to(x.dtype)
    return conv3d(x, weight, bias, groups)


def conv3d_is_wrong(dtype: torch.dtype, cudnn: int | None) -> bool:
    """Whether this cuDNN's 3-D convolutions of this type are known to be wrong without an error.

    Half precision in 9.8 to 9.14 (pytorch#163539); float32 up to 9.15, by way of TF32, on by default (#167024).
    """
    if cudnn is None or dtype == torch.float64:
        return False
    return 90800 <= cudnn < (91600 if dtype == torch.float32 else 91500)


def conv3d(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """See :func:`convolve`; PyTorch's own, on channels-last strides."""
    padding = [size // 2 for size in weight.shape[2:]]
    return F.conv3d(x.movedim(-1, 1), weight, bias, padding=padding, groups=groups).movedim(1, -1)


def stacked_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """See :func:`convolve`; one 2-D convolution from kT * C channels to C'."""
    clips, frames, height, width, channels = x.shape
    out, _, depth, *kernel = weight.shape
    padded = F.pad(x, (0, 0, 0, 0, 0, 0, depth // 2, depth // 2))
    stacked = torch.cat([padded[:, i : i + frames] for i in range(depth)], dim=-1)  # B, T, H, W, kT * C
    grouped = weight.unflatten(0, (groups, -1)).transpose(2, 3)  # groups, C' / groups, kT, C / groups, kH, kW
    own = torch.eye(groups, dtype=weight.dtype, device=weight.device).view(groups, 1, 1, groups, 1, 1, 1)
    dense = (grouped.unsqueeze(3) * own).reshape(out, depth * channels, *kernel)
    y = F.conv2d(stacked.flatten(0, 1).movedim(-1, 1), dense, bias, padding=[size // 2 for size in kernel])
    return y.movedim(1, -1).reshape(clips, frames, height, width, out)
