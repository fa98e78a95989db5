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

"""A model ready for streaming: network, device, and the identity that messages carry."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cooptrack_core.errors import InputError
from cooptrack_core.models import checkpoint
from cooptrack_core.models.backends import Backend, exported_file, image_network
from cooptrack_core.models.cooptrack.model import CoopTrack, Matching
from cooptrack_core.models.cooptrack.variants import without
from cooptrack_core.models.devices import find_device
from cooptrack_core.models.inference import Precision, for_inference
from cooptrack_core.structures import Role
from cooptrack_core.v2x.feature_code import FeatureCode

__all__ = ['Backend', 'ModelSet', 'PerceptionModel', 'Precision', 'exported_file', 'load_model']


@dataclass(frozen=True, eq=False)
class PerceptionModel:
    """A loaded model.

    Attributes:
        network: The model in evaluation mode.
        model_id: Identity of weights and configuration; goes into the messages it makes.
        sender_id: Model id that messages must have to be fused by this model; None when the
            file does not say (single-agent models, imported checkpoints).
        path: Where it came from.
        device: Where it runs.
        matching: How messages are associated; None as the configuration says.
        backend: What runs backbone and neck.
        precision: Of the network; geometry always has full precision.
    """

    network: CoopTrack
    model_id: str
    sender_id: str | None
    path: str
    device: torch.device
    matching: Matching | None = None
    backend: Backend = 'torch'
    precision: Precision = 'fp32'

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Context in which the network runs."""
        if self.precision != 'bf16':
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    @property
    def code(self) -> FeatureCode | None:
        """Code of the compact messages that this model sends or understands, if it has one."""
        buffers = self.network.feature_code
        return None if buffers is None else buffers.code()

    def with_rule_matching(self) -> PerceptionModel:
        """Return the same weights, matching by distance instead of GBA."""
        if self.network.config.cooperation is None:
            raise InputError(
                'these are single-agent weights, they fuse nothing',
                path=self.path,
                remedy='give cooperative weights',
            )
        return dataclasses.replace(self, matching='rule')

    def as_dict(self) -> dict[str, Any]:
        """What a protocol prints about the model."""
        return {
            'name': self.network.config.name,
            'model_id': self.model_id,
            'file': Path(self.path).name,
            'backend': self.backend,
            'precision': self.precision,
            'parameters': sum(p.numel() for p in self.network.parameters()),
        }


@dataclass(frozen=True, eq=False)
class ModelSet:
    """The models of one comparison.

    Attributes:
        vehicle: Single-agent model of vehicles.
        roadside: Single-agent model of roadside units; may be the same.
        cooperative: Model of the ego that fuses.
        query_fusion: Of the baseline that fuses queries; None when none was given.
        bev_fusion: Of the baseline that fuses BEV maps; None when none was given.
        variants: Cooperative models without one part or another, by name.
        seeds: The models of ``cooperative``, ``query_fusion``, ``bev_fusion`` and of variants
            trained again, with other seeds, by those names.
    """

    vehicle: PerceptionModel
    roadside: PerceptionModel
    cooperative: PerceptionModel
    query_fusion: PerceptionModel | None = None
    bev_fusion: PerceptionModel | None = None
    variants: Mapping[str, PerceptionModel] = dataclasses.field(default_factory=dict)
    seeds: Mapping[str, Sequence[PerceptionModel]] = dataclasses.field(default_factory=dict)

    def agent(self, role: Role) -> PerceptionModel:
        """Single-agent model of a role."""
        return self.roadside if role is Role.ROADSIDE else self.vehicle

    def of_run(self, name: str, run: int) -> ModelSet:
        """Return the set with one model of another training run.

        Args:
            name: ``cooperative``, ``query_fusion``, ``bev_fusion`` or a variant.
            run: 2 for the first of ``seeds``; 1 is the model that is there.
        """
        model = self.seeds[name][run - 2]
        changed: dict[str, Any] = {name: model}
        if name in self.variants:
            changed = {'variants': {**self.variants, name: model}}
        return dataclasses.replace(self, **changed)

    def as_dict(self) -> dict[str, Any]:
        """What a protocol prints about the models."""
        baselines = {'query_fusion': self.query_fusion, 'bev_fusion': self.bev_fusion}
        variants = {f'{name}_model': model.as_dict() for name, model in self.variants.items()}
        return {
            'vehicle_model': self.vehicle.as_dict(),
            'roadside_model': self.roadside.as_dict(),
            'cooperative_model': self.cooperative.as_dict(),
            **{f'{n}_model': m.as_dict() for n, m in baselines.items() if m is not None},
            **variants,
            **{f'{n}_seeds': [m.as_dict() for m in models] for n, models in self.seeds.items()},
        }


def load_model(
    path: str | Path,
    device: str = 'cpu',
    *,
    backend: Backend = 'torch',
    precision: Precision = 'fp32',
    exported: str | Path | None = None,
    parts_left_out: Sequence[str] = (),
) -> PerceptionModel:
    """Load our own weights file for streaming.

    Args:
        path: The weights.
        device: Where they run.
        backend: What runs backbone and neck; on a GPU ``torch`` or ``compile``.
        precision: ``bf16`` is faster on CPUs and GPUs that multiply it natively, ``int8`` on all
            CPUs; that one rounds, and needs ``exported``.
        exported: File of ``cooptrack export`` for that backend; None converts the weights now.
        parts_left_out: Parts of CoopTrack that do not work; see ``models/cooptrack/variants.py``.

    Raises:
        InputError: The file is missing, damaged or of another configuration, the device is not
            there, or the backend cannot be used.
    """
    target = find_device(device)
    network = checkpoint.load_weights(path)
    if parts_left_out:
        network = without(network, parts_left_out)
    metadata = checkpoint.read_metadata(path)
    if precision == 'int8' and backend == 'torch':
        raise InputError(
            'torch runs no image network of eight bits',
            field='--precision',
            remedy='say --backend openvino or onnxruntime, and give --exported',
        )
    ready = for_inference(network, precision)
    if backend != 'torch':
        ready.image_network = image_network(
            network, metadata['model_id'], backend, precision, exported, target
        )
    return PerceptionModel(
        ready.to(target),
        metadata['model_id'],
        metadata.get('sender_model_id'),
        str(path),
        target,
        backend=backend,
        precision=precision,
    )
