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

"""Nodes room: entry point of ``bev_map_node``; the node itself is in ``bev_map.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from cooptrack_ros import _compat


def main(args: Sequence[str] | None = None) -> int:
    """Run the node.

    Args:
        args: Command line; default: that of the process.

    Returns:
        Exit status: 0 also after SIGINT, 2 when the node cannot start.
    """
    return _compat.run('bev_map', _build, args, managed=True)


def _build(node: Any) -> _compat.Part:
    # Not before ROS is known to be there: so a missing part is one line, not a traceback.
    from cooptrack_ros.nodes.bev_map import BevMapNode

    return BevMapNode(node)


if __name__ == '__main__':
    sys.exit(main())
