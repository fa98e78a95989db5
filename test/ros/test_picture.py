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

"""The association and tracking pictures: colours at known places, and the command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_scene import frames, look_at

from cooptrack_core.geometry import SE3, Boxes3D
from cooptrack_core.perception import CooperativeResult
from cooptrack_core.structures import CLASS_NAMES, AgentFrame, CameraImage, TrackedObjects
from cooptrack_ros import cli
from cooptrack_ros.report import drawing
from cooptrack_ros.report.canvas import WHITE, Canvas, Picture, ascii_text
from cooptrack_ros.report.drawing import BevView, id_colour, projected_edges
from cooptrack_ros.report.pictures import (
    CLASS_COLOURS,
    REMOTE_ALONE,
    VEHICLE_ALONE,
    association_bev,
    cameras,
    draw_picture,
    tracking_bev,
    tracking_marks,
)
from cooptrack_ros.report.snapshot import Snapshot

VIEW = BevView(600, 60.0)
metres = st.floats(-50, 50)


def snapshot(number: int = 6) -> Snapshot:
    """A moment of the made-up run of the report's tests."""
    frame = list(frames(number + 1, width=480, height=270))[number]
    images: dict[str, list[CameraImage]] = {agent.agent_id: [] for agent in frame.agents}
    for camera in frame.cameras:
        images[camera.agent_id].append(camera.image)
    agents = {
        a.agent_id: AgentFrame(
            a.agent_id,
            a.role,
            frame.sequence_id,
            frame.frame_id,
            frame.stamp_ns,
            tuple(images[a.agent_id]),
            a.world_SE3_agent,
            a.world_SE3_agent,
        )
        for a in frame.agents
    }
    tracks = frame.cooperative
    ego = agents.pop(frame.ego_id)
    trail = tracks.boxes.centers[0] + np.array([[-6.0, 0, 0], [0, 0, 0]])
    return Snapshot(
        'Junction',
        number,
        0.6,
        ego,
        agents,
        CooperativeResult(tracks, tracks, frame.associations, False, frame.unmatched),
        frame.ground_truth,
        {int(tracks.track_ids[0]): trail},
    )


def has(picture: Picture, at: np.ndarray, colour: tuple[int, int, int], off: int = 12) -> bool:
    """Whether the pixel at (x, y) or one beside it has a colour."""
    x, y = np.floor(at).astype(int)
    part = picture[y - 1 : y + 2, x - 1 : x + 2].astype(int)
    return bool((np.abs(part - colour).max(-1) <= off).any())


@given(metres, metres)
def test_forward_is_up_and_left_is_left_at_scale(x: float, y: float) -> None:
    u, v = VIEW.pixels([x, y])
    assert (u, v) == pytest.approx((300 - 5 * y, 300 - 5 * x))
    assert VIEW.shows([x, y])
    assert not VIEW.shows([x + 120, y])


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=2, unique=True))
def test_colours_of_ids_leave_green_and_blue_to_their_meanings(ids: list[int]) -> None:
    for track_id in ids:
        red, green, blue = id_colour(track_id)
        assert red >= green, 'a green'
        assert red > 60 and not blue > 1.8 * red, 'a blue'


def test_neighbouring_ids_are_told_apart() -> None:
    colours = np.array([id_colour(i) for i in range(1, 12)], dtype=float)
    steps = np.linalg.norm(np.diff(colours, axis=0), axis=1)
    assert steps.min() > 60


def test_the_association_shows_pairs_by_id_and_the_unmatched_in_blue_and_green() -> None:
    moment = snapshot()
    picture = association_bev(moment, VIEW)
    for one in moment.result.unmatched:
        at = VIEW.pixels(one.position)
        if one.agent_id == 'vehicle':
            assert has(picture, at - [7, 0], VEHICLE_ALONE)
        else:
            assert has(picture, at, REMOTE_ALONE)
    for pair in moment.result.associations:
        assert has(picture, VIEW.pixels(pair.remote_position), id_colour(pair.track_id))
    # A line joins the two ends: move one pair apart, where nothing else is drawn.
    far = moment.result.associations[0]
    start, end = np.array([-30.0, 20.0, 0]), np.array([-30.0, 30.0, 0])
    apart = type(far)(far.agent_id, end, start, 0.9, 7)
    result = CooperativeResult(
        moment.result.tracks, moment.result.tracks, (apart,), False, moment.result.unmatched
    )
    moved = association_bev(Snapshot(**{**vars(moment), 'result': result}), VIEW)
    middle = VIEW.pixels((start + end) / 2)
    assert has(moved, middle, id_colour(7))
    assert not has(picture, middle, id_colour(7))


def test_the_tracks_have_the_colour_of_their_id_and_the_truth_is_green() -> None:
    moment = snapshot()
    picture = tracking_bev(moment, VIEW)
    tracks, truth = moment.result.tracks, moment.truth
    assert truth is not None
    for box, track_id in zip(tracks.boxes.corners(), tracks.track_ids.tolist(), strict=True):
        if VIEW.shows(box[0]):
            front = VIEW.pixels((box[0] + box[3]) / 2)
            assert has(picture, front, id_colour(track_id), off=60), track_id
    # The truck (0) stands alone: its flank is nearer to the truth's than a line is wide.
    without = CooperativeResult(tracks.select(tracks.track_ids < 0), tracks, (), False)
    bare = tracking_bev(Snapshot(**{**vars(moment), 'result': without, 'trails': {}}), VIEW)
    corners = VIEW.pixels(truth.boxes.corners()[0, :4])
    assert has(bare, (corners[1] + corners[2]) / 2, drawing.TRUTH, off=40)


def test_unsure_tracks_are_faint_and_counted() -> None:
    moment = snapshot()
    tracks = moment.result.tracks
    sure = dataclasses.replace(tracks, scores=np.full(len(tracks), 0.9))
    doubt = dataclasses.replace(tracks, scores=np.full(len(tracks), 0.4))

    def ink(tracks: TrackedObjects) -> tuple[float, float]:
        """How much the tracks change the two pictures."""
        none, ends = tracks.select(tracks.track_ids < 0), []
        for chosen in (tracks, none):
            result = dataclasses.replace(moment.result, tracks=chosen)
            now = dataclasses.replace(moment, result=result, trails={})
            ends.append((tracking_bev(now, VIEW), cameras(now, 480, 548)))
        with_them, without = ends
        pairs = zip(with_them, without, strict=True)
        above, image = (float(np.abs(a.astype(int) - b).mean()) for a, b in pairs)
        return above, image

    for faint, full in zip(ink(doubt), ink(sure), strict=True):
        assert 0.05 * full < faint < 0.5 * full

    def words(tracks: TrackedObjects) -> str:
        result = dataclasses.replace(moment.result, tracks=tracks)
        return tracking_marks(dataclasses.replace(moment, result=result), VIEW)[0][2]

    assert 'unsure' not in words(sure)
    shown = int(words(sure).split()[0])
    assert words(doubt) == f'{shown} tracks, coloured by id ({shown} unsure, faint)'


def test_boxes_in_images_have_the_colours_of_their_classes() -> None:
    moment = snapshot()
    picture = cameras(moment, 480, 548)  # two images of 270 lines and the gap
    tracks = moment.result.tracks
    ends = []
    for frame, top in ((moment.frame, 0), (moment.remote_frames['roadside_1'], 278)):
        agent_SE3_ego = frame.world_SE3_agent.inverse() @ tracks.world_SE3_agent
        lag = (frame.images[0].stamp_ns - tracks.stamp_ns) / 1e9
        velocity = np.nan_to_num(tracks.boxes.velocities)
        shifted = Boxes3D(
            tracks.boxes.centers + np.c_[velocity * lag, np.zeros(len(tracks))],
            tracks.boxes.sizes,
            tracks.boxes.yaws,
            tracks.boxes.velocities,
        )
        edges = projected_edges(frame.images[0].camera, shifted.transformed(agent_SE3_ego))
        for label, lines in zip(tracks.labels.tolist(), edges, strict=True):
            middles = lines.mean(1) + 0.5
            inside = (middles > 3).all(-1) & (middles < [476, 266]).all(-1)
            colour = CLASS_COLOURS[CLASS_NAMES[label]]
            hits = [has(picture, m + np.array([0, top]), colour, off=70) for m in middles[inside]]
            ends.append((CLASS_NAMES[label], hits))
    for name in CLASS_NAMES:
        hits = [hit for other, found in ends if other == name for hit in found]
        # Nearer boxes and names may cover some.
        assert len(hits) >= 12 and np.mean(hits) > 0.6, (name, len(hits), np.mean(hits))


def test_edges_are_projected_by_the_camera_model_and_cut_before_the_camera() -> None:
    camera = look_at('c', (0, 0, 1.5), 0.1, 0.1, width=480, height=270, field_of_view=1.2)
    boxes = Boxes3D(
        np.array([[12.0, 1, 0.8], [2.0, 1, 0.8], [-9.0, 0, 0.8]]),
        np.array([[4.0, 2, 1.6]] * 3),
        np.array([0.3, 0.0, 0.0]),
        np.zeros((3, 2)),
    )
    edges = projected_edges(camera, boxes)
    expected, depth = camera.project(boxes.corners())
    assert (depth[0] > 1).all()
    np.testing.assert_allclose(edges[0, 0], expected[0, [0, 1]])
    assert np.isnan(edges[2]).all()
    # The second box begins beside the camera: some edges are cut, and stay on their line.
    crossing = (depth[1, 0] < 0.3) != (depth[1, 1] < 0.3)
    assert not crossing or np.isfinite(edges[1, 0]).all()
    cut = [k for k in range(12) if np.isfinite(edges[1, k]).all()]
    assert 0 < len(cut) < 12
    ends = boxes.corners()[1][np.array(drawing.BOX_EDGES)]
    for k in cut:
        inner = ends[k, 0] * np.array([[0.999], [0.5]]) + ends[k, 1] * np.array([[0.001], [0.5]])
        seen, far = camera.project(inner)
        if (far > 0.3).all():
            along, across = edges[1, k, 1] - edges[1, k, 0], seen - edges[1, k, 0]
            assert np.abs(along[0] * across[:, 1] - along[1] * across[:, 0]).max() < 1e-3 * max(
                1.0, float(along @ along)
            )


def test_the_canvas_draws_where_it_is_told_and_mixes() -> None:
    canvas = Canvas(100, 60, WHITE)
    canvas.polygon([[10, 10], [30, 10], [30, 30], [10, 30]], (200, 0, 0))
    canvas.polygon([[20, 20], [40, 20], [40, 40], [20, 40]], (0, 0, 200), 0.5)
    canvas.line([[0, 50], [1e9, 50]], (0, 90, 0), 3)
    picture = canvas.finished()
    assert picture.shape == (60, 100, 3)
    assert picture[15, 15].tolist() == [200, 0, 0]
    assert np.abs(picture[25, 25].astype(int) - [100, 0, 100]).max() <= 1
    assert np.abs(picture[35, 35].astype(int) - [128, 128, 228]).max() <= 1
    assert picture[50, 99].tolist() == [0, 90, 0]
    assert picture[45, 5].tolist() == [255, 255, 255]


def test_text_takes_the_width_that_it_says_and_survives_names_from_the_air() -> None:
    canvas = Canvas(300, 40)
    width = canvas.text('roadside', [10, 30], size=16)
    dark = np.flatnonzero((canvas.finished() < 128).all(-1).any(0))
    assert dark[0] >= 10 and dark[-1] <= 10 + width + 1
    assert width * 0.8 < dark[-1] - dark[0]
    assert ascii_text('a\n\u202eb' + 'x' * 100) == 'a??b' + 'x' * 53 + '...'


def test_the_kinds_differ_in_width_and_a_missing_image_is_said() -> None:
    moment = snapshot()
    widths = {kind: draw_picture(moment, kind).shape[1] for kind in ('association', 'tracking')}
    both = draw_picture(moment, 'both')
    assert widths['association'] < widths['tracking'] < both.shape[1]
    bare = Snapshot(**{**vars(moment), 'remote_frames': {}, 'truth': None, 'trails': {}})
    picture = cameras(bare, 480, 548)
    lower = picture[278:]
    assert (lower > 128).any() and np.median(lower) < 40  # a dark panel with words
    assert draw_picture(bare, 'both').shape == both.shape


def test_another_agent_out_of_sight_is_left_out() -> None:
    moment = snapshot()
    (name, other), *_ = moment.remote_frames.items()
    far = SE3.from_yaw(0.0, other.world_SE3_agent.translation + np.array([1e5, 0, 0]))
    away = AgentFrame(**{**vars(other), 'world_SE3_agent': far})
    picture = association_bev(Snapshot(**{**vars(moment), 'remote_frames': {name: away}}), VIEW)
    none = association_bev(Snapshot(**{**vars(moment), 'remote_frames': {}}), VIEW)
    assert (picture == none).all()


# The command.


def test_the_command_writes_a_picture_of_the_moment(
    scene: Path, weights: list[str], tmp_path: Path
) -> None:
    out, numbers = tmp_path / 'deep' / 'both.png', tmp_path / 'numbers.json'
    arguments = ['picture', str(scene), '-o', str(out), '--frame', '1', '--json', str(numbers)]
    assert cli.main([*arguments, '--quiet', *weights]) == 0
    picture = cv2.imread(str(out))
    assert picture.shape[0] > 900 and picture.std() > 10
    said = json.loads(numbers.read_text())
    assert said['frame'] == 1 and said['time_s'] == pytest.approx(0.1, abs=0.02)
    assert said['pairs'] + said['unmatched_remote'] > 0
    # The same again, and by time.
    again = tmp_path / 'again.png'
    arguments = ['picture', str(scene), '-o', str(again), '--time', '0.05', '--quiet', *weights]
    assert cli.main(arguments) == 0
    assert again.read_bytes() == out.read_bytes()
    # Without a moment, the end of a scene that is shorter than 5 s.
    assert cli.main(['picture', str(scene), '-o', str(again), '--quiet', *weights]) == 0
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ('arguments', 'remedy'),
    [
        (['--scene', '0007'], "did you mean '0000'?"),
        (['--frame', '2'], 'give 0 to 1'),
        (['--time', '99'], 'give 0 to 0.1'),
        (['--frame', '-1'], 'give a number from 0 on'),
        (['--reach', '1'], 'give 10 to 200 metres'),
        (['--ego', 'roadside'], 'leave the option away'),
    ],
)
def test_what_is_not_there_is_said_with_a_remedy(
    scene: Path,
    weights: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    remedy: str,
) -> None:
    out = tmp_path / 'out.png'
    code = cli.main(['picture', str(scene), '-o', str(out), '--quiet', *weights, *arguments])
    said = capsys.readouterr().err
    assert code == 2
    assert arguments[0] in said and remedy in said
    assert not out.exists()


def test_a_name_that_is_no_picture_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(['picture', str(tmp_path), '-o', str(tmp_path / 'x.gif')]) == 2
    assert '.png' in capsys.readouterr().err
