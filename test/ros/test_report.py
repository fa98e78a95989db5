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


"""The report writer without a browser: self-contained, escaped, atomic, small."""

from __future__ import annotations

import base64
import errno
import html
import json
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from report_scene import frames, metrics, with_maps

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import MapGrid
from cooptrack_core.structures import Source
from cooptrack_ros.report import LOST, ReportFrame, ReportMessage, ReportWriter
from cooptrack_ros.report.encode import image_data, json_text, match_objects
from cooptrack_ros.report.encode_map import runs
from cooptrack_ros.report.record import ReportCamera


def write(path: Path, count: int = 3, **options: object) -> str:
    with ReportWriter(path, title='Junction', **options) as writer:  # type: ignore[arg-type]
        for frame in frames(count, width=64, height=36):
            writer.add(frame)
        writer.close(metrics=metrics(), provenance={'seed': 3})
    return path.read_text(encoding='utf-8')


def records(text: str) -> list[dict[str, object]]:
    found = re.findall(r'<script type="application/json" class="frame">(.*?)</script>', text)
    return [json.loads(one) for one in found]


def test_the_page_names_no_resource_outside_itself(tmp_path: Path) -> None:
    text = write(tmp_path / 'report.html')
    without_namespace = text.replace("'http://www.w3.org/2000/svg'", '')
    assert not re.search(r'https?://|//cdn|@import|url\(|<link|<iframe|<base', without_namespace)
    assert not re.search(r'\bsrc\s*=\s*["\']', text)
    script = text[text.rindex('<script>') :]
    for forbidden in (
        r'\beval\b',
        r'new Function',
        r'innerHTML',
        r'insertAdjacentHTML',
        r'fetch\(',
        r'XMLHttpRequest',
        r'document\.write',
        r'WebSocket',
        r'\bimport\(',
    ):
        assert not re.search(forbidden, script), forbidden


def test_the_security_policy_allows_only_the_page_itself(tmp_path: Path) -> None:
    text = write(tmp_path / 'report.html')
    match = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert match is not None
    policy = html.unescape(match.group(1))
    directives = dict(part.strip().split(' ', 1) for part in policy.split(';'))
    assert directives['default-src'] == "'none'"
    assert directives['img-src'] == 'data:'
    for name in ('script-src', 'style-src'):
        assert re.fullmatch(r"'sha256-[A-Za-z0-9+/=]{44}'", directives[name])


def test_hostile_names_cannot_leave_their_data_block(tmp_path: Path) -> None:
    hostile = '</script><script>alert(1)</script><!--\u2028"\'&'
    (frame,) = frames(1, width=64, height=36, remote_id=hostile)
    with ReportWriter(tmp_path / 'report.html', title=hostile) as writer:
        writer.add(frame)
        writer.close(provenance={hostile: hostile})
    text = (tmp_path / 'report.html').read_text(encoding='utf-8')
    assert 'alert(1)</script>' not in text
    assert '<!--' not in text.replace('<!-- frames -->', '')
    (record,) = records(text)
    assert record['agents'][1]['id'] == hostile  # type: ignore[index]


@given(st.text())
def test_json_text_is_the_same_json_without_markup(text: str) -> None:
    encoded = json_text({'text': text, 'lone': '\udc80'})
    assert not set(encoded) & set('<>&\u2028\u2029')
    assert json.loads(encoded)['text'] == text
    encoded.encode('utf-8')


def test_json_text_keeps_what_javascript_can_hold() -> None:
    value = {'nan': np.float64('nan'), 'inf': -np.inf, 'small': np.int64(5), 'large': 2**60,
             'array': np.array([1.5, 2]), 'flag': np.bool_(True), 'none': None}  # fmt: skip
    assert json.loads(json_text(value)) == {
        'nan': None, 'inf': None, 'small': 5, 'large': str(2**60), 'array': [1.5, 2],
        'flag': True, 'none': None,
    }  # fmt: skip


class FullDisk:
    """Stands for the file once the disk is full."""

    def __init__(self, real: object) -> None:
        self._real = real

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, 'No space left on device')

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


@pytest.mark.parametrize('when', ['frame', 'close'])
def test_a_full_disk_leaves_no_file_and_names_it(tmp_path: Path, when: str) -> None:
    path = tmp_path / 'report.html'
    (frame,) = frames(1, width=64, height=36)
    with pytest.raises(InputError) as caught, ReportWriter(path, title='x') as writer:
        writer.add(frame)
        writer._file = FullDisk(writer._file)  # type: ignore[assignment]
        if when == 'frame':
            writer.add(frame)
        else:
            writer.close()
    assert str(path) in str(caught.value) and 'No space left' in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_real_full_device_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path('/dev/full').exists():
        pytest.skip('no /dev/full here')
    opened = Path.open
    monkeypatch.setattr(
        Path,
        'open',
        lambda self, mode='r', **kw: opened(
            Path('/dev/full') if 'w' in mode else self, mode, **kw
        ),
    )
    with (
        pytest.raises(InputError, match='No space left'),
        ReportWriter(tmp_path / 'report.html', title='x') as writer,
    ):
        for frame in frames(3, width=64, height=36):
            writer.add(frame)
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_an_old_page_stays_when_a_new_run_fails(tmp_path: Path) -> None:
    path = tmp_path / 'report.html'
    path.write_text('old', encoding='utf-8')
    with pytest.raises(KeyError), ReportWriter(path, title='x'):
        raise KeyError('the run failed')
    assert path.read_text(encoding='utf-8') == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_that_was_not_closed_is_no_page(tmp_path: Path) -> None:
    with ReportWriter(tmp_path / 'report.html', title='x') as writer:
        writer.add(next(frames(1, width=64, height=36)))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match='closed'):
        writer.add(next(frames(1, width=64, height=36)))


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / 'file'
    blocked.write_text('x', encoding='utf-8')
    with pytest.raises(InputError, match=r'report\.html'):
        ReportWriter(blocked / 'report.html', title='x')


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = write(tmp_path / 'a.html'), write(tmp_path / 'b.html')
    assert first == second and len(records(first)) == 3


def test_a_scene_of_ten_seconds_fits_twelve_megabytes_and_is_not_kept_in_memory(
    tmp_path: Path,
) -> None:
    # The worst case for JPEG: noise, which simulated or real images stay far below.
    (frame,) = frames(1, width=960, height=540)
    random = np.random.default_rng(0)
    cameras = tuple(
        ReportCamera(
            camera.agent_id,
            replace(
                camera.image,
                image=np.clip(
                    camera.image.image + random.normal(0, 18, camera.image.image.shape), 0, 255
                ).astype(np.uint8),
            ),
        )
        for camera in frame.cameras
    )
    path = tmp_path / 'report.html'
    with ReportWriter(path, title='x') as writer:
        writer.add(replace(frame, cameras=cameras))
        tracemalloc.start()
        for k in range(1, 100):
            writer.add(replace(frame, cameras=cameras, stamp_ns=frame.stamp_ns + k * 10**8))
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        writer.close()
    assert path.stat().st_size <= 12_000_000
    assert kept < 1_000_000


def test_images_beyond_the_budget_are_left_out_and_counted(tmp_path: Path) -> None:
    text = write(tmp_path / 'report.html', 4, image_budget=5000)
    left_out = sum(
        camera['image'] is None
        for record in records(text)
        for camera in record['cameras']  # type: ignore[attr-defined]
    )
    summary = re.search(r'id="summary">(.*?)</script>', text)
    assert summary is not None
    assert 0 < left_out < 8
    assert json.loads(summary.group(1))['images_left_out'] == left_out
    assert text.count('type="text/plain"') == 8 - left_out


def test_a_small_image_is_not_enlarged() -> None:
    (frame,) = frames(1, width=64, height=36)
    _, model = image_data(frame.cameras[0].image, 480, 70)
    assert (model.width, model.height) == (64, 36)


def test_hidden_objects_count_only_within_two_metres_of_their_class() -> None:
    (frame,) = frames(1, width=64, height=36)
    truth = frame.ground_truth
    assert truth is not None
    labels = np.array([('car', 'bicycle', 'pedestrian').index(n) for n in truth.class_names])
    scores = np.full(len(truth), 0.9)
    near = replace(truth.boxes, centers=truth.boxes.centers + np.array([1.2, 1.5, 0]))
    far = replace(truth.boxes, centers=truth.boxes.centers + np.array([1.3, 1.6, 0]))
    assert match_objects(near, labels, scores, truth).tolist() == list(range(len(truth)))
    assert match_objects(far, labels, scores, truth)[1] == -1
    assert (match_objects(near, labels, scores * 0.3, truth) == -1).all()
    assert (match_objects(near, (labels + 1) % 3, scores, truth)[[5, 6]] == -1).all()


def test_without_labels_added_means_supported_by_remote_agents_alone(tmp_path: Path) -> None:
    (frame,) = list(frames(6, width=64, height=36))[5:]
    with ReportWriter(tmp_path / 'report.html', title='x') as writer:
        writer.add(replace(frame, ground_truth=None, hidden=None))
        writer.close()
    (record,) = records((tmp_path / 'report.html').read_text(encoding='utf-8'))
    added = [track['added'] for track in record['cooperative']]  # type: ignore[attr-defined]
    assert added == (frame.cooperative.sources == Source.REMOTE).tolist()
    assert any(added)
    unsure = [track['unsure'] for track in record['cooperative']]  # type: ignore[attr-defined]
    assert unsure == (frame.cooperative.scores < 0.5).tolist()


def test_a_frame_refuses_what_does_not_fit_together() -> None:
    (frame,) = frames(1, width=64, height=36)
    assert isinstance(frame, ReportFrame)
    with pytest.raises(ValueError, match='not among the agents'):
        replace(frame, ego_id='nobody')
    with pytest.raises(ValueError, match='share an id'):
        replace(frame, agents=(*frame.agents, frame.agents[0]))
    with pytest.raises(ValueError, match='one entry per'):
        replace(frame, hidden=np.zeros(1, dtype=bool))


def test_the_association_is_written_in_the_plane_with_ids_and_owners(tmp_path: Path) -> None:
    (frame,) = frames(1, width=64, height=36)
    (record,) = records(write(tmp_path / 'report.html', 1))
    assert (
        record['alone']
        == [  # type: ignore[comparison-overlap]
            [*np.round(one.position[:2], 2).tolist(), int(one.agent_id == 'vehicle')]
            for one in frame.unmatched
        ]
    )
    pairs = np.array(record['pairs'])
    expected = [
        [*pair.ego_position[:2], *pair.remote_position[:2], pair.track_id]
        for pair in frame.associations
    ]
    np.testing.assert_allclose(pairs, expected, atol=0.0051)
    assert len(pairs) == 4


def test_a_lost_message_without_age_is_written(tmp_path: Path) -> None:
    (frame,) = frames(1, width=64, height=36)
    lost = ReportMessage('roadside_1', 100, float('nan'), 0, LOST)
    with ReportWriter(tmp_path / 'report.html', title='x') as writer:
        writer.add(replace(frame, messages=(lost,)))
        writer.close()
    (record,) = records((tmp_path / 'report.html').read_text(encoding='utf-8'))
    assert record['messages'][0]['age'] is None  # type: ignore[index]


@given(hnp.arrays(np.uint8, st.integers(1, 700), elements=st.sampled_from([0, 7, 255])))
def test_runs_hold_every_cell(cells: np.ndarray) -> None:
    pairs = np.frombuffer(base64.b64decode(runs(cells)), np.uint8).reshape(-1, 2)
    assert (pairs[:, 1] > 0).all()
    np.testing.assert_array_equal(np.repeat(pairs[:, 0], pairs[:, 1]), cells)
    # As few as there can be: neighbours differ, or the run before is full.
    assert ((np.diff(pairs[:, 0].astype(int)) != 0) | (pairs[:-1, 1] == 255)).all()


def test_maps_beyond_the_budget_are_left_out_and_counted(tmp_path: Path) -> None:
    run = [with_maps(frame) for frame in frames(3, width=64, height=36)]
    one = None
    for budget in (10**6, 0):
        path = tmp_path / f'{budget}.html'
        with ReportWriter(path, title='Junction', map_budget=budget) as writer:
            for frame in run:
                writer.add(frame)
            writer.close()
        text = path.read_text(encoding='utf-8')
        shown = [record['map'] is not None for record in records(text)]
        assert shown == [budget > 0] * 3
        assert f'"maps_left_out":{0 if budget else 3}' in text
        one = one or records(text)[0]['map']
    # The corners are those of the body's map in the ego's agent frame.
    np.testing.assert_allclose(one['corners'][0], [12.0, 8.0, -1.5], atol=1e-3)  # type: ignore[index]


def test_maps_of_different_cells_are_no_frame() -> None:
    (frame,) = (with_maps(frame) for frame in frames(1, width=64, height=36))
    assert frame.map is not None
    fused = frame.map.fused
    grid = MapGrid(fused.grid.rows, fused.grid.columns, 2 * fused.grid.cell)
    with pytest.raises(ValueError, match='different cells'):
        replace(frame.map, fused=replace(fused, grid=grid))
