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

"""The library: cooperative 3-D tracking in plain PyTorch, without ROS.

Frames go in, an instance message crosses the radio, tracks come out; every sub-package is one
step of that way. Nothing in here imports ROS, a bag library or ``cooptrack_ros``.
"""

__version__ = '0.1.0'
