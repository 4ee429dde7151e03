"""Timelines as files for Perfetto (https://ui.perfetto.dev), in its native format: a stream of track events.

Needs the package ``perfetto`` (``pip install 'edgesim[trace]'``). A simulated second is a second of the trace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.timeline import Arguments, Entry, Mark, Sample, Slice, Track
from edgesim.tables import UserError

Message = Any
"""A protobuf message: their classes are made when ``perfetto`` is imported."""

NS_PER_S = 1e9

SEQUENCE = 1
"""All packets come from one writer."""


@dataclass(slots=True)
class Written:
    """What a file holds."""

    tracks: int = 0
    slices: int = 0
    marks: int = 0
    samples: int = 0


def write_trace(entries: Iterable[Entry], file: Path | str) -> Written:
    """Write a timeline; what was in the file is replaced.

    Parameters
    ----------
    entries
        From :func:`analysis.timeline.timeline`.
    file
        Perfetto's name for such files ends in ``.pftrace``.

    Returns
    -------
    Written
        How much it was.

    Raises
    ------
    UserError
        The package ``perfetto`` is not installed.
    """
    try:
        from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("perfetto", "google"):
            raise
        raise UserError("a timeline needs the package perfetto: pip install 'edgesim[trace]'") from None
    target = Path(file)
    temporary = target.with_name(f".{target.name}.part")
    with temporary.open("wb") as opened:
        writer = _Writer(StreamingTraceProtoBuilder(opened))
        for entry in entries:
            writer.entry(entry)
    temporary.replace(target)
    return writer.written


class _Writer:
    """Turns entries into packets; a track is described before its first event."""

    def __init__(self, builder: Any) -> None:
        from perfetto.protos.perfetto.trace import perfetto_trace_pb2

        self.protos = perfetto_trace_pb2
        self.builder = builder
        self.written = Written()
        self.tracks: dict[tuple[tuple[str, ...], int], int] = {}
        self.children: dict[tuple[str, ...], int] = {}

    def entry(self, entry: Entry) -> None:
        """Write an entry."""
        kinds = self.protos.TrackEvent
        uuid = self.track(entry.track)
        if isinstance(entry, Sample):
            packet = self.event(uuid, entry.time_s, kinds.TYPE_COUNTER)
            packet.track_event.double_counter_value = entry.value
            self.builder.write_packet(packet)
            self.written.samples += 1
            return
        at_s = entry.start_s if isinstance(entry, Slice) else entry.time_s
        packet = self.event(uuid, at_s, kinds.TYPE_SLICE_BEGIN if isinstance(entry, Slice) else kinds.TYPE_INSTANT)
        event = packet.track_event
        event.name = entry.name
        if entry.arrow_out is not None:
            event.flow_ids.append(entry.arrow_out)
        if entry.arrow_in is not None:
            event.terminating_flow_ids.append(entry.arrow_in)
        _annotate(event, entry.arguments)
        self.builder.write_packet(packet)
        if isinstance(entry, Mark):
            self.written.marks += 1
            return
        self.builder.write_packet(self.event(uuid, entry.end_s, kinds.TYPE_SLICE_END))
        self.written.slices += 1

    def event(self, uuid: int, time_s: float, kind: int) -> Message:
        """Make the packet of an event."""
        packet = self.builder.create_packet()
        packet.timestamp = round(time_s * NS_PER_S)
        packet.trusted_packet_sequence_id = SEQUENCE
        packet.track_event.type = kind
        packet.track_event.track_uuid = uuid
        return packet

    def track(self, track: Track) -> int:
        """Return a track's number, describing it and those around it first if need be."""
        key = (track.path, track.lane)
        if key not in self.tracks:
            parent = self.group(track.path[:-1])
            descriptor = self.describe(track.path, track.lane, parent, track.rank)
            if track.unit:
                counter = descriptor.track_descriptor.counter
                if track.unit == "bytes":
                    counter.unit = self.protos.CounterDescriptor.UNIT_SIZE_BYTES
                else:
                    counter.unit_name = track.unit
            self.builder.write_packet(descriptor)
        return self.tracks[key]

    def group(self, path: tuple[str, ...]) -> int:
        """Return the number of a track that holds others, in the order in which they turn up."""
        if not path:
            return 0
        if (path, 0) not in self.tracks:
            parent = self.group(path[:-1])
            rank = self.children.get(path[:-1], 0)
            self.children[path[:-1]] = rank + 1
            self.builder.write_packet(self.describe(path, 0, parent, rank))
        return self.tracks[path, 0]

    def describe(self, path: tuple[str, ...], lane: int, parent: int, rank: int) -> Message:
        """Make the packet that describes a track. Lanes are tracks of one name: the viewer draws them as one."""
        packet = self.builder.create_packet()
        packet.trusted_packet_sequence_id = SEQUENCE
        descriptor = packet.track_descriptor
        descriptor.uuid = self.tracks[path, lane] = _uuid(path, lane)
        if parent:
            descriptor.parent_uuid = parent
        descriptor.name = path[-1]
        descriptor.child_ordering = descriptor.EXPLICIT
        descriptor.sibling_order_rank = rank
        self.written.tracks += 1
        return packet


def _uuid(path: tuple[str, ...], lane: int) -> int:
    """A number that is the same in every file, never 0."""
    text = "\x1f".join((*path, str(lane)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") or 1


def _annotate(event: Message, arguments: Arguments) -> None:
    for name, value in arguments.items():
        annotation = event.debug_annotations.add(name=name)
        if isinstance(value, bool):
            annotation.bool_value = value
        elif isinstance(value, int):
            annotation.int_value = value
        elif isinstance(value, float):
            annotation.double_value = value
        else:
            annotation.string_value = value
