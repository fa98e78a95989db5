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

"""The short code of a model's messages as part of its weights (``v2x/feature_code.py``)."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn

from cooptrack_core.v2x.feature_code import FeatureCode


class CodeBuffers(nn.Module):
    """A feature code of K numbers for features of size D; nothing here trains."""

    mean: Tensor
    basis: Tensor
    analysis: Tensor
    bits: Tensor

    def __init__(self, dims: int, numbers: int) -> None:
        super().__init__()
        self.register_buffer('mean', torch.zeros(3 * dims))
        self.register_buffer('basis', torch.zeros(numbers, 3 * dims))
        self.register_buffer('analysis', torch.zeros(3 * dims, numbers))
        self.register_buffer('bits', torch.ones(numbers, dtype=torch.int64))

    def fill(self, code: FeatureCode) -> None:
        """Take over a code of the same sizes."""
        for field in dataclasses.fields(code):
            values = torch.from_numpy(np.ascontiguousarray(getattr(code, field.name)))
            getattr(self, field.name).copy_(values)

    def code(self) -> FeatureCode:
        """Return the code as arrays."""
        names = [field.name for field in dataclasses.fields(FeatureCode)]
        return FeatureCode(**{name: getattr(self, name).cpu().numpy() for name in names})
