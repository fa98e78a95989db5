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

"""A map model ready for streaming: network, device, and the identity that messages carry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cooptrack_core.errors import InputError
from cooptrack_core.models import checkpoint
from cooptrack_core.models.backends import Backend, image_network
from cooptrack_core.models.cobevt.checkpoint import load_weights
from cooptrack_core.models.cobevt.config import CobevtConfig
from cooptrack_core.models.cobevt.inference import for_inference
from cooptrack_core.models.cobevt.model import Cobevt
from cooptrack_core.models.devices import find_device
from cooptrack_core.models.inference import Precision
from cooptrack_core.v2x.bev_codec import BevLimits


@dataclass(frozen=True, eq=False)
class MapModel:
    """A loaded map model.

    Attributes:
        network: The model, made ready by ``for_inference``.
        model_id: Identity of weights and configuration; goes into the messages it makes, and
            messages must have it to be fused.
        path: Where it came from.
        device: Where it runs.
        backend: What runs the backbone.
        precision: Its number format.
    """

    network: Cobevt
    model_id: str
    path: str
    device: torch.device
    backend: Backend = 'torch'
    precision: Precision = 'fp32'

    @property
    def config(self) -> CobevtConfig:
        """Sizes and quirks."""
        return self.network.config

    @property
    def limits(self) -> BevLimits:
        """What a receiver with this model takes: its own cells and channels."""
        return BevLimits(grid=self.config.features, channels=self.config.sent_channels)

    def as_dict(self) -> dict[str, Any]:
        """What a protocol prints about the model."""
        config = self.config
        return {
            'name': config.name,
            'model_id': self.model_id,
            'file': Path(self.path).name,
            'fusion': None if self.network.fusion is None else config.operator,
            'compression': config.compression,
            'backend': self.backend,
            'precision': self.precision,
            'parameters': sum(p.numel() for p in self.network.parameters()),
        }


def load_map_model(
    path: str | Path,
    device: str = 'cpu',
    *,
    backend: Backend = 'torch',
    precision: Precision = 'fp32',
    exported: str | Path | None = None,
) -> MapModel:
    """Load our own map weights for streaming.

    Args:
        path: The weights, as ``cooptrack train --stage map`` writes them.
        device: Where they run.
        backend: What runs the backbone; on a GPU ``torch`` or ``compile``.
        precision: Of the backbone in an engine; ``torch`` computes maps in ``fp32`` only.
        exported: File of ``cooptrack export`` for that backend; None converts the weights now.

    Raises:
        InputError: The file is missing, damaged or of no map model, the device is not there, or
            the backend cannot be used.
    """
    target = find_device(device)
    network = load_weights(path)
    model_id = checkpoint.read_metadata(path)['model_id']
    ready = for_inference(network).to(target)
    if backend != 'torch':
        ready.image_network = image_network(
            network, model_id, backend, precision, exported, target
        )
    elif precision != 'fp32':
        raise InputError(
            f'torch computes maps in fp32, not in {precision}',
            field='--precision',
            remedy='use --precision fp32, or --backend openvino or compile',
        )
    return MapModel(ready, model_id, str(path), target, backend=backend, precision=precision)
