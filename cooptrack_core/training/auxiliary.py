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

"""Supervision that exists in training only: dense heads and noised queries.

None of it is in the reference; it makes small detectors trainable from scratch in minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from cooptrack_core.files import write_bytes_atomically
from cooptrack_core.geometry import BevGrid, PerceptionRange
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.box_code import CODE_SIZE
from cooptrack_core.training.options import Auxiliary
from cooptrack_core.training.targets import GroundTruth

HEADS_NAME = 'auxiliary.safetensors'
_HIDDEN = 64
_IMAGE_NUMBERS = 3  # sub-cell u, v and log depth
_NEAREST = 0.5  # metres; an object that reaches behind the camera has no outline
_OUTLINE_MARGIN = 0.2  # of an outline at each side shows what is behind an object, too
_BEV_NUMBERS = 8  # sub-cell x, y; bottom z; log w, l, h; sin, cos


class AuxiliaryHeads(nn.Module):
    """Heat-maps on the image and BEV features, and label embeddings of noised queries."""

    def __init__(self, embedding: int, classes: int) -> None:
        """Build the heads.

        Args:
            embedding: Channels of image and BEV features.
            classes: Number of classes.
        """
        super().__init__()
        self.classes = classes
        self.image = _head(embedding, classes, _IMAGE_NUMBERS)
        self.bev = _head(embedding, classes, _BEV_NUMBERS)
        self.noised_label = nn.Embedding(classes, embedding)


def _head(embedding: int, classes: int, numbers: int) -> nn.Sequential:
    last = nn.Conv2d(_HIDDEN, classes + numbers, 1)
    nn.init.normal_(last.weight, std=0.01)
    start = torch.zeros(classes + numbers)
    start[:classes] = -3.5  # nearly nothing is a peak at first
    last.bias = nn.Parameter(start)
    return nn.Sequential(nn.Conv2d(embedding, _HIDDEN, 3, padding=1), nn.ReLU(), last)


def save_heads(heads: AuxiliaryHeads, path: Path) -> None:
    """Write the heads beside the weights, so that the next stage goes on with them."""
    state = {name: value.detach().cpu().contiguous() for name, value in heads.state_dict().items()}
    write_bytes_atomically(path, to_safetensors(state))


def load_heads(heads: AuxiliaryHeads, path: Path) -> bool:
    """Read heads of an earlier stage; without a fitting file they start anew.

    Returns:
        Whether they were found.
    """
    if not path.is_file():
        return False
    state = load_file(path)
    own = heads.state_dict()
    if {n: v.shape for n, v in state.items()} != {n: v.shape for n, v in own.items()}:
        return False
    heads.load_state_dict(state)
    return True


def splat(centres: Tensor, labels: Tensor, sigma: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(C, h, w) map of Gaussians of height 1 at integer cells, the larger one where they meet.

    Args:
        centres: (n, 2) column, row of the cells.
        labels: (n,) class.
        sigma: (n,) standard deviation, cells.
        shape: (C, h, w).
    """
    classes, height, width = shape
    heat = centres.new_zeros(shape, dtype=torch.float32)
    columns = torch.arange(width, device=centres.device)
    rows = torch.arange(height, device=centres.device)
    dx = (columns[None] - centres[:, :1]).float().square()  # (n, w)
    dy = (rows[None] - centres[:, 1:]).float().square()  # (n, h)
    blobs = torch.exp(-(dx[:, None] + dy[:, :, None]) / (2 * sigma.square())[:, None, None])
    for label in range(classes):
        mine = blobs[labels == label]
        if len(mine):
            heat[label] = mine.amax(0)
    return heat


def heatmap_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Penalty-reduced focal loss of (C, h, w) logits, averaged over peaks (CenterNet, eq. 1)."""
    p = logits.sigmoid().clamp(1e-5, 1 - 1e-5)
    peak = heat > 0.9999
    positive = -(1 - p).square() * p.log() * peak
    negative = -(1 - heat).pow(4) * p.square() * (1 - p).log() * ~peak
    return (positive + negative).sum() / max(int(peak.sum()), 1)


def image_losses(
    prediction: Tensor, truth: GroundTruth, agent_to_image: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Heat-map and regression loss of one camera image.

    Args:
        prediction: (C + 3, h, w) of the image head.
        truth: Objects visible to the agent.
        agent_to_image: (4, 4) of the image the network saw.
        size: (height, width) of that image, pixels.
    """
    classes = prediction.shape[0] - _IMAGE_NUMBERS
    height, width = prediction.shape[1:]
    bottom = truth.codes[:, [0, 1, 4]]
    half = torch.zeros_like(bottom)
    half[:, 2] = truth.codes[:, 5].exp() / 2
    projected = (bottom + half) @ agent_to_image[:3, :3].T + agent_to_image[:3, 3]
    depth = projected[:, 2]
    pixel = projected[:, :2] / depth.clamp(min=0.1)[:, None]
    stride = pixel.new_tensor([size[1] / width, size[0] / height])
    exact = (pixel + 0.5) / stride  # cell i covers [i, i + 1)
    cell = exact.floor().long()
    limit = exact.new_tensor([width, height])
    seen = (depth > 0.5) & (exact >= 0).all(1) & (exact < limit).all(1)
    exact, cell, labels, depth = exact[seen], cell[seen], truth.labels[seen], depth[seen]
    focal = agent_to_image[1, :3].norm()
    extent = truth.codes[seen][:, 5].exp() * focal / depth / stride[1]  # height in cells
    heat = splat(cell, labels, (extent / 4).clamp(0.7, 3.0), (classes, height, width))
    first = heatmap_loss(prediction[:classes], heat)
    numbers = prediction[classes:, cell[:, 1], cell[:, 0]].T  # (n, 3)
    target = torch.cat([exact - cell, depth.log()[:, None]], 1)
    second = (numbers - target).abs().sum() / max(len(target), 1)
    return first, second


def sight_loss(
    prediction: Tensor, truth: GroundTruth, agent_to_image: Tensor, size: tuple[int, int]
) -> Tensor:
    """Mean error of the depth that an image map claims, over the objects it shows.

    Inside the middle of an object's outline the depth of its centre is right: that is the cell
    which shall hold it. A nearer object covers a farther one.

    Args:
        prediction: (h, w) logarithms of depth, metres.
        truth: Objects visible to the agent.
        agent_to_image: (4, 4) of the image the network saw.
        size: (height, width) of that image, pixels.
    """
    height, width = prediction.shape
    owner = np.full((height, width), -1)
    boxes = box_code.to_boxes(truth.codes.cpu())
    matrix = agent_to_image.double().cpu().numpy()
    corners = boxes.corners() @ matrix[:3, :3].T + matrix[:3, 3]  # (n, 8, 3)
    depth = boxes.centers @ matrix[2, :3] + matrix[2, 3]
    stride = np.array([size[1] / width, size[0] / height])
    for i in np.argsort(-depth):
        if corners[i, :, 2].min() < _NEAREST:
            continue
        places = (corners[i, :, :2] / corners[i, :, 2:] + 0.5) / stride
        low, high = places.min(0), places.max(0)
        margin = _OUTLINE_MARGIN * (high - low)
        for begin, end, mark in ((low, high, -1), (low + margin, high - margin, i)):
            first = np.floor(begin).astype(int).clip(0)
            last = np.floor(end).astype(int).clip(-1, (width - 1, height - 1))
            owner[first[1] : last[1] + 1, first[0] : last[0] + 1] = mark
    rows, columns = np.nonzero(owner >= 0)
    if not len(rows):
        return prediction.sum() * 0.0
    mine = torch.from_numpy(owner[rows, columns]).to(prediction.device)
    target = torch.from_numpy(np.log(depth.clip(_NEAREST))[owner[rows, columns]]).to(prediction)
    share = 1.0 / torch.bincount(mine)[mine]  # a far object counts as much as a near one
    miss = (prediction[rows, columns] - target).abs()
    return (share * miss).sum() / share.sum()


def bev_losses(prediction: Tensor, truth: GroundTruth, grid: BevGrid) -> tuple[Tensor, Tensor]:
    """Heat-map and regression loss of one BEV map.

    Args:
        prediction: (C + 8, rows, columns) of the BEV head.
        truth: Objects that the map should show.
        grid: Its geometry.
    """
    classes = prediction.shape[0] - _BEV_NUMBERS
    origin = truth.codes.new_tensor([grid.x_min, grid.y_min])
    exact = (truth.codes[:, :2] - origin) / truth.codes.new_tensor(grid.cell_size)
    cell = exact.floor().long()
    limit = exact.new_tensor([grid.columns, grid.rows])
    seen = (exact >= 0).all(1) & (exact < limit).all(1)
    exact, cell, codes = exact[seen], cell[seen], truth.codes[seen]
    sigma = torch.full_like(exact[:, 0], 0.8)
    heat = splat(cell, truth.labels[seen], sigma, (classes, grid.rows, grid.columns))
    first = heatmap_loss(prediction[:classes], heat)
    numbers = prediction[classes:, cell[:, 1], cell[:, 0]].T  # (n, 8)
    target = torch.cat([exact - cell, codes[:, [4, 2, 3, 5, 6, 7]]], 1)
    second = (numbers - target).abs().sum() / max(len(target), 1)
    return first, second


def decode_bev_peaks(prediction: Tensor, grid: BevGrid, top: int = 60) -> tuple[Tensor, Tensor]:
    """Boxes read straight from the BEV head: a check of the encoder without the decoder.

    Returns:
        (top, 10) codes with unknown velocity, and (top, C) scores, zero but for the peak's class.
    """
    classes = prediction.shape[0] - _BEV_NUMBERS
    heat = prediction[:classes].sigmoid()
    heat = heat * (F.max_pool2d(heat[None], 3, 1, 1)[0] == heat)
    best, index = heat.flatten().topk(min(top, heat.numel()))
    label, cell = index // heat[0].numel(), index % heat[0].numel()
    numbers = prediction[classes:].flatten(1)[:, cell].T
    corner = torch.stack([cell % grid.columns, cell // grid.columns], 1)
    xy = (corner + numbers[:, :2]) * numbers.new_tensor(grid.cell_size)
    xy = xy + numbers.new_tensor([grid.x_min, grid.y_min])
    codes = numbers.new_zeros(len(best), CODE_SIZE)
    codes[:, :2], codes[:, [4, 2, 3, 5, 6, 7]] = xy, numbers[:, 2:]
    scores = numbers.new_zeros(len(best), classes)
    scores[torch.arange(len(best)), label] = best
    return codes, scores


@dataclass(frozen=True, eq=False)
class NoisedQueries:
    """Noised copies of the ground truth of a batch, padded to the largest frame.

    Attributes:
        refs: (B, G * m, 3) normalised reference points.
        labels: (B, G * m) noised labels.
        index: (B, G * m) object of each query, -1 for padding.
        blocked: (q, q) attention mask over [noised, learnt], True = may not look.
    """

    refs: Tensor
    labels: Tensor
    index: Tensor
    blocked: Tensor


def noise_queries(
    truths: list[GroundTruth],
    extent: PerceptionRange,
    learnt: int,
    plan: Auxiliary,
    classes: int,
    generator: torch.Generator,
) -> NoisedQueries | None:
    """Draw noised queries; groups see neither each other nor are they seen by learnt queries.

    Source: DN-DETR (Li et al., CVPR 2022), section 4.

    Returns:
        None when no frame has an object or denoising is off.
    """
    largest = max(len(t) for t in truths)
    groups = plan.denoising_groups
    if plan.denoising <= 0 or groups <= 0 or largest == 0:
        return None
    low, size = torch.tensor(extent.minimum).float(), torch.tensor(extent.extent).float()
    refs = torch.rand(len(truths), groups, largest, 3, generator=generator)
    labels = torch.randint(0, classes, (len(truths), groups, largest), generator=generator)
    flip = torch.rand(labels.shape, generator=generator) < plan.label_noise
    shift = torch.rand(refs.shape, generator=generator) * 2 - 1
    shift = shift * torch.tensor([plan.centre_noise, plan.centre_noise, 0.5])
    index = torch.full((len(truths), groups, largest), -1)
    for b, truth in enumerate(truths):
        n = len(truth)
        centre = truth.codes[:, [0, 1, 4]].cpu()[None] + shift[b, :, :n]
        refs[b, :, :n] = ((centre - low) / size).clamp(0.002, 0.998)
        labels[b, :, :n] = torch.where(flip[b, :, :n], labels[b, :, :n], truth.labels.cpu())
        index[b, :, :n] = torch.arange(n)
    noised = groups * largest
    group = torch.arange(noised) // largest
    blocked = torch.zeros(noised + learnt, noised + learnt, dtype=torch.bool)
    blocked[noised:, :noised] = True
    blocked[:noised, :noised] = group[:, None] != group[None]
    return NoisedQueries(refs.flatten(1, 2), labels.flatten(1), index.flatten(1), blocked)
