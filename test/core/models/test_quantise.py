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

"""Eight-bit networks: close to float32, made for one model, and refused where they do not fit."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import frame, model
from small_rings import CONFIG as MAPS
from small_rings import simulate_rings

TEST = Path(__file__).parents[2]
sys.path[:0] = [str(TEST / 'core' / 'datasets'), str(TEST / 'core' / 'perception')]
from builder import Spec, build_v2x_seq  # noqa: E402
from small_models import camera_frame, save_pair  # noqa: E402

from cooptrack_core.datasets.v2x_seq import V2XSeqDataset  # noqa: E402
from cooptrack_core.errors import InputError  # noqa: E402
from cooptrack_core.models import backends, quantise  # noqa: E402
from cooptrack_core.models.attention.multihead import MultiheadAttention  # noqa: E402
from cooptrack_core.models.cobevt.model import Cobevt  # noqa: E402
from cooptrack_core.models.cooptrack.preprocess import prepare_frame  # noqa: E402
from cooptrack_core.models.inference import for_inference  # noqa: E402
from cooptrack_core.perception import (  # noqa: E402
    AgentPerception,
    CooperativePerception,
    load_model,
)
from cooptrack_core.perception.calibration import calibration_images  # noqa: E402
from cooptrack_ros import cli  # noqa: E402

ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(
        any(importlib.util.find_spec(m) is None for m in (name, 'onnxruntime', 'onnx')),
        reason=f'{name} is not installed, or ONNX Runtime'))
    for name in ('openvino', 'onnxruntime')
]  # fmt: skip


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_a_product_in_eight_bits_is_near_that_in_float(seed: int, scale: float):
    torch.manual_seed(seed)
    linear = torch.nn.Linear(64, 32)
    x = scale * torch.randn(2, 50, 64)
    with torch.inference_mode():
        own, found = linear(x), quantise.Int8Linear(linear.weight, linear.bias)(x)
    assert found.shape == own.shape
    assert (found - own).abs().mean() < 0.05 * (own - linear.bias).abs().mean()


def test_of_a_model_only_the_products_of_features_are_rounded():
    ready = for_inference(model(), 'int8')
    rounded = [n for n, m in ready.named_modules() if isinstance(m, quantise.Int8Linear)]
    # The three matrices of an attention have numbers for names.
    names = {n.split('.')[-1] for n in rounded if '.projections.' not in n}
    assert {'expand', 'contract'} <= names <= set(quantise._PRODUCTS)
    attention = [m for m in ready.decoder.modules() if isinstance(m, MultiheadAttention)]
    assert attention
    assert all(m.projections is not None for m in attention)
    offsets = [m.sampling_offsets for m in ready.decoder.modules()
               if hasattr(m, 'sampling_offsets')]  # fmt: skip
    assert all(type(m) is torch.nn.Linear for m in offsets)
    heads = [m for m in ready.decoder.box_heads.modules() if isinstance(m, torch.nn.Linear)]
    assert heads


def test_without_eight_bit_products_in_torch_the_model_stays_in_float(monkeypatch):
    def gone(*_: object) -> None:
        raise AttributeError('no such thing')

    monkeypatch.setattr(quantise.torch, 'quantize_per_channel', gone)
    own, ready = for_inference(model()), for_inference(model(), 'int8')
    assert not [m for m in ready.modules() if isinstance(m, quantise.Int8Linear)]
    with torch.inference_mode():
        first, second = (m(frame(), None)[0].queries.feats for m in (own, ready))
    assert torch.equal(first, second)


@pytest.mark.parametrize('backend', ENGINES)
def test_an_eight_bit_network_gives_nearly_the_maps_of_float32(
    backend: backends.Backend, tmp_path: Path
):
    network, images = model(), frame().images
    with torch.inference_mode():
        own = network.neck(network.backbone(images))
    path, plain = (tmp_path / f'{n}{backends.ENDINGS[backend]}' for n in ('int8', 'fp32'))
    backends.export(network, 'abc', backend, path, [images, images.flip(-1)])
    (found,) = backends.image_network(network, 'abc', backend, 'int8', path)(images)
    assert 0 < (found - own).abs().max() < 0.15 * own.abs().max()
    assert (found - own).abs().mean() < 0.05 * own.abs().mean()
    with pytest.raises(InputError, match='computes in int8, not in fp32'):
        backends.image_network(network, 'abc', backend, 'fp32', path)
    with pytest.raises(InputError, match='belongs to model abc'):
        backends.image_network(network, 'xyz', backend, 'int8', path)
    backends.export(network, 'abc', backend, plain)
    with pytest.raises(InputError, match='computes in fp32, not in int8'):
        backends.image_network(network, 'abc', backend, 'int8', plain)
    with pytest.raises(InputError, match='no image to calibrate'):
        backends.export(network, 'abc', backend, path, [])


def test_eight_bits_need_a_network_made_beforehand(tmp_path: Path):
    agent, _ = save_pair(tmp_path)
    with pytest.raises(InputError, match='calibrated with images beforehand'):
        load_model(agent, backend='onnxruntime', precision='int8')
    with pytest.raises(InputError, match='calibrated with images beforehand'):
        backends.image_network(model(), 'abc', 'compile', 'int8', agent)
    with pytest.raises(InputError, match='torch runs no image network'):
        load_model(agent, precision='int8')


@pytest.mark.parametrize('backend', ENGINES)
def test_the_command_makes_eight_bit_networks_that_agent_and_ego_run(
    backend: backends.Backend, tmp_path: Path
):
    data = build_v2x_seq(tmp_path / 'data', Spec(frames=3)).root
    pair = save_pair(tmp_path)
    arguments = ['export', *map(str, pair), '-o', str(tmp_path / 'int8'), '--backend', backend]
    arguments += ['--precision', 'int8', '--calibration', str(data), '--calibration-images', '3']
    assert cli.main(arguments) == 0
    loaded = [
        load_model(
            path, backend=backend, precision='int8',
            exported=backends.exported_file(tmp_path / 'int8', path, backend),
        )
        for path in pair
    ]  # fmt: skip
    said = AgentPerception(loaded[0], 'roadside', 1).process(camera_frame('roadside', 0))
    ego = CooperativePerception(loaded[1], 'vehicle')
    fused = ego.process(camera_frame('vehicle', 0), [said.message])
    assert np.isfinite(fused.tracks.boxes.centers).all()
    assert loaded[0].as_dict()['precision'] == 'int8'


@pytest.mark.parametrize('more', [['--precision', 'int8'], ['--calibration', 'data']])
def test_eight_bits_and_images_belong_together(more: list[str], tmp_path: Path, capsys):
    agent, _ = save_pair(tmp_path)
    assert cli.main(['export', str(agent), '-o', str(tmp_path), *more]) == 2
    assert 'belong together' in capsys.readouterr().err


def test_calibration_sees_what_the_network_sees_evenly_spread_over_all_agents(tmp_path: Path):
    path = build_v2x_seq(tmp_path / 'data', Spec(frames=6)).root
    network = model()
    found = list(calibration_images(path, network, 4))
    scene = V2XSeqDataset(path).scenes[0]
    size = network.config.image
    assert [tuple(image.shape) for image in found] == [(1, 3, size.height, size.width)] * 4
    everything = [
        prepare_frame(scene.frame(agent, frame_id), network.config).images
        for agent in ('vehicle', 'roadside')
        for frame_id in scene.frame_ids(agent)
    ]
    for image in found:
        assert any(torch.equal(image, known) for known in everything)
    assert len(list(calibration_images(path, network, 1000))) == len(everything)
    with pytest.raises(InputError, match='too few'):
        next(calibration_images(path, network, 0))


def test_rings_calibrate_map_models(tmp_path: Path):
    path = simulate_rings(tmp_path / 'rings')
    found = list(calibration_images(path, Cobevt(MAPS), 6))
    assert [tuple(i.shape) for i in found] == [(1, 3, MAPS.image.height, MAPS.image.width)] * 6


def test_an_exported_file_has_the_name_of_its_weights_and_the_ending_of_its_backend():
    found = backends.exported_file(Path('int8'), 'weights/tiny.safetensors', 'openvino')
    assert found == Path('int8/tiny.xml')
    with pytest.raises(InputError, match='torch uses no exported files'):
        backends.exported_file(Path('int8'), 'weights/tiny.safetensors', 'torch')
