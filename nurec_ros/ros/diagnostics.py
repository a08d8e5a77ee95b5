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
What the player says about itself on /diagnostics (REP 107).

OK means that nothing needs doing, WARN that something gets lost or is about to, ERROR that
something does not work at all. Every level but OK says in its message what to do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import time

from diagnostic_msgs.msg import DiagnosticStatus
from nurec_ros.playback.effects import DrivenState, PlaybackState
from nurec_ros.rendering.frames import RendererStatus
from nurec_ros.ros.conversions import diagnostic
from nurec_ros.ros.ego_topics import OddInputs
from nurec_ros.ros.loading import Loaded

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

SECOND_CLOCK = (
    'somebody else publishes {topic} too: time jumps to and fro for everybody; '
    'start all players but one with publish_clock:=false'
)
SEE_RENDERER = 'the status of the renderer says why'
WAITING = 'waiting for images (lockstep)'
CANNOT_KEEP_UP = (
    'the renderer cannot keep up, {rate:.1f} frames/s are dropped: '
    'lower resolution_scale, camera_rate or rate, or listen to fewer cameras'
)

# A single late frame is nothing to act on.
TOLERATED = 0.1

# For so long a renderer may be away before a clock that waits for it is worth a word: a blink of
# the connection, and the restart of a container, which takes up to half a minute.
AWAY_WARN_S, AWAY_ERROR_S = 5.0, 30.0

# So many reports, one a second, the speed is averaged over.
SPEED_WINDOW = 5


class Diagnostics:
    """
    Composes the statuses; remembers the last counters, so that rates come from differences.

    `name` is the node's, its full one where it has a namespace; `hardware_id` always is. `now`
    returns steady seconds.
    """

    def __init__(
        self, name: str, hardware_id: str, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._hardware_id = hardware_id
        self._now = now
        self._loaded: Loaded | None = None
        self._before_s = now()
        # The last times at which a playing clock was looked at, and how much it had played.
        self._looks: deque[tuple[float, int]] = deque(maxlen=SPEED_WINDOW + 1)
        # Of the last report, by sensor; those of all together under no name.
        self._counts: dict[str, dict[str, int]] = {}

    def compose(
        self,
        state: PlaybackState,
        loaded: Loaded | None,
        *,
        loading: bool,
        mode: str,
        conflicts: tuple[str, ...] = (),
        failure: str = '',
        odd: OddInputs | None = None,
    ) -> list[DiagnosticStatus]:
        """
        Return all statuses of the moment.

        `conflicts` are sentences about other nodes in the graph, `failure` the last unexpected
        error of ours, while it is recent. `odd` are inputs of the ego.
        """
        if loaded is not self._loaded:
            self._loaded, self._counts = loaded, {}
            self._looks.clear()
        now_s = self._now()
        elapsed_s = max(now_s - self._before_s, 1e-3)
        self._before_s = now_s
        renderer = loaded.pipeline.status() if loaded is not None else None
        playback = self._playback(state, loaded, renderer, loading=loading, mode=mode)
        for text in conflicts:
            _add(playback, WARN, text)
        if failure:
            _add(playback, ERROR, failure)
        statuses = [playback]
        if loaded is not None and renderer is not None:
            statuses.append(self._renderer(renderer))
            statuses += [
                self._sensor(loaded, renderer, name, elapsed_s, halted=not state.is_playing)
                for name in (*loaded.cameras, *loaded.lidars)
            ]
            if state.ego is not None:
                statuses.append(self._ego(state, state.ego, loaded, odd or OddInputs()))
        return statuses

    def _status(
        self, part: str, level: bytes, message: str, values: dict[str, object]
    ) -> DiagnosticStatus:
        return diagnostic(f'{self._name}: {part}', level, message, values, self._hardware_id)

    def _playback(
        self,
        state: PlaybackState,
        loaded: Loaded | None,
        renderer: RendererStatus | None,
        *,
        loading: bool,
        mode: str,
    ) -> DiagnosticStatus:
        level, message = OK, state.summary
        speed: float | None = 0.0
        if loaded is None or renderer is None:
            message = 'idle: no scenario is loaded; set usdz_path and call ~/load'
        else:
            playback = loaded.playback
            if playback.held and state.is_playing:
                level, message = held(renderer)
            speed = self._speed(playback.course.played_ns, is_playing=state.is_playing)
        values: dict[str, object] = {
            'scenario': state.scenario,
            'mode': mode,
            'loading': loading,
            'is_playing': state.is_playing,
            'speed': state.speed,
            'achieved_speed_s_per_s': 'unknown' if speed is None else round(speed, 3),
            'current_time_us': state.current_time_us,
            'seconds_since_start': round(state.seconds_since_start, 6),
            'duration_s': state.duration_s,
            'done': state.done,
            'active_tracks': state.active_tracks,
        }
        return self._status('playback', level, message, values)

    def _speed(self, played_ns: int, *, is_playing: bool) -> float | None:
        """
        Return the scenario seconds per wall second of the last few reports.

        0 while halted, None until there are two of a playing clock. `played_ns` is what was ever
        played, without jumps and steps; the time that lockstep waits counts.
        """
        if not is_playing:
            self._looks.clear()
            return 0.0
        self._looks.append((self._before_s, played_ns))
        first_s, first_ns = self._looks[0]
        passed_s = self._before_s - first_s
        return (played_ns - first_ns) / 1e9 / passed_s if passed_s > 0.0 else None

    def _ego(
        self,
        state: PlaybackState,
        ego: DrivenState,
        loaded: Loaded,
        odd: OddInputs,
    ) -> DiagnosticStatus:
        watch, newest_us = loaded.watch, ego.ego_input_stamp_us
        age_s = round((state.current_time_us - newest_us) / 1e6, 6) if newest_us else None
        limit_m = watch.settings.max_deviation_m
        level, message = OK, f'driven by {ego.ego_source}'
        if watch.ego.starved:
            level = ERROR
            message = (
                f'no input for ego_source {ego.ego_source}'
                if age_s is None
                else f'no input for ego_source {ego.ego_source} since {age_s:.1f} s'
            )
        elif ego.collisions:
            level, message = WARN, f'a collision with {", ".join(ego.collisions)}'
        elif abs(ego.deviation_m) > limit_m:
            level = WARN
            message = (
                f'{abs(ego.deviation_m):.1f} m beside the recorded path, more than '
                f'max_deviation_m ({limit_m:g}): pictures get worse the further it is left'
            )
        values: dict[str, object] = {
            'ego_source': ego.ego_source,
            'input_age_s': 'none' if age_s is None else age_s,
            'ego_speed': round(ego.ego_speed, 3),
            'deviation_m': round(ego.deviation_m, 3),
            'deviation_deg': round(ego.deviation_deg, 2),
            'collisions': ', '.join(ego.collisions),
            'stopped_by': ego.stopped_by,
            'dropped_inputs': odd.dropped.total(),
            'dropped_for': '; '.join(f'{reason} ({n})' for reason, n in odd.dropped.items()),
            'restamped_inputs': odd.restamped,
        }
        return self._status('ego', level, message, values)

    def _renderer(self, status: RendererStatus) -> DiagnosticStatus:
        values: dict[str, object] = {
            'server': status.server,
            'connected': status.connected,
            'down_for_s': round(status.down_for_s, 1),
            'service': status.service_prefix,
            'version': status.version,
            'scene_id': status.scene_id,
            'scene_note': status.scene_note,
            'batch': 'unknown' if status.batch is None else status.batch,
            'batch_note': status.batch_note,
            'waiting_for_first_frame_s': round(status.waiting_for_first_frame_s, 1),
            'takes_tracks': not status.tracks_refused,
            'in_flight': status.in_flight,
            'last_error': status.last_error,
            'remedy': status.remedy,
        }
        grown = self._grown('', {'received': status.received, 'failed': status.failed})
        text = _joined(status.last_error, status.remedy)
        if not status.connected:
            level, message = ERROR, text or f'connecting to {status.server}'
        elif not text and status.scene_note:
            level, message = WARN, status.scene_note
        elif not text:
            level, message = OK, status.waiting_note or f'connected to {status.server}'
        elif grown['failed'] and not grown['received']:
            level, message = ERROR, text
        else:
            level, message = WARN, text
        return self._status('renderer', level, message, values)

    def _grown(self, name: str, counts: dict[str, int]) -> dict[str, int]:
        """Return by how much counters, which never shrink, have grown since the last report."""
        before, self._counts[name] = self._counts.get(name, {}), counts
        return {what: count - before.get(what, 0) for what, count in counts.items()}

    def _sensor(
        self,
        loaded: Loaded,
        renderer: RendererStatus,
        name: str,
        elapsed_s: float,
        *,
        halted: bool,
    ) -> DiagnosticStatus:
        status = loaded.pipeline.camera_status(name)
        image, picture = ('cloud', 'cloud') if name in loaded.clouds else ('image', 'picture')
        playback = loaded.playback
        outrun = playback.course.outrun[name]
        counts = {
            'asked': status.asked + outrun,
            'received': status.received,
            'dropped': status.dropped + outrun,
            'failed': status.failed,
        }
        jumped_over = playback.course.lapped[name] + loaded.discarded[name]
        grown = self._grown(name, {**counts, 'jumped_over': jumped_over})
        failed = grown['failed']
        asked, received, dropped = (
            grown[what] / elapsed_s for what in ('asked', 'received', 'dropped')
        )
        # What a jump of the clock makes obsolete says nothing about the renderer.
        late = dropped - grown['jumped_over'] / elapsed_s
        pending = counts['asked'] - counts['received'] - counts['dropped'] - counts['failed']
        missing = late > TOLERATED * asked or (pending > 0 and name in playback.subscribed)
        reason = _joined(status.last_error, status.remedy)
        cold = renderer.waiting_for_first_frame_s > 0
        if failed and not received:
            level, message = ERROR, f'no {image} comes: {reason}'
        elif failed:
            level, message = WARN, f'frames are lost: {reason or SEE_RENDERER}'
        elif missing and not renderer.connected:
            what = f'a {picture} is owed' if halted else f'no {image} comes'
            level, message = WARN, f'{what}: {away(renderer)}'
        # None came yet: too few to say that the renderer is slow.
        elif missing and (cold or not (halted or counts['received'])):
            level, message = OK, renderer.waiting_note or 'waiting for the first frame'
        elif late > TOLERATED * asked:
            level, message = WARN, CANNOT_KEEP_UP.format(rate=late)
        elif missing and halted and not received:
            level, message = OK, f'a {picture} is on its way'
        elif name not in playback.subscribed:
            level, message = OK, 'nobody listens'
        elif reason and not received:
            # Halted, nothing is asked for again by itself: the loss is still what the viewer sees.
            level, message = WARN, f'the last {image} was lost: {reason}'
        else:
            level, message = OK, f'{received:.1f} {image}s/s'
        values: dict[str, object] = {
            'asked_hz': round(asked, 2),
            'received_hz': round(received, 2),
            'dropped_hz': round(dropped, 2),
            **counts,
            'pending': pending,
            'latency_p50_ms': round(1000 * status.latency_p50_s, 1),
            'latency_p95_ms': round(1000 * status.latency_p95_s, 1),
        }
        values |= _own_values(loaded, name, status.last_error)
        return self._status(name, level, message, values)


def _own_values(loaded: Loaded, name: str, last_error: str) -> dict[str, object]:
    """Return what there is to tell of a lidar, or of a camera."""
    if name in loaded.clouds:
        topic = loaded.clouds[name]
        return {
            'subscribers': sum(topic.audience),
            'points': 'unknown' if topic.points is None else topic.points,
            'last_error': last_error,
        }
    width, height = loaded.pipeline.frame_size(name)
    values: dict[str, object] = {
        'subscribers': sum(loaded.topics[name].audience),
        'size': f'{width}x{height}',
        'last_error': last_error,
    }
    residual = loaded.topics[name].calibration.residual
    if residual is not None:
        values['fit_rms_px'] = round(residual.rms_px, 3)
        values['fit_max_px'] = round(residual.max_px, 3)
    return values


def _add(status: DiagnosticStatus, level: bytes, text: str) -> None:
    """Add what is wrong besides; it comes first where all else is well."""
    status.message = text if status.level == OK else f'{status.message}; {text}'
    status.level = max(status.level, level)


def held(renderer: RendererStatus) -> tuple[bytes, str]:
    """Judge a clock that lockstep holds, by what is known about the renderer."""
    if renderer.connected:
        return OK, _joined(WAITING, renderer.waiting_note)
    level = OK
    if renderer.down_for_s >= AWAY_WARN_S:
        level = WARN
    if renderer.down_for_s >= AWAY_ERROR_S:
        level = ERROR
    return level, f'{WAITING}: {away(renderer)}'


def away(renderer: RendererStatus) -> str:
    """Return why there is no renderer, shortly: its own status has the remedy."""
    why = renderer.last_error or f'connecting to {renderer.server}'
    return f'{why} (for {renderer.down_for_s:.0f} s); the status of the renderer says what to do'


def _joined(*texts: str) -> str:
    return ': '.join(text for text in texts if text)
