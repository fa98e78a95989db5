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

"""V2X room: a short code for the features of one model's messages.

The three features of an instance are one vector. A principal component analysis of a model's own
messages finds the few directions in which they differ; each gets bits by how much it varies
(reverse water-filling, greedily) and a uniform quantiser of the step that is best for a normal
variable (Max, 1960). Sender and receiver hold the same code, as part of their weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

# Best step of a uniform quantiser for a unit normal variable, for 1 to 8 bits (Max, 1960).
_STEPS = np.array([1.596, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308])
MAX_BITS = len(_STEPS)


@dataclass(frozen=True, eq=False)
class FeatureCode:
    """Code of (D) query features, (D) embeddings and (D) motion features.

    Attributes:
        mean: (3 D,) float32.
        basis: (K, 3 D) float32; a row is the change of the features per unit of its number.
        analysis: (3 D, K) float32; features minus mean times this are the numbers.
        bits: (K,) int64 >= 1, bits of each number, which is about standard normal.
    """

    mean: F32
    basis: F32
    analysis: F32
    bits: I64

    def __post_init__(self) -> None:
        """Check the shapes."""
        k, width = self.basis.shape
        if self.mean.shape != (width,) or self.analysis.shape != (width, k) or width % 3:
            raise ValueError(f'basis {self.basis.shape}, mean {self.mean.shape}')
        if self.bits.shape != (k,) or ((self.bits < 1) | (self.bits > MAX_BITS)).any():
            raise ValueError(f'each of {k} numbers needs 1 to {MAX_BITS} bits')

    @property
    def size(self) -> int:
        """Feature size D."""
        return len(self.mean) // 3

    def encode(self, features: F32) -> I64:
        """(m, 3 D) features to (m, K) unsigned levels."""
        numbers = (features - self.mean) @ self.analysis
        half = 2.0 ** (self.bits - 1)
        levels = np.floor(numbers / _STEPS[self.bits - 1]) + half
        codes: I64 = np.clip(levels, 0, 2 * half - 1).astype(np.int64)
        return codes

    def decode(self, codes: I64) -> F32:
        """(m, K) levels to (m, 3 D) features."""
        numbers = (codes - 2.0 ** (self.bits - 1) + 0.5) * _STEPS[self.bits - 1]
        features: F32 = (numbers.astype(np.float32) @ self.basis + self.mean).astype(np.float32)
        return features


def fit_code(features: F32, bits: int) -> FeatureCode:
    """Fit a code to the features of a model's messages.

    Args:
        features: (N, 3 D) of many instances; the three parts count equally.
        bits: Per instance, for all numbers together.

    Raises:
        ValueError: There are fewer instances than two, or no bit.
    """
    count, width = features.shape
    if count < 2 or bits < 1 or width % 3:
        raise ValueError(f'{count} instances of {width} numbers, {bits} bits')
    rows = features.astype(np.float64)
    mean = rows.mean(0)
    parts = (rows - mean).reshape(count, 3, width // 3)
    scale = np.sqrt((parts**2).mean((0, 2)))
    weight = np.repeat(1.0 / np.maximum(scale, 1e-9), width // 3)
    centred = (rows - mean) * weight
    variance, vectors = np.linalg.eigh(centred.T @ centred / count)
    order = np.argsort(-variance, kind='stable')
    variance, vectors = np.maximum(variance[order], 1e-12), vectors[:, order]
    # A component's sign is arbitrary; fix it, so that one data set gives one code.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(width)])
    given = allot(variance, bits)
    used = np.flatnonzero(given)
    spread = np.sqrt(variance[used])
    return FeatureCode(
        mean.astype(np.float32),
        (vectors[:, used] * spread / weight[:, None]).T.astype(np.float32),
        (vectors[:, used] * weight[:, None] / spread).astype(np.float32),
        given[used],
    )


def allot(variance: NDArray[np.float64], bits: int) -> I64:
    """Bits per component: each next bit goes where most error is left (a bit quarters it)."""
    given = np.zeros(len(variance), dtype=np.int64)
    left = variance.astype(np.float64).copy()
    for _ in range(min(bits, MAX_BITS * len(variance))):
        best = int(left.argmax())
        given[best] += 1
        left[best] = left[best] / 4 if given[best] < MAX_BITS else -1.0
    return given
