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

"""Maps that a frozen backbone and SinBEVT made once, in memory and, if wanted, on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cooptrack_core.files import atomic_path
from cooptrack_core.models.cobevt.model import Cobevt

Key = tuple[Path, str, str]  # directory of the scenario, agent, frame


class MapCache:
    """(1, C, H, W) maps by scenario, agent and frame, in half precision.

    On disk they lie in a directory of their trunk, named by its weights: runs that compare
    operators on one trunk share it, and another trunk never meets them.
    """

    def __init__(self, model: Cobevt, directory: Path | None = None) -> None:
        """Open the cache.

        Args:
            model: Whose backbone and SinBEVT make the maps; they must not change any more.
            directory: Where maps are kept beyond this run; None keeps them in memory only.
        """
        self._maps: dict[Key, Tensor] = {}
        self._directory = None if directory is None else directory / trunk_name(model)

    def get(self, key: Key, make: Callable[[], Tensor]) -> Tensor:
        """The map of a key, made at its first use.

        Raises:
            InputError: It cannot be written.
        """
        if key not in self._maps:
            self._maps[key] = self._load(key, make)
        return self._maps[key].float()

    def _load(self, key: Key, make: Callable[[], Tensor]) -> Tensor:
        if self._directory is None:
            return make().half().cpu()
        # Datasets may name their scenarios alike: only the whole path tells them apart.
        scenario = hashlib.sha256(str(key[0].resolve()).encode()).hexdigest()[:16]
        path = self._directory / scenario / f'{key[1]}_{key[2]}.npy'
        try:
            return torch.from_numpy(np.load(path, allow_pickle=False))
        except (OSError, ValueError):  # not there yet, or damaged: made anew
            found = make().half().cpu()
        # Runs at the same time may make the same map: each writes a file of its own name first.
        own = path.with_name(f'{path.stem}.{os.getpid()}.npy')
        with atomic_path(own) as partial, partial.open('wb') as file:
            np.save(file, found.numpy())
        own.replace(path)
        return found


def trunk_name(model: Cobevt) -> str:
    """Hash of everything that a map before the fusion depends on."""
    state = hashlib.sha256(repr((model.config.image, model.config.quirks)).encode())
    for name, value in model.state_dict().items():
        if name.startswith(('backbone.', 'sinbevt.')):
            state.update(name.encode())
            state.update(value.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()[:16]
