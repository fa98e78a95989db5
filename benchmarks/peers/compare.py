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

"""Our evaluation against nuscenes-devkit 1.2.0 with motmetrics 1.4.0: differences and speed.

Run by ``run.py`` inside the peers' environment. The devkit's own classes do the whole of its
side (range filter, tracks, matching, averages); only its data base is replaced by a table.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.common.data_classes import EvalBoxes
from nuscenes.eval.common.loaders import add_center_dist, filter_eval_boxes
from nuscenes.eval.detection.data_classes import DetectionBox
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.eval.tracking.data_classes import TrackingBox
from nuscenes.eval.tracking.evaluate import TrackingEval
from nuscenes.eval.tracking.loaders import create_tracks
from nuscenes.utils.splits import create_splits_scenes
from scenes import RECIPES, SPECIAL, Case, make_case

from cooptrack_core.evaluation import Protocol, evaluate_detection, evaluate_tracking
from cooptrack_core.structures import CLASS_NAMES

TOLERANCE = 1e-6
# Our name: the devkit's name.
DETECTION = {k: k for k in ('trans_err', 'scale_err', 'orient_err', 'vel_err')}
TRACKING = {
    k: k
    for k in (
        'amota', 'amotp', 'motar', 'mota', 'motp', 'recall', 'tp', 'fp', 'fn', 'ids', 'frag',
        'mt', 'ml', 'faf', 'tid', 'lgd',
    )
}  # fmt: skip


class TableInsteadOfNuScenes:
    """Answers what the devkit asks its data base while it evaluates: samples, scenes, ego poses.

    Stamps are handed over in ns, where nuScenes has microseconds; only ratios of them are used.
    """

    def __init__(self, case: Case) -> None:
        """Fill the tables from the ground truth."""
        names = create_splits_scenes()['train']
        self.tables: dict[str, dict[str, Any]] = {'sample': {}, 'scene': {}, 'ego_pose': {}}
        scenes: dict[str, list[Any]] = {}
        for frame in case.ground_truth:
            scenes.setdefault(frame.sequence_id, []).append(frame)
        for name, (scene, frames) in zip(names, scenes.items(), strict=False):
            tokens = [token_of(frame) for frame in frames]
            self.tables['scene'][scene] = {
                'name': name,
                'first_sample_token': tokens[0],
                'last_sample_token': tokens[-1],
            }
            for frame, token, following in zip(frames, tokens, [*tokens[1:], ''], strict=True):
                self.tables['sample'][token] = {
                    'scene_token': scene,
                    'timestamp': frame.stamp_ns,
                    'next': following,
                    'anns': [],
                    'data': {'LIDAR_TOP': token},
                }
                self.tables['ego_pose'][token] = {'translation': [*frame.ego_position, 0.0]}

    def get(self, table: str, token: str) -> dict[str, Any]:
        """Return a record."""
        if table == 'sample_data':
            return {'ego_pose_token': token}
        return self.tables[table][token]


def token_of(frame: Any) -> str:
    """Name of a frame that is unique over scenes."""
    return f'{frame.sequence_id}/{frame.frame_id}'


def devkit_boxes(frames: list[Any], box_class: type, scored: bool) -> EvalBoxes:
    """Write our frames as the devkit's boxes."""
    kind = 'detection' if box_class is DetectionBox else 'tracking'
    result = EvalBoxes()
    for frame in frames:
        boxes, b = [], frame.boxes
        for i in range(len(b)):
            fields = {
                'sample_token': token_of(frame),
                'translation': tuple(b.centers[i].tolist()),
                'size': tuple(b.sizes[i, [1, 0, 2]].tolist()),
                'rotation': (math.cos(b.yaws[i] / 2), 0.0, 0.0, math.sin(b.yaws[i] / 2)),
                'velocity': tuple(b.velocities[i].tolist()),
                f'{kind}_name': CLASS_NAMES[frame.labels[i]],
                f'{kind}_score': float(frame.scores[i]) if scored else -1.0,
            }
            if kind == 'tracking':
                fields['tracking_id'] = f'{frame.sequence_id}/{frame.track_ids[i]}'
            boxes.append(box_class(**fields))
        result.add_boxes(token_of(frame), boxes)
    return result


def in_range(nusc: Any, boxes: EvalBoxes, ranges: dict[str, float]) -> EvalBoxes:
    """Apply the devkit's filter; it refuses to filter nothing at all."""
    boxes = add_center_dist(nusc, boxes)
    return filter_eval_boxes(nusc, boxes, ranges) if boxes.all else boxes


def peer_detection(case: Case) -> tuple[dict[str, dict[str, Any]], float]:
    """Detection metrics by the devkit, per class, and the seconds it took."""
    nusc = TableInsteadOfNuScenes(case)
    actual = devkit_boxes(case.ground_truth, DetectionBox, False)
    predicted = devkit_boxes(case.detections, DetectionBox, True)
    evaluation = DetectionEval.__new__(DetectionEval)
    evaluation.cfg = config_factory('detection_cvpr_2019')
    evaluation.cfg.class_names = list(CLASS_NAMES)  # the other seven have nothing to do
    evaluation.verbose = False
    start = time.perf_counter()
    evaluation.gt_boxes = in_range(nusc, actual, evaluation.cfg.class_range)
    evaluation.pred_boxes = in_range(nusc, predicted, evaluation.cfg.class_range)
    metrics, _ = evaluation.evaluate()
    seconds = time.perf_counter() - start
    return {
        name: {
            'ap': [metrics.get_label_ap(name, d) for d in evaluation.cfg.dist_ths],
            **{ours: metrics.get_label_tp(name, theirs) for ours, theirs in DETECTION.items()},
        }
        for name in CLASS_NAMES
    }, seconds


def peer_tracking(case: Case) -> tuple[dict[str, dict[str, Any]], float]:
    """Tracking metrics by the devkit and motmetrics, per class, and the seconds it took."""
    nusc = TableInsteadOfNuScenes(case)
    config = config_factory('tracking_nips_2019')
    config.class_names = list(CLASS_NAMES)
    actual = devkit_boxes(case.ground_truth, TrackingBox, False)
    predicted = devkit_boxes(case.tracks, TrackingBox, True)
    evaluation = TrackingEval.__new__(TrackingEval)
    evaluation.cfg, evaluation.verbose = config, False
    evaluation.output_dir = evaluation.render_classes = None
    start = time.perf_counter()
    actual = in_range(nusc, actual, config.class_range)
    predicted = in_range(nusc, predicted, config.class_range)
    evaluation.tracks_gt = create_tracks(actual, nusc, 'train', gt=True)
    evaluation.tracks_pred = create_tracks(predicted, nusc, 'train', gt=False)
    metrics, _ = evaluation.evaluate()
    seconds = time.perf_counter() - start
    return {
        name: {ours: metrics.label_metrics[theirs][name] for ours, theirs in TRACKING.items()}
        for name in CLASS_NAMES
    }, seconds


def our_detection(case: Case) -> tuple[dict[str, dict[str, Any]], float]:
    """The same by this package."""
    start = time.perf_counter()
    metrics = evaluate_detection(case.ground_truth, case.detections, Protocol())
    seconds = time.perf_counter() - start
    return {
        name: {'ap': list(m.ap), **{ours: getattr(m, ours) for ours in DETECTION}}
        for name, m in metrics.items()
    }, seconds


def our_tracking(case: Case) -> tuple[dict[str, dict[str, Any]], float]:
    """The same by this package."""
    start = time.perf_counter()
    metrics = evaluate_tracking(case.ground_truth, case.tracks, Protocol())
    seconds = time.perf_counter() - start
    return {
        name: {ours: getattr(m, ours) for ours in TRACKING} for name, m in metrics.items()
    }, seconds


def difference(a: Any, b: Any) -> float:
    """Largest absolute difference; undefined on one side only is infinite."""
    a, b = np.atleast_1d(np.array(a, float)), np.atleast_1d(np.array(b, float))
    if (np.isnan(a) != np.isnan(b)).any():
        return math.inf
    return float(np.nan_to_num(np.abs(a - b)).max())


def compare(case: Case) -> tuple[float, str, np.ndarray]:
    """Return (largest difference, metric with it, seconds peer/ours detection/tracking)."""
    worst, where, seconds = 0.0, '', np.zeros((2, 2))
    sides = ((peer_detection, our_detection), (peer_tracking, our_tracking))
    for k, (peer, ours) in enumerate(sides):
        expected, seconds[0, k] = peer(case)
        found, seconds[1, k] = ours(case)
        for name, metrics in expected.items():
            for metric, value in metrics.items():
                d = difference(value, found[name][metric])
                if d > worst or not where:
                    worst, where = d, f'{name} {metric}'
                if d > TOLERANCE:
                    print(f'  {name} {metric}: devkit {value}, ours {found[name][metric]}')
    return worst, where, seconds


def freeze(path: Path, names: list[str], seed: int) -> None:
    """Write the devkit's numbers for the tests."""
    content = {
        'made_by': 'nuscenes-devkit 1.2.0, motmetrics 1.4.0; '
        'python benchmarks/peers/run.py --freeze',
        'seed': seed,
        'cases': {},
    }
    for name in names:
        case = make_case(name, seed)
        detection, tracking = peer_detection(case)[0], peer_tracking(case)[0]
        content['cases'][name] = {
            c: {
                'detection': detection[c],
                'tracking': {k: None if v != v else v for k, v in tracking[c].items()},
            }
            for c in CLASS_NAMES
        }
        print(f'  {name}', flush=True)
    cases = content.pop('cases')
    head = json.dumps(content, indent=1)[:-2]
    lines = [f'  {json.dumps(n)}: {json.dumps(c, allow_nan=False)}' for n, c in cases.items()]
    text = head + ',\n "cases": {\n' + ',\n'.join(lines) + '\n }\n}\n'
    path.write_text(text, encoding='utf-8')
    print(f'written: {path}')


def main() -> int:
    """Compare all cases, print a table, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=1, help='seeds per case (default 1)')
    parser.add_argument('--seed', type=int, default=0, help='first seed (default 0)')
    parser.add_argument('--case', action='append', help='only this case (repeatable)')
    parser.add_argument('--scenes', type=int, default=2, help='scenes of the speed comparison')
    parser.add_argument('--json', type=Path, help='write the results here')
    parser.add_argument(
        '--freeze',
        nargs='?',
        type=Path,
        const=Path('test/core/evaluation/devkit_numbers.json'),
        help="only write the devkit's numbers for the tests",
    )
    arguments = parser.parse_args()
    names = arguments.case or [name for name in (*RECIPES, *SPECIAL) if name != 'benchmark']
    if arguments.freeze:
        freeze(arguments.freeze, names, arguments.seed)
        return 0
    results, total = [], 0.0
    print(f'{"case":42s} {"seed":>4s} {"max difference":>15s} {"of":24s} {"peer/ours":>9s}')
    for name in names:
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            worst, where, seconds = compare(make_case(name, seed))
            ratio = seconds[0].sum() / seconds[1].sum()
            print(f'{name:42s} {seed:4d} {worst:15.2e} {where:24s} {ratio:8.0f}x', flush=True)
            results.append({'case': name, 'seed': seed, 'difference': worst, 'of': where})
            total = max(total, worst)
    speed = {}
    if arguments.scenes > 0:
        case = make_case('benchmark', arguments.seed)
        keep = {f's{k}' for k in range(arguments.scenes)}
        case = Case(
            'benchmark',
            *(
                [f for f in frames if f.sequence_id in keep]
                for frames in (case.ground_truth, case.detections, case.tracks)
            ),
        )
        print(
            f'speed: {arguments.scenes} scenes x 100 frames x 30 objects, one thread', flush=True
        )
        worst, where, seconds = compare(case)
        total = max(total, worst)
        speed = {
            'scenes': arguments.scenes,
            'difference': worst,
            'detection': {'peer_s': seconds[0, 0], 'ours_s': seconds[1, 0]},
            'tracking': {'peer_s': seconds[0, 1], 'ours_s': seconds[1, 1]},
        }
        for k, name in enumerate(('detection', 'tracking')):
            print(
                f'  {name}: devkit {seconds[0, k]:.2f} s, ours {seconds[1, k]:.3f} s, '
                f'{seconds[0, k] / seconds[1, k]:.0f}x as fast; max difference {worst:.2e}'
            )
    agreed = total <= TOLERANCE
    print(
        f'maximum difference over all cases: {total:.2e} ({"within" if agreed else "ABOVE"} 1e-6)'
    )
    if arguments.json:
        content = {'max_difference': total, 'cases': results, 'speed': speed}
        arguments.json.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    return 0 if agreed else 1


if __name__ == '__main__':
    sys.exit(main())
