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

"""The order of training data, a pure function of seed and iteration.

Nothing needs to be saved, and any iteration can be computed again after a kill.
"""

from __future__ import annotations

import numpy as np


def batch_indices(count: int, batch: int, iteration: int, seed: int) -> list[int]:
    """Items of one batch of an endless chain of random permutations.

    Args:
        count: Number of items.
        batch: Batch size.
        iteration: From 0.
        seed: Of the run.

    Raises:
        ValueError: There are no items.
    """
    if count < 1:
        raise ValueError('there is nothing to sample from')
    picked: list[int] = []
    position = iteration * batch
    while len(picked) < batch:
        epoch, offset = divmod(position + len(picked), count)
        order = np.random.default_rng((seed, epoch, 0x5A)).permutation(count)
        picked += order[offset : offset + batch - len(picked)].tolist()
    return picked


def generator(seed: int, iteration: int, slot: int = 0) -> np.random.Generator:
    """Randomness of one slot of one iteration."""
    return np.random.default_rng((seed, iteration, slot, 0xC0))
