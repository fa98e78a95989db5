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

"""Weights: official ones strictly in and out, our own whole or not at all."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filler import fill
from safetensors.torch import save_file
from small import config, frame, model, remote
from torch import Tensor

from cooptrack_core.errors import InputError
from cooptrack_core.models import checkpoint
from cooptrack_core.models.cooptrack.config import r50
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.cooptrack.quirks import OfficialQuirks

COUNTS = {
    'vehicle': (817, 43_627_505),
    'roadside': (817, 43_627_505),
    'cooperative': (914, 47_132_149),
    'vehicle_detection': (651, 33_577_828),
    'roadside_detection': (651, 33_577_828),
}
GROUPS = {
    'img_backbone.': (318, 23_561_205),
    'img_neck.': (4, 1_114_624),
    'pts_bbox_head.transformer.': (218, 6_168_128),
    'pts_bbox_head.cls_branches.': (60, 800_274),
    'pts_bbox_head.reg_branches.': (36, 804_924),
    'pts_bbox_head.': (318, 8_426_136),
    'query_embedding.': (4, 164_352),
    'STReasoner.': (187, 11_717_393),
    'MotionExtractor.': (28, 175_488),
    'crossview_alignment.': (48, 1_661_440),
    'bev_': (4, 131_584),
}


@pytest.fixture(scope='module')
def official() -> Iterator[dict[str, Tensor]]:
    """A detection state dict, the smallest of the official ones."""
    yield fill(checkpoint.to_official_state_dict(CoopTrack(r50('vehicle_detection'))))


@pytest.mark.parametrize('role', checkpoint.ROLES)
def test_keys_and_sizes_are_those_of_the_released_files(role: checkpoint.OfficialRole) -> None:
    with torch.device('meta'):
        network = CoopTrack(r50(role))
    state = checkpoint.to_official_state_dict(network)
    keys, parameters = COUNTS[role]
    assert len(state) == keys
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(v.numel() for v in state.values()) == parameters + 53_183


def test_groups_of_the_cooperative_state_dict_have_the_documented_sizes() -> None:
    with torch.device('meta'):
        state = checkpoint.to_official_state_dict(CoopTrack(r50('cooperative')))
    for prefix, (keys, numel) in GROUPS.items():
        inside = [v for k, v in state.items() if k.startswith(prefix)]
        assert (len(inside), sum(v.numel() for v in inside)) == (keys, numel), prefix
    for name, shape in {
        'STReasoner.ffn.3.weight': (1, 256),
        'STReasoner.get_dummy_pts.2.bias': (3,),
        'crossview_alignment.rot_mlp.7.weight': (4096,),
        'pts_bbox_head.transformer.encoder.layers.2.attentions.0.sampling_offsets.weight': (
            128,
            512,
        ),
        'pts_bbox_head.transformer.can_bus_mlp.norm.weight': (256,),
    }.items():
        assert tuple(state[name].shape) == shape


def test_official_weights_survive_the_round_trip(
    official: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / 'released.pth'
    wrapped = {'state_dict': {f'module.{k}': v for k, v in official.items()}, 'meta': {'epoch': 1}}
    torch.save(wrapped, path)
    network = checkpoint.load_official(path, 'vehicle_detection')
    assert not network.training
    assert network.config.quirks == OfficialQuirks.official()
    back = checkpoint.to_official_state_dict(network)
    assert back.keys() == official.keys()
    assert all(torch.equal(back[k], official[k]) for k in official)


def test_missing_unexpected_and_misshaped_keys_are_named(official: dict[str, Tensor]) -> None:
    state = dict(official)
    state['img_neck.lateral_convs.0.conv.wieght'] = state.pop(
        'img_neck.lateral_convs.0.conv.weight'
    )
    state['reference_points.weight'] = torch.zeros(300, 3)
    with pytest.raises(InputError) as caught:
        checkpoint.load_official(state, 'vehicle_detection')
    text = str(caught.value)
    assert '1 missing, 1 unexpected and 1 misshaped' in text
    assert 'missing img_neck.lateral_convs.0.conv.weight (here neck.lateral.weight)' in text
    assert 'nearest is img_neck.lateral_convs.0.conv.weight' in text
    assert (
        'reference_points.weight: (300, 3) in the file, (900, 3) here (learnt.refs.weight)' in text
    )


def test_weights_of_another_role_are_refused(official: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match='166 missing, 0 unexpected'):
        checkpoint.load_official(official, 'vehicle')


def test_an_unknown_role_is_named() -> None:
    with pytest.raises(InputError, match="unknown role 'infra'"):
        checkpoint.load_official({}, 'infra')  # type: ignore[arg-type]


class _RunsCode:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.putenv, ('COOPTRACK_PWNED', '1'))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'evil.pth'
    torch.save({'state_dict': {'a': torch.zeros(1)}, 'meta': _RunsCode()}, path)
    with pytest.raises(InputError, match='without running its code'):
        checkpoint.load_official(path, 'vehicle')


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'nowhere\.pth'):
        checkpoint.load_official(tmp_path / 'nowhere.pth', 'vehicle')
    path = tmp_path / 'damaged.safetensors'
    checkpoint.save_weights(model(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r'damaged\.safetensors'):
        checkpoint.load_weights(path)
    with pytest.raises(InputError, match=r'nowhere\.safetensors'):
        checkpoint.load_weights(tmp_path / 'nowhere.safetensors')


def test_our_weights_come_back_with_their_configuration(tmp_path: Path) -> None:
    path, network = tmp_path / 'm.safetensors', model(config('lift'))
    identity = checkpoint.save_weights(network, path, metadata={'stage': 'tracking'})
    again = checkpoint.load_weights(path)
    assert again.config == network.config
    assert checkpoint.model_id(again) == identity
    assert checkpoint.read_metadata(path)['stage'] == 'tracking'
    with torch.inference_mode():
        a, _ = network(frame(0), None, [remote(3)])
        b, _ = again(frame(0), None, [remote(3)])
    assert torch.equal(a.queries.boxes, b.queries.boxes)


def test_the_model_id_follows_weights_and_configuration() -> None:
    network = model()
    first = checkpoint.model_id(network)
    assert first == checkpoint.model_id(model())
    with torch.no_grad():
        next(network.parameters()).add_(1e-3)
    assert checkpoint.model_id(network) != first
    assert checkpoint.model_id(model(config(dropout=0.1))) != first


def test_weights_of_another_configuration_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'm.safetensors'
    checkpoint.save_weights(model(), path)
    wanted = config()
    other = dataclasses.replace(wanted, decoder=dataclasses.replace(wanted.decoder, queries=21))
    with pytest.raises(InputError, match=r'config\.decoder.*queries=20.*queries=21'):
        checkpoint.load_weights(path, other)
    quicker = dataclasses.replace(wanted.tracking, max_age=9)
    tuned = dataclasses.replace(wanted, tracking=quicker)  # thresholds may differ
    assert checkpoint.load_weights(path, tuned).config.tracking.max_age == 9


def test_a_file_without_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'plain.safetensors'
    save_file({'a': torch.zeros(1)}, path)
    with pytest.raises(InputError, match='holds no model configuration'):
        checkpoint.load_weights(path)


def test_a_failed_write_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'm.safetensors'
    identity = checkpoint.save_weights(model(), path)

    def full(_: int) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(InputError, match='No space left'):
        checkpoint.save_weights(model(seed=1), path)
    assert [p.name for p in tmp_path.iterdir()] == ['m.safetensors']
    assert checkpoint.model_id(checkpoint.load_weights(path)) == identity


def test_a_lift_model_has_no_official_form() -> None:
    with pytest.raises(InputError, match='has no counterpart in the official model'):
        checkpoint.to_official_state_dict(model(config('lift')))
