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


"""Bags room: names of topics and frames, the same in bags and in the live graph."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cooptrack_core.structures import Role

MAP = 'map'
WORLD = 'world'

TRACKS = '/cooptrack/tracks'
DETECTIONS = '/cooptrack/detections'
MARKERS = '/cooptrack/markers'
AGENTS = '/cooptrack/agents'
LINKS = '/cooptrack/links'
LATENCY = '/cooptrack/latency'
STATUS = '/cooptrack/fusion_status'
CHANNEL_STATUS = '/cooptrack/channel_status'
BEV_MARKERS = '/cooptrack/bev/markers'
BEV_STATUS = '/cooptrack/bev/fusion_status'
BEV_LATENCY = '/cooptrack/bev/latency'
BEV_SEMANTIC = '/cooptrack/bev/semantic'
BEV_LABEL_INFO = '/cooptrack/bev/label_info'
GROUND_TRUTH = '/gt/tracks'
GROUND_TRUTH_DETECTIONS = '/gt/detections'
GROUND_TRUTH_MARKERS = '/gt/markers'

_SENT = re.compile(r'^/v2x_tx/(?P<agent>[^/]+)/(?P<rest>.+)$')
_IMAGE = re.compile(
    r'^/(?P<agent>[^/]+)/(?P<camera>[^/]+)/(?P<kind>image_raw|image_rect)(?P<zip>/compressed)?$'
)


def body_frame(agent_id: str) -> str:
    """Frame of the body (vehicle) or of the pole (roadside)."""
    return f'{agent_id}/base_link'


def agent_frame(agent_id: str) -> str:
    """Frame in which the agent perceives."""
    return f'{agent_id}/lidar'


def optical_frame(agent_id: str, camera: str) -> str:
    """Optical frame of a camera: z forward, x right."""
    return f'{agent_id}/{camera}_optical_frame'


def image_topic(agent_id: str, camera: str) -> str:
    """Topic of the compressed images of a camera."""
    return f'/{agent_id}/{camera}/image_raw/compressed'


def info_topic(agent_id: str, camera: str) -> str:
    """Topic of the calibration of a camera."""
    return f'/{agent_id}/{camera}/camera_info'


def agent_info_topic(agent_id: str) -> str:
    """Topic that says who the agent is."""
    return f'/{agent_id}/agent_info'


def latency_topic(agent_id: str) -> str:
    """Topic on which an agent that sends tells where its time goes."""
    return f'/{agent_id}/latency'


def features_topic(agent_id: str) -> str:
    """Topic of the radio messages of an agent."""
    return f'/v2x/{agent_id}/instance_features'


def bev_feature_topic(agent_id: str) -> str:
    """Topic of the map features an agent sends."""
    return f'/v2x/{agent_id}/bev_feature'


def bev_latency_topic(agent_id: str) -> str:
    """Topic on which an agent that sends maps tells where its time goes."""
    return f'/{agent_id}/bev_latency'


def bev_topic(class_name: str) -> str:
    """Topic of the occupancy grid of a class of the map."""
    return f'/cooptrack/bev/{class_name}'


def sent_topic(agent_id: str, rest: str) -> str:
    """Topic on which an agent sends when v2x_channel_node stands between it and the others."""
    return f'/v2x_tx/{agent_id}/{rest}'


def air_topic(agent_id: str, rest: str) -> str:
    """Topic on which the others hear it."""
    return f'/v2x/{agent_id}/{rest}'


def parse_sent_topic(topic: str) -> tuple[str, str] | None:
    """Agent and rest of a topic below ``/v2x_tx/``; None when it is none."""
    match = _SENT.match(topic)
    return (match['agent'], match['rest']) if match else None


@dataclass(frozen=True)
class CameraTopic:
    """An image topic taken apart."""

    topic: str
    agent_id: str
    camera: str
    rectified: bool
    compressed: bool


def parse_image_topic(topic: str) -> CameraTopic | None:
    """Take an image topic apart; None when it is no camera of an agent."""
    match = _IMAGE.match(topic)
    if match is None:
        return None
    return CameraTopic(
        topic,
        match['agent'],
        match['camera'],
        match['kind'] == 'image_rect',
        match['zip'] is not None,
    )


def guess_role(agent_id: str) -> Role:
    """Role of an agent that does not say it: by its name, otherwise a vehicle."""
    words = ('roadside', 'infra', 'rsu')
    return Role.ROADSIDE if agent_id.lower().startswith(words) else Role.VEHICLE
