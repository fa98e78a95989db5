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


"""Bags room: writing a rosbag2 whole or not at all, without a ROS installation."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from cooptrack_core.errors import InputError
from cooptrack_core.structures import MAP_CLASSES
from cooptrack_ros.bags import names
from cooptrack_ros.bags.typestore import bag_types

Storage = Literal['mcap', 'sqlite3']

_PLUGINS = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
_FAILURES = (OSError, WriterError, sqlite3.Error)
_SUFFIXES = {'.mcap': 'mcap', '.db3': 'sqlite3'}


class BagWriter:
    """Writes messages into a rosbag2.

    A path that ends in ``.mcap`` or ``.db3`` becomes that one file, which ``ros2 bag play`` and
    Foxglove open; any other path becomes a bag directory with ``metadata.yaml``. The bag grows
    under a temporary name beside its place and is renamed when it is complete, so a full disk
    or a kill never leaves something that looks whole. Use as a context manager.
    """

    def __init__(self, path: str | Path, storage: Storage = 'mcap', *, overwrite: bool = False):
        """Prepare; nothing is written before the context is entered.

        Args:
            path: Place of the bag.
            storage: File format of a directory bag; a suffix of ``path`` decides by itself.
            overwrite: Replace what is there.

        Raises:
            InputError: There is something already, or the storage is unknown.
        """
        self.path = Path(path)
        self._file = self.path.suffix in _SUFFIXES
        self.storage = _SUFFIXES.get(self.path.suffix, storage)
        if self.storage not in _PLUGINS:
            raise InputError(
                f'unknown storage {storage!r}', field='storage', remedy='use mcap or sqlite3'
            )
        if self.path.exists() and not overwrite:
            raise InputError(
                'exists already', path=self.path, remedy='remove it or choose another name'
            )
        self.types = bag_types()
        self.counts: dict[str, int] = {}
        self._part = self.path.with_name(f'.{self.path.name}.partial')
        self._writer: Writer | None = None
        self._topics: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        """Start the bag under its temporary name.

        Raises:
            InputError: The place cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._discard()
            self._part.mkdir()
            inner = self._part / self.path.stem
            self._writer = Writer(inner, version=8, storage_plugin=_PLUGINS[self.storage])
            self._writer.open()
        except _FAILURES as error:
            self._discard()
            raise self._failure(error) from error
        return self

    def write(self, topic: str, message_type: str, message: Any, stamp_ns: int) -> None:
        """Write one message.

        Args:
            topic: Its topic, with leading slash; the first message opens it.
            message_type: For example ``sensor_msgs/msg/Image``; one type per topic.
            message: A message of ``self.types``.
            stamp_ns: Time at which it is played, ns.

        Raises:
            InputError: The disk is full or the place is gone.
        """
        data = self.types.store.serialize_cdr(message, message_type)
        writer = self._open_writer()
        try:
            if topic not in self._topics:
                self._topics[topic] = writer.add_connection(
                    topic,
                    message_type,
                    typestore=self.types.store,
                    offered_qos_profiles=[_qos(topic)],
                )
            writer.write(self._topics[topic], stamp_ns, data)
        except _FAILURES as error:
            raise self._failure(error) from error
        self.counts[topic] = self.counts.get(topic, 0) + 1

    def note(self, key: str, value: str) -> None:
        """Write a remark into the metadata of a directory bag."""
        self._open_writer().set_custom_data(key, value)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the bag and give it its name; after an exception remove it.

        Raises:
            InputError: The disk is full.
        """
        writer = self._open_writer()
        try:
            if kind is None:
                self._finish(writer)
        except _FAILURES as failure:
            raise self._failure(failure) from failure
        finally:
            self._abandon(writer)
            self._writer = None
            self._discard()

    def _finish(self, writer: Writer) -> None:
        if not self.counts:
            # rosbags would note an impossible start time; an empty bag begins at 0.
            writer.min_timestamp = 0
        writer.close()
        whole = self._part / self.path.stem
        if self._file:
            whole = whole / f'{whole.name}{self.path.suffix}'
        for path in [whole] if self._file else sorted(whole.iterdir()):
            with path.open('rb') as handle:
                os.fsync(handle.fileno())
        if self.path.is_dir():
            shutil.rmtree(self.path)
        elif not self._file and self.path.exists():
            self.path.unlink()
        whole.replace(self.path)

    @staticmethod
    def _abandon(writer: Writer) -> None:
        if writer.storage is not None:
            # What could not be flushed is thrown away with the directory.
            with contextlib.suppress(*_FAILURES, ValueError):
                writer.abort()

    def _discard(self) -> None:
        shutil.rmtree(self._part, ignore_errors=True)

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise RuntimeError('the bag is not open; use "with BagWriter(...) as bag"')
        return self._writer

    def _failure(self, error: Exception) -> InputError:
        reason = getattr(error, 'strerror', None) or str(error)
        return InputError(
            f'the bag cannot be written ({reason})',
            path=self.path,
            remedy='free some disk space or choose another place; nothing incomplete was left',
        )


def _qos(topic: str) -> Qos:
    """Quality of service a player offers; latched topics must reach late subscribers."""
    grids = [*(names.bev_topic(name) for name in MAP_CLASSES), names.BEV_LABEL_INFO]
    latched = topic == '/tf_static' or topic.endswith('/agent_info') or topic in grids
    unlimited = QosTime(9223372036, 854775807)  # rmw infinity
    return Qos(
        QosHistory.KEEP_LAST,
        100 if topic.startswith('/tf') else 1 if topic in grids else 10,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        unlimited,
        unlimited,
        QosLiveliness.AUTOMATIC,
        unlimited,
        avoid_ros_namespace_conventions=False,
    )
