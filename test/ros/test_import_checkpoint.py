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

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cooptrack_core.models import official_files
from cooptrack_core.models.checkpoint import (
    load_weights,
    read_metadata,
    to_official_state_dict,
)
from cooptrack_core.models.cooptrack.config import r50
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.cooptrack.quirks import OfficialQuirks
from cooptrack_ros.cli import main


@pytest.fixture(scope='module')
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file as the training framework writes it, with seeded weights."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp('released') / 'coop.pth'
    state = to_official_state_dict(CoopTrack(r50('cooperative')))
    torch.save({'meta': {'epoch': 48, 'CLASSES': ['car']}, 'state_dict': state}, path)
    yield path


def test_an_imported_checkpoint_loads_with_every_tensor_and_behaves_as_released(
    released: Path, tmp_path: Path
):
    out, report = tmp_path / 'coop.safetensors', tmp_path / 'report.json'
    assert main(['import-checkpoint', str(released), '-o', str(out), '--json', str(report)]) == 0
    told = json.loads(report.read_text())
    assert (told['role'], told['tensors'], told['parameters']) == ('cooperative', 914, 47_132_149)
    model = load_weights(out)
    assert model.config.quirks == OfficialQuirks.official()
    assert read_metadata(out)['model_id'] == told['model_id']
    before = torch.load(released, weights_only=True)['state_dict']
    after = to_official_state_dict(model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_repaired_import_switches_every_quirk_off(released: Path, tmp_path: Path):
    out = tmp_path / 'coop.safetensors'
    assert main(['import-checkpoint', str(released), '-o', str(out), '--repaired']) == 0
    assert load_weights(out).config.quirks == OfficialQuirks()


def test_a_wrong_role_names_keys_and_counterparts_and_writes_nothing(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / 'out.safetensors'
    arguments = ['import-checkpoint', str(released), '-o', str(out), '--role', 'vehicle']
    assert main(arguments) == 2
    text = capsys.readouterr().err
    assert '0 missing, 97 unexpected' in text and 'crossview_alignment.rot_mlp' in text
    assert not out.exists()


def state(*names: str) -> dict[str, Tensor]:
    return {name: torch.zeros(1) for name in names}


def test_an_agent_of_an_unknown_file_must_be_told_apart_by_the_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / 'own.pth'
    torch.save(state('STReasoner.wq'), path)
    assert main(['import-checkpoint', str(path), '-o', str(tmp_path / 'o.safetensors')]) == 2
    assert '--role vehicle or --role roadside' in capsys.readouterr().err
    torch.save(state('reference_points.weight'), path)
    assert main(['import-checkpoint', str(path), '-o', str(tmp_path / 'o.safetensors')]) == 2
    assert '--role vehicle_detection or --role roadside_detection' in capsys.readouterr().err


def test_a_released_file_is_known_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / 'file.pth'
    path.write_bytes(b'weights')
    digest = 'ddb9b2e8f8a3b9f0d1f2c3a4b5c6d7e8'
    monkeypatch.setattr(official_files, '_RELEASED', {digest: 'roadside'})
    monkeypatch.setattr(
        official_files.hashlib, 'md5', lambda **_: type('D', (), {
            'update': lambda self, block: None, 'hexdigest': lambda self: digest})(),
    )  # fmt: skip
    assert official_files.find_role(path, state('STReasoner.wq')) == 'roadside'
