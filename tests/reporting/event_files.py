"""A reader of TensorBoard's event files that shares no code with the writer.

It follows the published formats of TFRecord, protocol buffers and Event. Its checksum divides bit
by bit; the writer uses a table of bytes.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def events(folder: Path) -> Iterator[dict[str, Any]]:
    """The events of all files in a folder, in the order of their names."""
    for path in sorted(folder.iterdir()):
        yield from (event(payload) for payload in records(path.read_bytes()))


def records(content: bytes) -> Iterator[bytes]:
    """The payloads of a TFRecord file; checks the checksums."""
    while content:
        (length,), (crc,) = struct.unpack_from("<Q", content), struct.unpack_from("<I", content, 8)
        assert crc == masked(content[:8])
        payload = content[12 : 12 + length]
        assert len(payload) == length
        assert struct.unpack_from("<I", content, 12 + length) == (masked(payload),)
        yield payload
        content = content[16 + length :]


def event(payload: bytes) -> dict[str, Any]:
    """{"time", "step", "version", "scalars": {tag: value}, "starts"} of one Event."""
    found: dict[str, Any] = {"scalars": {}, "starts": False}
    for number, value in fields(payload):
        if number == 1:
            (found["time"],) = struct.unpack("<d", value)
        elif number == 2:
            found["step"] = value
        elif number == 3:
            found["version"] = value.decode()
        elif number == 5:
            for _, scalar in fields(value):
                parts = dict(fields(scalar))
                (found["scalars"][parts[1].decode()],) = struct.unpack("<f", parts[2])
        elif number == 7:
            found["starts"] = dict(fields(value))[1] == 1
    return found


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field; value is an int or bytes."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        kind = key % 8
        if kind == 0:
            value, at = varint(message, at)
            yield key // 8, value
            continue
        size, at = varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        yield key // 8, message[at : at + size]
        at += size


def varint(message: bytes, at: int) -> tuple[int, int]:
    """(number, index after it)."""
    total = shift = 0
    while True:
        byte = message[at]
        total, shift, at = total + ((byte & 127) << shift), shift + 7, at + 1
        if byte < 128:
            return total, at


def masked(content: bytes) -> int:
    """TFRecord's mask over Castagnoli's polynomial, divided bit by bit."""
    crc = 0xFFFFFFFF
    for bit in (byte >> i & 1 for byte in content for i in range(8)):
        crc = crc >> 1 ^ (0x82F63B78 if (crc ^ bit) & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15) + (crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % (1 << 32)
