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
"""One channel to a server: short questions over it, and word when its connection breaks."""

from __future__ import annotations

from collections.abc import Callable
import math
import threading
from typing import Any

import grpc
from nurec_ros.rendering import policy
from nurec_ros.rendering.policy import ServerError
from nurec_ros.rendering.protos import common_pb2
from nurec_ros.rendering.remedies import BLOCKED, classify
from nurec_ros.rendering.target import open_channel, Target

# gRPC's Python watches a channel's state in steps of 0.2 s, from a thread that fails loudly when
# the channel is closed under it: it is let go first.
_WATCH_STEP_S = 1.0

Metadata = tuple[tuple[str, str], ...]


class Link:
    """
    An open channel; `on_broken(link)` is called from gRPC's thread when a connection is lost.

    With one server this also tells that it was restarted while nothing was asked of it, which no
    call would: gRPC connects anew without a word. server: its name in messages. metadata: sent
    with every call.
    """

    def __init__(
        self,
        target: Target,
        certificate: bytes | None,
        server: str,
        on_broken: Callable[[Link], None],
        *,
        use_proxy: bool = False,
        metadata: Metadata = (),
    ) -> None:
        self.target = target
        self.channel = open_channel(target, certificate, use_proxy=use_proxy)
        self.metadata = metadata
        self._server = server
        self._on_broken = on_broken
        self._ready = threading.Event()
        self._question: Any = None
        self._retired = False
        self.channel.subscribe(self._on_state)

    def ask(
        self,
        prefix: str,
        method: str,
        parse: Callable[[bytes], Any],
        *,
        request: Any = None,
        wait_for_ready: bool = False,
        limit_s: float = math.inf,
        least_s: float = 0.0,
    ) -> Any:
        """
        Call a method; ServerError if it fails, or by its deadline.

        request: None for a method that takes nothing. limit_s: a shorter deadline; least_s: a
        longer one.
        """
        row = policy.DEADLINES['await server' if wait_for_ready else method]
        timeout_s = max(min(row.value, limit_s), least_s)
        request = common_pb2.Empty() if request is None else request
        call_type = self.channel.unary_unary(
            f'/{prefix}/{method}', type(request).SerializeToString, parse
        )
        try:
            self._question = call = call_type.future(
                request,
                timeout=timeout_s,
                wait_for_ready=wait_for_ready,
                metadata=self.metadata,
            )
            if self._retired:
                call.cancel()
            return call.result()
        except grpc.RpcError as error:
            code = error.code()
            # A server that is being stopped cancels what it was asked.
            stopping = code is grpc.StatusCode.CANCELLED
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                # Not a frame that takes too long: nothing is answered.
                raise ServerError(
                    'timeout',
                    f'{self._server} did not answer {method} within {timeout_s:g} s',
                    BLOCKED,
                ) from error
            raise classify(
                grpc.StatusCode.UNAVAILABLE if stopping else code,
                error.details() or '',
                server=self._server,
                method=method,
                prefix=prefix,
                timeout_s=timeout_s,
            ) from error
        except (ValueError, grpc.FutureCancelledError) as error:
            raise ServerError('closed', 'the connection was given up', '') from error
        finally:
            self._question = None

    def watched(self, timeout_s: float) -> bool:
        """
        Wait until gRPC has told that there is a connection; whether it has.

        The end of one that it has not told of goes unseen.
        """
        return self._ready.wait(timeout_s)

    def retire(self) -> None:
        """Give the channel up; what is in flight over it is cancelled a little later."""
        self._retired = True
        question = self._question
        if question is not None:
            question.cancel()
        self.channel.unsubscribe(self._on_state)
        threading.Thread(target=self._close, name='nurec-close', daemon=True).start()

    def _close(self) -> None:
        threading.Event().wait(_WATCH_STEP_S)
        self.channel.close()

    def _on_state(self, state: grpc.ChannelConnectivity) -> None:
        was_ready = self._ready.is_set()
        if state is grpc.ChannelConnectivity.READY:
            self._ready.set()
            return
        self._ready.clear()
        if was_ready and not self._retired:
            self._on_broken(self)
