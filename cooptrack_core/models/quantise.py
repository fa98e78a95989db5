# Copyright 2026 cooptrack_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Eight-bit arithmetic on CPUs: the image network by calibration, matrix products as they come.

Weights are rounded per output channel. Activations of the image network have ranges that images of
the road have shown (``quantise_images``); those of queries are measured anew in every product
(``Int8Linear``), as they depend on what is in view. What gives places on the map keeps full
precision: sampling offsets, boxes, poses.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cooptrack_core.errors import InputError
from cooptrack_core.models.attention.multihead import MultiheadAttention

# What multiplies features by matrices in the encoder, the decoder and the reasoning.
_PRODUCTS = ('expand', 'contract', 'value_proj', 'output_proj', 'out_proj')


class Int8Linear(nn.Module):
    """A linear layer of eight-bit weights; inputs are rounded by the range they have.

    Args:
        weight: (O, I).
        bias: (O,).

    Raises:
        RuntimeError, AttributeError: This build of torch has no eight-bit products.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        weight, bias = weight.detach().float().cpu(), bias.detach().float().cpu()
        scales = weight.abs().amax(1).clamp(min=1e-12) / 127
        zeros = torch.zeros_like(scales, dtype=torch.int64)
        with warnings.catch_warnings():
            # Tensors of this kind will leave torch one day: see quantise_products.
            warnings.simplefilter('ignore', UserWarning)
            rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        self._packed = torch.ops.quantized.linear_prepack(rounded, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        # One bit less keeps sums of products in range on CPUs without VNNI.
        out: Tensor = torch.ops.quantized.linear_dynamic(x, self._packed, reduce_range=True)
        return out


def quantise_products(part: nn.Module) -> None:
    """Replace, in place, the matrix products of a part for inference.

    They stay as they are where torch has no eight-bit products: that costs time, not accuracy.
    """
    with contextlib.suppress(RuntimeError, AttributeError):
        for module in list(part.modules()):
            for name in _PRODUCTS:
                linear = getattr(module, name, None)
                if isinstance(linear, nn.Linear):
                    setattr(module, name, Int8Linear(linear.weight, linear.bias))
            if isinstance(module, MultiheadAttention):
                weights, biases = module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3)
                module.projections = nn.ModuleList(map(Int8Linear, weights, biases))


def quantise_images(path: Path, images: Iterable[Tensor]) -> None:
    """Make an image network in ONNX one of eight bits, in place.

    Args:
        path: Of the network.
        images: (1, 3, H, W) normalised, as the network gets them; a few dozen of the place where
            it will run. Their ranges are what the network can tell apart.

    Raises:
        InputError: There is no image, or the quantisation of ONNX Runtime is not installed.
    """
    try:
        tools = importlib.import_module('onnxruntime.quantization')
        shapes = importlib.import_module('onnxruntime.quantization.shape_inference')
    except ImportError as error:
        raise InputError(
            f'eight-bit networks are made with ONNX Runtime ({error})',
            field='--precision',
            remedy='pip install "cooptrack_ros[onnxruntime]"',
        ) from error

    class Images(tools.CalibrationDataReader):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            self.left, self.count = iter(images), 0

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.left, None)
            self.count += image is not None
            return None if image is None else {name: image.numpy()}

    session = importlib.import_module('onnxruntime').InferenceSession(
        str(path), providers=['CPUExecutionProvider']
    )
    name = session.get_inputs()[0].name
    del session
    reader = Images()
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # it advises what has been done
    try:
        shapes.quant_pre_process(str(path), str(path), skip_symbolic_shape=True)
        tools.quantize_static(
            str(path),
            str(path),
            reader,
            quant_format=tools.QuantFormat.QDQ,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            per_channel=True,
            calibrate_method=tools.CalibrationMethod.MinMax,
        )
    except ValueError as error:
        if reader.count:
            raise
        raise InputError(
            'there is no image to calibrate with',
            field='--calibration',
            remedy='give a dataset with images',
        ) from error
    finally:
        logging.getLogger().setLevel(level)
