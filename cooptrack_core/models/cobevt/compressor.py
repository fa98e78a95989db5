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

"""What shrinks a map for the radio, and what unfolds it again.

Source: reference section 4.
"""

from __future__ import annotations

from torch import Tensor, nn


class MapCompressor(nn.Module):
    """Convolutions to C / ratio channels and back.

    Args:
        dims: Channels C.
        ratio: Divides C.
    """

    def __init__(self, dims: int, ratio: int) -> None:
        super().__init__()
        self.shrink = nn.Sequential(*_block(dims, dims // ratio))
        self.unfold = nn.Sequential(*_block(dims // ratio, dims), *_block(dims, dims))

    def compress(self, features: Tensor) -> Tensor:
        """(A, C, H, W) to (A, C / ratio, H, W), not negative."""
        out: Tensor = self.shrink(features)
        return out

    def decompress(self, sent: Tensor) -> Tensor:
        """(A, C / ratio, H, W) to (A, C, H, W)."""
        out: Tensor = self.unfold(sent)
        return out

    def forward(self, features: Tensor) -> Tensor:
        """(A, C, H, W) as it arrives."""
        return self.decompress(self.compress(features))


def _block(channels: int, out: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels, out, 3, padding=1),
        nn.BatchNorm2d(out, eps=1e-3, momentum=0.01),
        nn.ReLU(),
    )
