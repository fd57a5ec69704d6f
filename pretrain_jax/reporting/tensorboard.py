"""Scalars for TensorBoard, written synchronously: a write that fails raises in the caller.

An event file is a sequence of TFRecords, each

    uint64 length, uint32 masked crc32c of it, payload, uint32 masked crc32c of the payload

(little-endian), where a payload is one protocol buffer `Event` of tensorflow/core/util/event.proto:

    double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5;
    SessionLog session_log = 7         SessionLog: status = 1, where START is 1
    Summary: repeated Value value = 1  Value: string tag = 1; float simple_value = 2
"""

import os
import socket
import struct
import time
from collections.abc import Mapping

from etils import epath

from pretrain_jax.files import outputs

MAX_FLOAT32 = 3.4028234663852886e38
"""TensorBoard stores float32."""


class EventFile:
    """A new event file in `folder` for a run that resumes from `restored_step`.

    It makes TensorBoard discard later steps of older files (all steps if restored_step is 0). No
    file stays open between calls.

    >>> events = EventFile("runs/xl/tensorboard", restored_step=0)
    >>> events.scalars(100, {"train/loss": 4.25})
    """

    def __init__(self, folder: epath.PathLike, restored_step: int):
        now = int(time.time())
        # TensorBoard reads files in the order of their names. The step and the process id keep
        # starts within one second apart.
        name = f"{now:010d}.{restored_step:012d}.{socket.gethostname()}.{os.getpid()}"
        self._path = epath.Path(folder) / f"events.out.tfevents.{name}"
        start = _field(7, b"\x08\x01")
        discard_from = restored_step + 1 if restored_step else 0
        with outputs.report_unwritable(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        self._append(_event(0, _field(3, b"brain.Event:2")) + _event(discard_from, start))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Appends the values of a step; those outside float32 are left out."""
        fitting = {tag: value for tag, value in values.items() if abs(value) <= MAX_FLOAT32}
        if fitting:
            summary = b"".join(_field(1, _scalar(*item)) for item in fitting.items())
            self._append(_event(step, _field(5, summary)))

    def _append(self, records: bytes) -> None:
        with outputs.report_unwritable(self._path), self._path.open("ab") as file:
            file.write(records)


def _event(step: int, content: bytes) -> bytes:
    """A record of an Event with the current time."""
    payload = b"\x09" + struct.pack("<d", time.time()) + b"\x10" + _varint(step) + content
    length = struct.pack("<Q", len(payload))
    return length + _masked(length) + payload + _masked(payload)


def _scalar(tag: str, value: float) -> bytes:
    return _field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field (bytes, text or a message): key, length, content."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Seven bits per byte, lowest first; all bytes but the last have their highest bit set.

    >>> _varint(300).hex()
    'ac02'
    """
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _masked(content: bytes) -> bytes:
    """TFRecord's checksum: crc32c rotated right by 15 bits, plus a constant."""
    crc = crc32c(content)
    rotated = (crc >> 15 | crc << 17) + 0xA282EAD8
    return struct.pack("<I", rotated & 0xFFFFFFFF)


def crc32c(content: bytes) -> int:
    """Castagnoli's checksum (RFC 3720, B.4).

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _byte_crc(crc: int) -> int:
    """The crc32c register after one byte."""
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


_TABLE = [_byte_crc(byte) for byte in range(256)]
