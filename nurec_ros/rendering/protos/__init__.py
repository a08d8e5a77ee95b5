# Copyright 2026 nurec_ros contributors
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
"""
NuRec's messages, generated from the .proto files beside this file when the package is built.

They are imported here, once, so that every command has one sentence where they are missing, or
were generated for another protobuf than the one that runs.
"""

from __future__ import annotations

import os

from nurec_ros.errors import ConfigurationError

IMPLEMENTATION = 'PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION'
BUILD_AGAIN = 'build nurec_ros again on this machine (`colcon build`, or `make setup`)'


def _remedy(error: Exception) -> str:
    """Return what is wrong with the messages, and what to do about it."""
    missing = error.name or '' if isinstance(error, ModuleNotFoundError) else ''
    if missing == 'google' or missing == 'google.protobuf':
        return (
            'protobuf is not installed: `rosdep install` or `pip install protobuf`, then '
            + BUILD_AGAIN
        )
    unmade = isinstance(error, ImportError) and (error.name or '').startswith(__name__)
    if unmade and '_pb2' in str(error):
        return f'the protobuf messages are not generated: {BUILD_AGAIN}'
    chosen = os.environ.get(IMPLEMENTATION)
    reason = (str(error).splitlines() or [''])[0].split('. ')[0].rstrip('.')
    if chosen:
        return (
            f'{IMPLEMENTATION} is {chosen!r} in the environment, and protobuf does not start with '
            f'it ({type(error).__name__}: {reason}): unset it'
        )
    try:
        from google.protobuf import __version__ as runtime
    except Exception:  # noqa: BLE001 (a runtime that is broken altogether)
        runtime = 'of unknown version'
    return (
        f'the protobuf messages were generated for another protobuf than {runtime}, which is '
        f'installed ({type(error).__name__}: {reason}): {BUILD_AGAIN}, with generator and '
        'runtime of one origin, both from apt (`pip uninstall protobuf grpcio-tools`) or both '
        'from pip (`pip install -U protobuf grpcio-tools`)'
    )


try:
    from nurec_ros.rendering.protos import common_pb2, health_pb2, sensorsim_pb2
except Exception as _error:  # protobuf raises what it likes, of its version
    raise ConfigurationError(_remedy(_error)) from _error

__all__ = ['common_pb2', 'health_pb2', 'sensorsim_pb2']
