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

from __future__ import annotations

import importlib.util
import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from small import config, frame, model
from small_rings import CONFIG as MAPS

from cooptrack_core.errors import InputError
from cooptrack_core.models import backends
from cooptrack_core.models.checkpoint import save_weights
from cooptrack_core.models.cobevt.checkpoint import save_weights as save_map_weights
from cooptrack_core.models.cobevt.model import Cobevt
from cooptrack_core.models.cooptrack.config import BackboneConfig
from cooptrack_core.perception import AgentPerception, CooperativePerception, load_model
from cooptrack_core.perception.map_loading import load_map_model
from cooptrack_ros import cli

ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(
        importlib.util.find_spec(name) is None, reason=f'{name} is not installed'))
    for name in ('openvino', 'onnxruntime')
]  # fmt: skip


@pytest.mark.parametrize('backend', ENGINES)
def test_an_engine_gives_the_maps_of_torch(backend: backends.Backend, tmp_path: Path):
    network = model()
    images = frame().images
    with torch.inference_mode():
        own = network.neck(network.backbone(images))
    path = tmp_path / f'agent{backends.ENDINGS[backend]}'
    backends.export(network, 'abc', backend, path)
    for exported in (path, None):
        (found,) = backends.image_network(network, 'abc', backend, exported=exported)(images)
        torch.testing.assert_close(found, own, atol=1e-4, rtol=1e-4)
    with pytest.raises(InputError, match='belongs to model abc, not to xyz'):
        backends.image_network(network, 'xyz', backend, exported=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match='export it again'):
        backends.image_network(network, 'abc', backend, exported=path)
    with pytest.raises(InputError, match='cooptrack export'):
        backends.image_network(network, 'abc', backend, exported=tmp_path / 'nowhere')


@pytest.mark.parametrize('backend', ENGINES)
def test_an_engine_runs_the_backbone_of_a_map_model(backend: backends.Backend, tmp_path: Path):
    torch.manual_seed(0)
    weights = tmp_path / 'maps.safetensors'
    save_map_weights(Cobevt(MAPS), weights)
    assert cli.main(['export', str(weights), '-o', str(tmp_path), '--backend', backend]) == 0
    exported = weights.with_suffix(backends.ENDINGS[backend])
    own = load_map_model(weights)
    engine = load_map_model(weights, backend=backend, exported=exported)
    images = torch.randn(2, 4, 3, MAPS.image.height, MAPS.image.width)
    geometry = (torch.eye(3).expand(2, 4, 3, 3), torch.eye(4).expand(2, 4, 4, 4))
    with torch.inference_mode():
        known, found = (m.network.encode(images, *geometry) for m in (own, engine))
    torch.testing.assert_close(found, known, atol=1e-3, rtol=1e-3)
    assert (engine.as_dict()['backend'], engine.model_id) == (backend, own.model_id)


def test_maps_in_bfloat16_need_an_engine(tmp_path: Path):
    weights = tmp_path / 'maps.safetensors'
    save_map_weights(Cobevt(MAPS), weights)
    with pytest.raises(InputError, match='fp32, not in bf16'):
        load_map_model(weights, precision='bf16')


CAN_COMPILE = (
    shutil.which('g++') is not None
    and (Path(sysconfig.get_paths()['include']) / 'Python.h').is_file()
)


@pytest.mark.skipif(not CAN_COMPILE, reason='torch.compile needs g++ and the headers of Python')
def test_compiled_networks_give_the_maps_of_torch_in_both_precisions():
    network, images = model(), frame().images
    with torch.inference_mode():
        own = network.neck(network.backbone(images))
    (found,) = backends.image_network(network, 'abc', 'compile')(images)
    torch.testing.assert_close(found, own, atol=1e-4, rtol=1e-4)
    (rounded,) = backends.image_network(network, 'abc', 'compile', 'bf16')(images)
    assert 0 < (rounded - own).abs().max() < 0.05 * own.abs().max()


def test_a_machine_that_cannot_compile_is_told_so(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError('no compiler\nat all')

    monkeypatch.setattr(backends.torch, 'compile', lambda *_, **__: broken)
    with pytest.raises(InputError, match=r'RuntimeError: no compiler\)') as caught:
        backends.image_network(model(), 'abc', 'compile')
    assert 'g++' in str(caught.value)


@pytest.mark.parametrize('backend', ENGINES)
def test_several_levels_come_finest_first(backend: backends.Backend):
    network = model(config(backbone=BackboneConfig('convnext_small')))
    with torch.inference_mode():
        own = network.neck(network.backbone(frame().images))
        found = backends.image_network(network, 'abc', backend)(frame().images)
    for a, b in zip(own, found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_a_backend_that_is_missing_or_cannot_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(InputError, match='does not compute in bf16'):
        backends.image_network(model(), 'abc', 'onnxruntime', 'bf16')
    with pytest.raises(InputError, match=r'end in \.xml'):
        backends.export(model(), 'abc', 'openvino', tmp_path / 'x.onnx')

    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(backends.importlib, 'import_module', absent)
    with pytest.raises(InputError, match=r'cooptrack_ros\[openvino\]'):
        backends.image_network(model(), 'abc', 'openvino')
    path = tmp_path / 'agent.safetensors'
    save_weights(model(), path)
    with pytest.raises(InputError, match='not installed'):
        load_model(path, backend='openvino')


def test_bfloat16_gives_nearly_the_same_objects_in_full_precision_arrays(tmp_path: Path):
    from small_models import camera_frame, save_pair

    agent, cooperative = save_pair(tmp_path)
    results = [
        AgentPerception(load_model(agent, precision=p), 'roadside', 1).process(
            camera_frame('roadside', 0)
        )
        for p in ('fp32', 'bf16')
    ]
    assert results[1].message.query_features.dtype == np.float32
    first, second = (r.detections for r in results)
    nearest = np.linalg.norm(
        first.boxes.centers[:5, None, :2] - second.boxes.centers[None, :, :2], axis=-1
    ).min(1)
    assert (nearest < 0.5).all()
    ego = CooperativePerception(load_model(cooperative, precision='bf16'), 'vehicle')
    fused = ego.process(camera_frame('vehicle', 0), [results[1].message])
    assert np.isfinite(fused.tracks.boxes.centers).all()
