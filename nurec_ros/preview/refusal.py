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
"""How the preview server says no: a status code and a text, as real servers give them."""

from __future__ import annotations

import grpc
from nurec_ros.errors import RenderError


class RefusalError(RenderError):
    """A request that is answered with a status code instead of a picture."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class CrashError(RefusalError):
    """The end of the whole server: what a client sees when the process under its call dies."""

    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.UNAVAILABLE, 'Socket closed')


def invalid(text: str) -> RefusalError:
    """Give the refusal of a request that no server could draw."""
    return RefusalError(grpc.StatusCode.INVALID_ARGUMENT, text)


def raised(text: str) -> RefusalError:
    """Give what a client sees of a Python exception in the server: UNKNOWN and gRPC's prefix."""
    return RefusalError(grpc.StatusCode.UNKNOWN, f'Exception calling application: {text}')
