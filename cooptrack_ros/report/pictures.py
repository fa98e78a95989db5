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

"""The association picture and the tracking picture of a moment.

After sections D.1 and D.2 of the CoopTrack supplement: pairs of the association coloured by id,
unmatched instances of the vehicle blue and of roadside units green; boxes in the images orange
for cars, red for cyclists and blue for pedestrians; ground truth green and tracks coloured by id
in the bird's-eye view. Unsure tracks are faint, without id, as in the report page.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from cooptrack_core.geometry import SE3
from cooptrack_core.perception.viewpoint import moved
from cooptrack_core.structures import CLASS_NAMES, SURE_SCORE, AgentFrame, Role, TrackedObjects
from cooptrack_ros.report import drawing
from cooptrack_ros.report.canvas import WHITE, Array, Canvas, Colour, Picture, text_width
from cooptrack_ros.report.drawing import BevView, id_colour
from cooptrack_ros.report.snapshot import TRAIL_SECONDS, Snapshot

Kind = Literal['association', 'tracking', 'both']
KINDS: tuple[Kind, ...] = ('association', 'tracking', 'both')
Mark = tuple[str, Colour, str]  # of a legend: what to draw, its colour, words

CLASS_COLOURS: dict[str, Colour] = {
    'car': (255, 150, 20),
    'bicycle': (240, 50, 45),
    'pedestrian': (70, 140, 255),
}
CLASS_WORDS = {'car': 'cars', 'bicycle': 'cyclists', 'pedestrian': 'pedestrians'}
VEHICLE_ALONE: Colour = (25, 90, 235)
REMOTE_ALONE: Colour = (20, 165, 70)
SHAPES: Colour = (214, 219, 224)

_BEV = 920  # edge of a bird's-eye view, pixels
_CAMERAS = 812  # width of the camera column: two images of 16:9
_GAP = 8
_HEAD = 44  # title of the picture
_STRIP = 58  # legend above each panel
_FAINT = 0.35  # opacity of unsure tracks
_FAR = 500.0  # metres; other agents beyond it are left out


def draw_picture(snapshot: Snapshot, kind: Kind, reach: float = 60.0) -> Picture:
    """Draw what is wanted of a moment.

    Args:
        snapshot: The moment.
        kind: ``association`` (one bird's-eye view), ``tracking`` (images and a bird's-eye view)
            or ``both`` in one picture.
        reach: Metres from the ego to the edges of a bird's-eye view.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    view = BevView(_BEV, reach)
    panels: list[tuple[Picture, str, list[Mark]]] = []
    if kind != 'association':
        marks = [('bar', colour, CLASS_WORDS[name]) for name, colour in CLASS_COLOURS.items()]
        panels.append((cameras(snapshot, _CAMERAS, _BEV), 'Tracks in the images', marks))
        panels.append((tracking_bev(snapshot, view), 'Tracks', tracking_marks(snapshot, view)))
    if kind != 'tracking':
        marks = association_marks(snapshot, view)
        panels.append((association_bev(snapshot, view), 'Association', marks))
    width = sum(picture.shape[1] + _GAP for picture, *_ in panels) + _GAP
    page = Canvas(width, _HEAD + _STRIP + _BEV + _GAP)
    used = page.text(snapshot.title, [_GAP + 4, 30], size=18, bold=True)
    moment = f'frame {snapshot.index}, {snapshot.time_s:.1f} s'
    page.text(moment, [_GAP + 22 + used, 30], drawing.DIM, size=16)
    x = _GAP
    for picture, title, marks in panels:
        _legend(page, x, _HEAD, picture.shape[1], title, marks)
        page.paste(picture, x, _HEAD + _STRIP, *picture.shape[1::-1])
        x += picture.shape[1] + _GAP
    return page.finished()


# The bird's-eye views.


def association_bev(snapshot: Snapshot, view: BevView) -> Picture:
    """Pairs as lines between their two reference points, and what found no partner."""
    canvas = drawing.bev_ground(view)
    if snapshot.truth is not None:
        boxes = snapshot.truth.boxes
        drawing.bev_boxes(canvas, view, boxes, [SHAPES] * len(boxes), width=1.2, fill=0.35)
    _agents(canvas, view, snapshot)
    for unmatched in snapshot.result.unmatched:
        at = view.pixels(unmatched.position)
        if unmatched.agent_id == snapshot.frame.agent_id:
            canvas.ring(at, 7, VEHICLE_ALONE)
        else:
            canvas.diamond(at, 6, REMOTE_ALONE)
    labels = _Labels(canvas)
    pairs = [
        (view.pixels(np.stack([pair.ego_position, pair.remote_position])), pair.track_id)
        for pair in snapshot.result.associations
    ]
    for ends, track_id in pairs:
        _pair(canvas, ends, id_colour(track_id))
    for ends, track_id in pairs:
        if track_id >= 0:
            labels.add(str(track_id), ends, id_colour(track_id))
    return canvas.finished()


def _pair(canvas: Canvas, ends: Array, colour: Colour) -> None:
    """A ring for the vehicle's end, a diamond for the other, both seen where they coincide."""
    canvas.line(ends, WHITE, 5.5)
    canvas.ring(ends[0], 7.5, colour)
    canvas.line(ends, colour, 2.5)
    canvas.diamond(ends[1], 5, colour, outline=WHITE)


def association_marks(snapshot: Snapshot, view: BevView) -> list[Mark]:
    """Legend of the association with the numbers of what is in the picture."""
    result, ego_id = snapshot.result, snapshot.frame.agent_id
    pairs = sum(view.shows(pair.ego_position) for pair in result.associations)
    alone = [u.agent_id == ego_id for u in result.unmatched if view.shows(u.position)]
    marks: list[Mark] = [
        (
            'pair',
            id_colour(1),
            f'{pairs} pairs by track id (ring: vehicle, diamond: roadside)',
        ),
        ('ring', VEHICLE_ALONE, f'{sum(alone)} unmatched, vehicle'),
        ('tip', REMOTE_ALONE, f'{len(alone) - sum(alone)} unmatched, roadside'),
    ]
    if snapshot.truth is not None:
        marks.append(('box', SHAPES, 'ground truth'))
    return marks


def tracking_bev(snapshot: Snapshot, view: BevView) -> Picture:
    """Ground truth green, tracks and their trails coloured by id."""
    canvas = drawing.bev_ground(view)
    truth, tracks = snapshot.truth, snapshot.result.tracks
    if truth is not None:
        colours = [drawing.TRUTH] * len(truth)
        drawing.bev_boxes(canvas, view, truth.boxes, colours, width=1.4, fill=0.25)
    _agents(canvas, view, snapshot)
    colours = [id_colour(track_id) for track_id in tracks.track_ids.tolist()]
    ids, opacity = _ids(tracks), _opacity(tracks)
    unsure = {t for t, name in zip(tracks.track_ids.tolist(), ids, strict=True) if not name}
    for track_id, trail in snapshot.trails.items():
        if len(trail) > 1:
            alpha = 0.5 * (_FAINT if track_id in unsure else 1)
            canvas.line(view.pixels(trail), id_colour(track_id), 2, alpha=alpha)
    drawing.bev_boxes(canvas, view, tracks.boxes, colours, width=2.2, opacity=opacity)
    labels = _Labels(canvas)
    corners = view.pixels(tracks.boxes.corners()[:, :4])
    for name, ends, colour in zip(ids, corners, colours, strict=True):
        if name:
            labels.add(name, ends, colour)
    return canvas.finished()


def _ids(tracks: TrackedObjects) -> list[str]:
    """What is written beside tracks; nothing beside unsure ones."""
    sure = tracks.scores >= SURE_SCORE
    return [str(t) if s else '' for t, s in zip(tracks.track_ids.tolist(), sure, strict=True)]


def _opacity(tracks: TrackedObjects) -> list[float]:
    return [1.0 if score >= SURE_SCORE else _FAINT for score in tracks.scores.tolist()]


def tracking_marks(snapshot: Snapshot, view: BevView) -> list[Mark]:
    """Legend of the tracks with the numbers of what is in the picture."""
    truth, tracks = snapshot.truth, snapshot.result.tracks
    shown = [view.shows(center) for center in tracks.boxes.centers]
    faint = sum(s and not name for s, name in zip(shown, _ids(tracks), strict=True))
    words = f'{sum(shown)} tracks, coloured by id' + (f' ({faint} unsure, faint)' if faint else '')
    marks: list[Mark] = [
        ('frame', id_colour(1), words),
        ('line', id_colour(1), f'their last {TRAIL_SECONDS:.0f} s'),
    ]
    if truth is not None:
        count = sum(view.shows(center) for center in truth.boxes.centers)
        marks.append(('box', drawing.TRUTH, f'{count} objects, ground truth'))
    return marks


class _Labels:
    """Writes ids beside what they belong to, on no other id."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._taken: list[tuple[float, float]] = []

    def add(self, words: str, ends: Array, colour: Colour) -> None:
        """Write at the right of the points (n, 2) pixels, above or below where it is taken."""
        x, y = float(ends[:, 0].max()) + 9, float(ends[:, 1].mean()) + 5
        for down in (0, -14, 14, -28, 28):
            if all(abs(x - a) > 24 or abs(y + down - b) > 13 for a, b in self._taken):
                y += down
                break
        self._taken.append((x, y))
        self._canvas.text(words, [x, y], colour, size=13, bold=True, halo=drawing.GROUND)


def _agents(canvas: Canvas, view: BevView, snapshot: Snapshot) -> None:
    """The ego in the middle, the others where they are, and what their cameras see."""
    frame = snapshot.frame
    views = [(frame, SE3.identity())]
    for _, other in sorted(snapshot.remote_frames.items()):
        ego_SE3_other = frame.world_SE3_agent.inverse() @ other.world_SE3_agent
        if np.linalg.norm(ego_SE3_other.translation) < _FAR:
            views.append((other, ego_SE3_other))
    for agent, ego_SE3_agent in views:
        colour = VEHICLE_ALONE if agent is frame else REMOTE_ALONE
        for image in agent.images:
            drawing.bev_camera(canvas, view, image.camera, ego_SE3_agent, colour)
    for agent, ego_SE3_agent in reversed(views):  # the ego on top
        drawing.bev_agent(
            canvas,
            view.pixels(ego_SE3_agent.translation),
            ego_SE3_agent.yaw,
            agent.agent_id + (' (ego)' if agent is frame else ''),
            vehicle=agent.role is Role.VEHICLE,
        )


def _legend(
    page: Canvas, left: float, top: float, width: float, title: str, marks: list[Mark]
) -> None:
    """Title and marks in the strip above a panel, in two lines where one is too short."""
    x, y = left + 4.0, top + 19.0
    x += page.text(title, [x, y], size=15, bold=True) + 24
    start = x
    for mark, colour, words in marks:
        needed = 34 + text_width(words)
        if x + needed > left + width and x > start:
            x, y = start, y + 24
        _mark(page, mark, np.array([x + 12, y - 5]), colour)
        page.text(words, [x + 34, y])
        x += needed + 22


def _mark(canvas: Canvas, mark: str, at: Array, colour: Colour) -> None:
    box = at + np.array([[-12, -5], [12, -5], [12, 5], [-12, 5]])
    ends = at + np.array([[-9, 0], [9, 0]])
    if mark == 'pair':
        _pair(canvas, ends, colour)
    elif mark in ('line', 'bar'):
        canvas.line(ends, colour, 2 if mark == 'line' else 4, alpha=0.5 if mark == 'line' else 1)
    elif mark == 'ring':
        canvas.ring(at, 7, colour)
    elif mark == 'tip':
        canvas.diamond(at, 6, colour)
    else:
        if mark == 'box':
            canvas.polygon(box, colour, 0.3)
        canvas.line(box, colour, 1.4 if mark == 'box' else 2.2, closed=True)


# The images.


def cameras(snapshot: Snapshot, width: int, height: int) -> Picture:
    """The vehicle's image above that of a roadside unit, with the boxes of the tracks."""
    canvas = Canvas(width, height, drawing.DARK)
    below = _other(snapshot)
    upper = (height - _GAP) // 2
    gap = [[0, upper], [width, upper], [width, upper + _GAP], [0, upper + _GAP]]
    canvas.polygon(gap, WHITE)
    for frame, y in ((snapshot.frame, 0), (below, upper + _GAP)):
        size = (width, upper)
        canvas.paste(_camera(snapshot, frame, *size), 0, y, *size)
    return canvas.finished()


def _other(snapshot: Snapshot) -> AgentFrame | None:
    """The remote agent to show: a roadside unit before another vehicle, then by name."""
    frames = sorted(
        snapshot.remote_frames.values(), key=lambda f: (f.role is not Role.ROADSIDE, f.agent_id)
    )
    return frames[0] if frames else None


def _camera(snapshot: Snapshot, frame: AgentFrame | None, width: int, height: int) -> Picture:
    canvas = Canvas(width, height, drawing.DARK)
    if frame is None or not frame.images:
        words = 'no other agent' if frame is None else f'{frame.agent_id}: no image'
        canvas.text(words, [width / 2, height / 2], drawing.RING, size=17, align=0.5)
        return canvas.finished()
    image = frame.images[0]
    camera = image.camera
    scale = min(width / camera.width, height / camera.height)
    w, h = round(camera.width * scale), round(camera.height * scale)
    x, y = (width - w) // 2, (height - h) // 2
    canvas.paste(image.image, x, y, w, h)
    tracks = snapshot.result.tracks
    agent_SE3_ego = frame.world_SE3_agent.inverse() @ tracks.world_SE3_agent
    lag = (image.stamp_ns - tracks.stamp_ns) / 1e9
    boxes = moved(tracks.boxes, lag).transformed(agent_SE3_ego)
    classes = [CLASS_NAMES[label] for label in tracks.labels.tolist()]
    drawing.draw_boxes(
        canvas,
        camera,
        boxes,
        [CLASS_COLOURS[name] for name in classes],
        _ids(tracks),
        (x, y, scale),
        _opacity(tracks),
    )
    words = frame.agent_id + (f', {lag * 1e3:+.0f} ms' if abs(lag) >= 1e-3 else '')
    right = 26 + text_width(words, 14, bold=True)
    canvas.polygon(np.array([[6, 8], [right, 8], [right, 34], [6, 34]]), drawing.DARK, 0.7)
    canvas.text(words, [16, 26], WHITE, size=14, bold=True)
    return canvas.finished()
