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


"""The report page in headless Chromium; not run where Chromium is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_browser import CHROMIUM, Browser
from report_scene import START_NS, frames, metrics, with_maps

from cooptrack_core.geometry import SE3, Boxes3D
from cooptrack_ros.report import ReportFrame, ReportWriter
from cooptrack_ros.report.drawing import id_colour
from cooptrack_ros.report.encode import image_data

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason='the page test needs chromium (Debian: apt install chromium)'
)

COUNT = 30
HOSTILE = '</script><img src=x onerror="document.documentElement.dataset.error=1">'


def write(path: Path, run: list[ReportFrame], **options: object) -> Path:
    with ReportWriter(path, title='Junction', **options) as writer:  # type: ignore[arg-type]
        for frame in run:
            writer.add(frame)
        return writer.close(metrics=metrics(), provenance={'seed': 3, 'command line': 'run x'})


@pytest.fixture(scope='module')
def run() -> list[ReportFrame]:
    return list(frames(COUNT, width=320, height=180))


@pytest.fixture(scope='module')
def page_path(tmp_path_factory: pytest.TempPathFactory, run: list[ReportFrame]) -> Path:
    return write(tmp_path_factory.mktemp('report') / 'report.html', run)


@pytest.fixture(scope='module')
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp('profile')) as instance:
        yield instance


@pytest.fixture
def page(browser: Browser, page_path: Path) -> Iterator[Browser]:
    browser.messages.clear()
    browser.requests.clear()
    browser.open(page_path)
    yield browser
    assert browser.value('document.documentElement.dataset.error') is None
    assert browser.messages == []


def pixels(browser: Browser, canvas: str) -> str:
    return str(browser.value(f'document.querySelector({canvas!r}).toDataURL()'))


def images_drawn(browser: Browser, index: int) -> None:
    browser.wait(
        f"[...document.querySelectorAll('.camera')].every((f) => f.dataset.frame === '{index}')"
    )


def test_it_opens_without_error_and_asks_no_network_for_anything(page: Browser) -> None:
    images_drawn(page, 0)
    assert page.value('document.documentElement.dataset.frame') == '0'
    elsewhere = [url for url in page.requests if not url.startswith(('file:', 'data:'))]
    assert elsewhere == []
    assert len([url for url in page.requests if url.startswith('file:')]) == 1


def test_scrubbing_changes_images_and_birds_eye_view(page: Browser) -> None:
    images_drawn(page, 0)
    canvases = ('#scene', '.camera canvas', '.camera:last-child canvas', '#rate', '#found')
    before = [pixels(page, canvas) for canvas in canvases]
    page.value(
        "(() => { const s = document.getElementById('scrub'); s.value = 20;"
        " s.dispatchEvent(new Event('input')); })()"
    )
    images_drawn(page, 20)
    after = [pixels(page, canvas) for canvas in canvases]
    assert [a != b for a, b in zip(before, after, strict=True)] == [True] * 5
    assert page.value('document.documentElement.dataset.stamp') == str(START_NS + 20 * 10**8)
    assert page.value("document.getElementById('clock').textContent") == '2.0 / 2.9 s'


def test_the_address_fragment_opens_at_a_time(page: Browser, page_path: Path) -> None:
    page.open(page_path.with_name(page_path.name), '#t=1.2')
    page.wait("document.documentElement.dataset.frame === '12'")


def test_keys_step_jump_play_and_pause(page: Browser) -> None:
    def shown() -> int:
        return int(page.value('document.documentElement.dataset.frame'))

    page.press('ArrowRight')
    assert shown() == 1
    page.press('ArrowRight', shift=True)
    assert shown() == 11
    page.press('ArrowLeft')
    assert shown() == 10
    page.press('End')
    assert shown() == COUNT - 1
    page.press('Home')
    assert shown() == 0
    page.press(' ')
    page.wait('Number(document.documentElement.dataset.frame) > 2')
    page.press(' ')
    paused = shown()
    assert page.value('cooptrackReport.state.playing') is False
    page.value('new Promise((done) => setTimeout(done, 300))')
    assert shown() == paused


def test_playing_ends_at_the_last_frame(page: Browser) -> None:
    page.press('End')
    page.press('ArrowLeft')
    page.press(' ')
    page.wait(f"document.documentElement.dataset.frame === '{COUNT - 1}'")
    page.wait('!cooptrackReport.state.playing')


def test_every_layer_switch_changes_a_picture(page: Browser) -> None:
    page.value('cooptrackReport.seek(20)')
    images_drawn(page, 20)
    keys = page.value("[...document.querySelectorAll('#layers button')].map((b) => b.id)")
    assert len(keys) == 13
    for key in keys:
        before = pixels(page, '#scene') + pixels(page, '.camera:last-child canvas')
        page.value(f"document.getElementById('{key}').click()")
        after = pixels(page, '#scene') + pixels(page, '.camera:last-child canvas')
        assert before != after, key
        page.value(f"document.getElementById('{key}').click()")


def test_a_key_switches_a_layer_and_the_views_and_zoom_differ(page: Browser) -> None:
    page.press('3')
    assert page.value("document.getElementById('layer-ego_only').ariaPressed") == 'false'
    seen = [pixels(page, '#scene')]
    for key in ('+', '0', 'v', 'v', '-'):
        page.press(key)
        seen.append(pixels(page, '#scene'))
    assert seen[0] == seen[2]  # 0 resets
    assert len(set(seen)) == 5


def test_the_numbers_shown_are_those_of_the_record(page: Browser, run: list[ReportFrame]) -> None:
    index = 20
    page.value(f'cooptrackReport.seek({index})')
    frame = run[index]
    assert frame.ground_truth is not None and frame.hidden is not None
    assert frame.ego_only is not None
    text = page.value(
        "[...document.querySelectorAll('#counts dd')].map((node) => node.textContent)"
    )
    hidden = int(frame.hidden.sum())
    assert hidden == 3  # the made-up scene hides something, so the numbers below say something
    assert text[:6] == [
        str(len(frame.ground_truth)),
        str(len(frame.ego_only)),
        str(len(frame.cooperative)),
        str(hidden),
        '0',
        str(hidden),
    ]
    window = run[index - 9 : index + 1]
    sent = sum(message.size_bytes for each in window for message in each.messages)
    assert page.value(f"cooptrackReport.rates.get('roadside_1')[{index}]") == sent
    shown = page.value("document.getElementById('rate-now').textContent")
    assert shown == f'roadside_1 {sent / 1000:.1f} kB/s'


def test_message_statistics_account_for_every_message(
    page: Browser, run: list[ReportFrame]
) -> None:
    statistics = page.value("cooptrackReport.messageStatistics('roadside_1')")
    messages = [message for frame in run for message in frame.messages]
    assert statistics['sent'] == len(messages) == COUNT
    assert statistics['lost'] == 1
    assert statistics['rejected'] == {'too_old': 1, 'duplicate': 1}
    assert statistics['accepted'] == COUNT - 3
    assert statistics['bytes'] == sum(message.size_bytes for message in messages)
    ages = [message.age_ms for message in messages if message.outcome != 'lost']
    assert statistics['age_median'] == pytest.approx(np.quantile(ages, 0.5))
    assert statistics['age_p95'] == pytest.approx(np.quantile(ages, 0.95))
    table = page.value("document.querySelector('#messages tbody').textContent")
    assert 'too_old 1, duplicate 1' in table


def test_the_metrics_table_shows_every_method_and_marks_the_best(page: Browser) -> None:
    rows = page.value(
        "[...document.querySelectorAll('#metrics tbody tr')].map("
        '(row) => [...row.cells].map((cell) => cell.textContent))'
    )
    assert [row[0].split(' ')[0] for row in rows] == [
        'no_fusion', 'roadside_only', 'rule_matching', 'cooptrack'
    ]  # fmt: skip
    assert rows[3][1:3] == ['0.460', '0.410']
    assert rows[0][rows_head(page).index('hidden precision')] == '–'
    best = page.value(
        "[...document.querySelectorAll('#metrics td.best')].map((c) => c.textContent)"
    )
    assert '0.460' in best and '0.300' not in best
    assert '50 m around the ego' in page.value("document.getElementById('protocol').textContent")
    assert 'run x' in page.value("document.getElementById('provenance').textContent")


def rows_head(page: Browser) -> list[str]:
    heads = page.value(
        "[...document.querySelectorAll('#metrics thead th')].map((c) => c.textContent)"
    )
    return list(heads)


def test_boxes_are_projected_like_the_camera_model_does(
    page: Browser, run: list[ReportFrame]
) -> None:
    index = 7
    frame = run[index]
    compared = 0
    for number, camera in enumerate(frame.cameras):
        _, model = image_data(camera.image, 480, 70)
        agent_SE3_world = frame.agent(camera.agent_id).world_SE3_agent.inverse()
        tracks = frame.cooperative
        boxes = tracks.boxes
        corners = (agent_SE3_world @ tracks.world_SE3_agent).transform_points(boxes.corners())
        expected, depth = model.project(corners)
        for i in range(len(boxes)):
            if depth[i].min() < 1:
                continue
            lines = page.value(
                f'cooptrackReport.project(cooptrackReport.frames[{index}].cameras[{number}].matrix,'
                f' cooptrackReport.frames[{index}].cooperative[{i}].box)'
            )
            drawn = np.array(lines)[:4, :2]  # the four lower corners start the first four edges
            # Boxes are kept to the millimetre.
            tolerance = 1e-3 * model.intrinsic[0, 0] / depth[i].min() * 3
            np.testing.assert_allclose(drawn, expected[i, :4], atol=tolerance)
            compared += 1
    assert compared >= 10


def test_an_edge_through_the_camera_plane_is_cut_not_mirrored(page: Browser) -> None:
    # Camera at the origin looking along +x: u = -y / x, v = -z / x.
    matrix = [0, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0]
    lines = page.value(f'cooptrackReport.project({matrix}, [0, 2, 0, 10, 1, 1, 0, 0, 0])')
    assert len(lines) == 8  # four edges behind the camera are gone
    assert all(u0 < 0 and u1 < 0 for u0, _, u1, _ in lines)  # y > 0 stays on the left
    behind = page.value(f'cooptrackReport.project({matrix}, [-9, 2, 0, 4, 1, 1, 0, 0, 0])')
    assert behind == []


def test_the_address_fragment_and_a_key_show_the_association(
    browser: Browser, page_path: Path, run: list[ReportFrame]
) -> None:
    browser.open(page_path, '#t=1&show=association,unknown')
    browser.wait("document.documentElement.dataset.frame === '10'")
    rows = browser.value(
        "[...document.querySelectorAll('#counts dt')].map((d) => [d.textContent, "
        'd.nextSibling.textContent, d.className])'
    )
    assert ['Matched pairs', '4', ''] in rows
    assert ['Vehicle unmatched', '1', 'alone-ego'] in rows
    assert ['Others unmatched', '2', 'alone-remote'] in rows
    # The middle of a diamond has exactly the colour of its kind.
    size = browser.value(
        "(() => { const c = document.getElementById('scene');"
        ' return [c.clientWidth, c.clientHeight, c.width / c.clientWidth]; })()'
    )
    scale = min(size[:2]) / 100
    truth = run[10].ground_truth
    assert truth is not None
    for place, colour in ((5, '#14a546'), (0, None)):
        x, y = truth.boxes.centers[place, :2] + ([0.8, -0.4] if colour is None else [0.0, 0.0])
        at = [(size[0] / 2 - y * scale) * size[2], (0.6 * size[1] - x * scale) * size[2]]
        pixel = browser.value(
            "[...document.getElementById('scene').getContext('2d')"
            f'.getImageData({at[0]}, {at[1]}, 1, 1).data].slice(0, 3)'
        )
        wanted = (20, 165, 70) if colour else id_colour(40)
        assert np.abs(np.array(pixel) - wanted).max() <= 2
    browser.press('a')
    assert browser.value("document.getElementById('layer-association').ariaPressed") == 'false'
    assert 'Matched pairs' not in browser.value("document.getElementById('counts').textContent")


def test_a_click_selects_the_track_under_it(page: Browser, run: list[ReportFrame]) -> None:
    page.value('cooptrackReport.seek(10)')
    ego = run[10].cooperative
    place = page.value(
        "(() => { const r = document.getElementById('scene').getBoundingClientRect();"
        ' return [r.left, r.top, r.width, r.height]; })()'
    )
    scale = min(place[2], place[3]) / 100  # 100 m fit the shorter side
    alone = int(np.argmax(np.abs(ego.boxes.centers[:, 0] + 10) * (ego.boxes.centers[:, 0] < 45)))
    x, y = ego.boxes.centers[alone, :2]
    page.click(place[0] + place[2] / 2 - y * scale, place[1] + 0.6 * place[3] - x * scale)
    card = page.value("document.getElementById('picked').textContent")
    assert str(ego.track_ids[alone]) in card and 'rests on' in card
    page.press('Escape')
    assert page.value("document.getElementById('picked').hidden") is True


def test_hostile_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    run = list(frames(3, width=64, height=36, remote_id=HOSTILE))
    message = replace(run[1].messages[0], outcome=HOSTILE)
    run[1] = replace(run[1], messages=(message,), frame_id=HOSTILE)
    with ReportWriter(tmp_path / 'report.html', title=HOSTILE) as writer:
        for frame in run:
            writer.add(frame)
        path = writer.close(
            metrics={
                'methods': {HOSTILE: {'mean_ap': 0.5, HOSTILE: 1}},
                'protocol': {HOSTILE: HOSTILE},
            },
            provenance={HOSTILE: HOSTILE},
        )
    browser.open(path, '#t=0.1')
    browser.wait("document.documentElement.dataset.frame === '1'")
    assert browser.value('document.documentElement.dataset.error') is None
    assert browser.value("document.querySelectorAll('img').length") == 0
    assert browser.value('document.title') == HOSTILE
    assert HOSTILE in browser.value("document.getElementById('provenance').textContent")


def test_runs_without_labels_images_peers_or_frames_open(
    browser: Browser, tmp_path: Path, run: list[ReportFrame]
) -> None:
    bare = [
        replace(
            frame, ground_truth=None, hidden=None, ego_only=None, cameras=(), messages=(),
            agents=frame.agents[:1],
            cooperative=frame.cooperative.select(np.zeros(len(frame.cooperative), dtype=bool)),
        )
        for frame in run[:2]
    ]  # fmt: skip
    for name, frames_given in (('bare', bare), ('one', run[:1]), ('none', [])):
        path = write(tmp_path / f'{name}.html', frames_given)
        browser.open(path)
        assert browser.value('document.documentElement.dataset.error') is None, name
    assert 'no frames' in browser.value("document.getElementById('headline').textContent")


def test_a_stamp_that_goes_back_and_a_new_scene_restart_the_trails(
    browser: Browser, tmp_path: Path, run: list[ReportFrame]
) -> None:
    moved = SE3.from_yaw(1.0, (5000.0, 100.0, 0.0))
    second = [
        replace(
            frame,
            sequence_id='0008',
            agents=tuple(
                replace(agent, world_SE3_agent=moved @ agent.world_SE3_agent)
                for agent in frame.agents
            ),
        )
        for frame in run[:4]
    ]
    path = write(tmp_path / 'report.html', [*run[:5], *second])
    browser.open(path)
    times = browser.value('cooptrackReport.frames.map((frame) => frame.time)')
    assert np.allclose(np.diff(times), 0.1)
    starts = browser.value(
        'cooptrackReport.frames.map((frame) => [frame.scene.first, ...frame.scene.origin])'
    )
    assert [start[0] for start in starts] == [0] * 5 + [5] * 4
    assert starts[0][1:] != starts[-1][1:]


def test_tracks_of_another_pose_are_moved_into_the_ego_frame_of_the_frame(
    browser: Browser, tmp_path: Path, run: list[ReportFrame]
) -> None:
    frame = run[10]
    shift = SE3.from_yaw(0.3, (4.0, -2.0, 0.0))
    tracks = frame.cooperative
    assert isinstance(tracks.boxes, Boxes3D)
    elsewhere = replace(
        tracks,
        world_SE3_agent=frame.ego.world_SE3_agent @ shift,
        boxes=tracks.boxes.transformed(shift.inverse()),
    )
    path = write(tmp_path / 'report.html', [replace(frame, cooperative=elsewhere)])
    browser.open(path)
    boxes = browser.value('cooptrackReport.frames[0].cooperative.map((track) => track.box)')
    np.testing.assert_allclose(np.array(boxes)[:, :3], tracks.boxes.centers, atol=2e-3)


def test_a_missing_image_is_said_and_the_next_one_shown(
    browser: Browser, tmp_path: Path, run: list[ReportFrame]
) -> None:
    lost = replace(run[1], cameras=run[1].cameras[:1])
    path = write(tmp_path / 'report.html', [run[0], lost, run[2]])
    browser.open(path)
    images_drawn(browser, 0)
    seen = [pixels(browser, '.camera:last-child canvas')]
    for index in (1, 2):
        browser.press('ArrowRight')
        images_drawn(browser, index)
        seen.append(pixels(browser, '.camera:last-child canvas'))
    assert len(set(seen)) == 3
    assert len(seen[1]) < len(seen[0]) / 2  # a dark panel with a line of text
    assert browser.value('document.documentElement.dataset.error') is None


def test_many_made_up_senders_do_not_swamp_the_page(
    browser: Browser, tmp_path: Path, run: list[ReportFrame]
) -> None:
    (genuine,) = run[0].messages
    flood = tuple(replace(genuine, agent_id=f'x{i}', outcome='unknown_agent') for i in range(300))
    path = write(
        tmp_path / 'report.html', [replace(run[0], messages=(genuine, *flood)), *run[1:3]]
    )
    browser.open(path)
    assert browser.value("document.querySelectorAll('#messages tbody tr').length") == 20
    text = browser.value("document.getElementById('messages').textContent")
    assert text.endswith('and 281 more senders with 281 messages')
    assert 'roadside_1' in text
    assert browser.value("document.querySelectorAll('#rate-now span').length") == 5
    assert browser.value("document.querySelectorAll('#counts dt').length") <= 13


@pytest.fixture
def mapped(browser: Browser, tmp_path: Path, run: list[ReportFrame]) -> Browser:
    """A page of three frames with maps under the tracks."""
    browser.messages.clear()
    browser.open(write(tmp_path / 'maps.html', [with_maps(frame) for frame in run[:3]]))
    return browser


def share_of(browser: Browser, colour: str, x: float, y: float) -> float:
    """How much of a colour of the page the map shows at a place in the ego's frame, metres."""
    shown = browser.value(
        '(() => { const r = cooptrackReport; for (const key of Object.keys(r.state.layers))'
        " r.state.layers[key] = key.startsWith('map'); r.seek(r.state.index);"
        " const c = document.getElementById('scene'), k = c.width / c.clientWidth;"
        f' const [px, py] = r.place({x}, {y});'
        " return [...c.getContext('2d').getImageData(px * k, py * k, 1, 1).data]; })()"
    )
    colours = browser.value(
        "(() => { const s = getComputedStyle(document.documentElement); return ['ground',"
        f" '{colour}'].map((n) => s.getPropertyValue('--' + n).trim()); }})()"
    )
    ground, full = (np.array([int(c[k : k + 2], 16) for k in (1, 3, 5)]) for c in colours)
    # The canvas is transparent; the ground is the page behind it.
    shown = np.array(shown[:3]) * shown[3] / 255 + ground * (1 - shown[3] / 255)
    way = full - ground
    part = float((shown - ground) @ way / (way @ way))
    assert np.abs(ground + part * way - shown).max() < 9, (shown, colours)  # on the way to it
    return part


def test_the_map_lies_under_the_tracks_by_class_source_and_change(mapped: Browser) -> None:
    car, road, verge = (8.3, -1.6), (8.3, 2.4), (8.3, 6.4)
    assert share_of(mapped, 'map-vehicle', *car) > 0.85
    assert 0.3 < share_of(mapped, 'map-drivable', *road) < 0.6
    mapped.press('m')  # whose maps
    assert share_of(mapped, 'map-both', *car) > 0.85
    assert 0.3 < share_of(mapped, 'map-ego', *road) < 0.6
    assert 0.05 < share_of(mapped, 'map-ego', *verge) < 0.2
    mapped.press('m')  # what cooperation changed
    assert share_of(mapped, 'map-gained', *car) > 0.85
    assert share_of(mapped, 'map-same', *road) < 0.4
    mapped.press('m')  # ego alone
    assert 0.3 < share_of(mapped, 'map-drivable', *car) < 0.6
    mapped.press('m')  # ground truth
    assert share_of(mapped, 'map-vehicle', *car) > 0.85
    assert mapped.value("document.getElementById('map-mode').value") == 'truth'
    mapped.press('m')
    assert mapped.value("document.getElementById('map-mode').value") == 'class'
    mapped.value("document.getElementById('layer-map_vehicle').click()")
    assert mapped.value('cooptrackReport.state.layers.map_vehicle') is False
    assert mapped.value('document.documentElement.dataset.error') is None


def test_a_run_without_tracks_shows_map_agents_and_truth_alone(
    browser: Browser, tmp_path: Path, run: list[ReportFrame]
) -> None:
    bare = [
        replace(with_maps(f), cooperative=None, ego_only=None, associations=(), unmatched=())
        for f in run[:2]
    ]
    browser.messages.clear()
    browser.open(write(tmp_path / 'bare.html', bare))
    names = browser.value("[...document.querySelectorAll('#layers button')].map((b) => b.id)")
    assert [name.removeprefix('layer-') for name in names] == [
        'truth', 'views', 'boxes', 'map', 'map_vehicle', 'map_drivable', 'map_lane',
    ]  # fmt: skip
    assert browser.value("document.getElementById('found-box').hidden") is True
    for key in ('a', 'm', 'ArrowRight', '1'):
        browser.press(key)
    assert browser.value('document.documentElement.dataset.error') is None
    assert browser.messages == []


def test_a_run_without_maps_offers_none(page: Browser) -> None:
    assert page.value("document.getElementById('map-mode').hidden") is True
    assert page.value("document.getElementById('layer-map')") is None
    page.press('m')
