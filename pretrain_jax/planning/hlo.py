"""The bytes that a compiled program moves in memory and between chips, from its HLO text.

The compiler's own cost analysis counts the body of a loop once; this one multiplies by the trips of
every loop. The text comes from `compiled.as_text()`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pretrain_jax.planning.hlo_text import (
    ARRAY,
    Instruction,
    array_bytes,
    group_size,
    in_memory,
    parse_instruction,
    size_of,
)

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
MOVES_NOTHING = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "while", "call",
    "conditional", "partition-id", "replica-id", "optimization-barrier",
}  # fmt: skip
"""Instructions that only rename arrays, or whose parts are counted instead."""
IN_PLACE = "dynamic-update-slice"
SLICES = ("slice", "dynamic-slice", "gather")
"""Instructions that read no more of their first operand than they return."""
SCRATCH = re.compile(r"[su]8\[\d+\]")
"""The workspace that a kernel of cuBLAS or cuDNN gets with its result; it uses hardly any of it."""
HEADER = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclass(frozen=True)
class Collective:
    """All executions of one collective instruction in one run of the program."""

    kind: str
    size: float
    """Bytes of the full array: the result of an all-gather, the operand of a reduce-scatter."""
    ways: int
    """Devices that take part in one execution."""
    trips: int
    """Number of executions."""

    @property
    def bytes_sent(self) -> float:
        """Bytes that one device sends, on a ring: (n - 1) / n of the array, twice for an
        all-reduce; a permutation sends its array."""
        if self.kind == "collective-permute":
            return self.trips * self.size
        share = (self.ways - 1) / self.ways
        return self.trips * self.size * share * (2 if self.kind == "all-reduce" else 1)


@dataclass(frozen=True)
class HloModule:
    """A parsed HLO module, for `devices` devices."""

    computations: Mapping[str, Mapping[str, Instruction]]
    entry: str
    devices: int

    @cached_property
    def executed(self) -> list[tuple[str, Instruction, int]]:
        """(computation, instruction, executions) of all instructions outside of fusions."""
        return list(self._walk(self.entry, 1))

    def _walk(self, name: str, trips: int) -> Iterator[tuple[str, Instruction, int]]:
        for instruction in self.computations[name].values():
            yield name, instruction, trips
            if instruction.kind == "while":
                count = self.trip_count(instruction)
                for called in instruction.called:
                    yield from self._walk(called, trips if count is None else trips * count)
            elif instruction.kind in ("call", "conditional", "async-start"):
                for called in instruction.called:
                    yield from self._walk(called, trips)

    @property
    def unknown_loops(self) -> list[str]:
        """Names of the loops with an unknown number of trips; they count once."""
        loops = {i.name: i for _, i, _ in self.executed if i.kind == "while"}
        return sorted(name for name, loop in loops.items() if self.trip_count(loop) is None)

    def trip_count(self, loop: Instruction) -> int | None:
        """Trips of a `while`: the compiler's annotation, or the bound to which the condition
        compares the counter (counters start at 0); None where the text has neither."""
        known = TRIPS.search(loop.rest)
        if known:
            return int(known[1])
        condition = re.search(r"condition=%?([\w.\-]+)", loop.rest)
        body = self.computations[condition[1]] if condition else {}
        for compare in body.values():
            if not compare.root or "direction=LT" not in compare.rest:
                continue
            bounds = [body[name] for name in compare.operands if body[name].kind == "constant"]
            if len(bounds) == 1 and bounds[0].operands and bounds[0].operands[0].isdigit():
                return int(bounds[0].operands[0])
        return None

    def collectives(self) -> list[Collective]:
        """All collectives, including those that are fused with computation.

        A collective that overlaps with several fusions is part of each of them, with the same
        channel. It starts in the fusion that is executed least often, whose count is used.
        """
        by_channel: dict[str, Collective] = {}
        for _, instruction, trips in self.executed:
            for channel, one in self._collectives_in(instruction, trips):
                known = by_channel.get(channel)
                by_channel[channel] = one if known is None or one.trips < known.trips else known
        return list(by_channel.values())

    def _collectives_in(
        self, instruction: Instruction, trips: int
    ) -> Iterator[tuple[str, Collective]]:
        kind = instruction.kind.removesuffix("-start")
        if kind in COLLECTIVES:
            ways = group_size(instruction.rest, self.devices)
            arrays = [size_of(*array) for array in ARRAY.findall(instruction.shape)]
            # The result of a -start contains its input and its output.
            size = max(arrays) if instruction.kind != kind else sum(arrays)
            if instruction.kind == "reduce-scatter":
                size *= ways
            channel = re.search(r"channel_id=(\d+)", instruction.rest)
            if ways > 1 or kind == "collective-permute":
                name = channel[0] if channel else instruction.name
                yield name, Collective(kind, size, ways, trips)
        elif instruction.kind == "fusion":
            for inner in self.computations[instruction.called[0]].values():
                yield from self._collectives_in(inner, trips)

    def memory_bytes(self) -> float:
        """Bytes read and written in a device's main memory: the operands and results of all
        executed instructions outside of fusions. On-chip memory does not count, and of a sliced
        array only the slice counts."""
        return sum(
            trips * (self._written(instruction) + self._read(computation, instruction))
            for computation, instruction, trips in self.executed
            if instruction.kind not in MOVES_NOTHING and not instruction.kind.endswith("-done")
        )

    def _written(self, instruction: Instruction) -> float:
        arrays = [array[0] for array in ARRAY.finditer(instruction.shape)]
        if instruction.kind == "slice-start":  # ((input), slice, context)
            return array_bytes(arrays[1]) + in_memory(arrays[1])
        if instruction.kind == IN_PLACE:
            return 0.0  # `_read` counts the slice, twice
        sizes = [0.0 if SCRATCH.match(array) else in_memory(array) for array in arrays]
        if instruction.kind != "fusion":
            return sum(sizes)
        body = self.computations[instruction.called[0]]
        root = next(inner for inner in body.values() if inner.root)
        results = [body[name] for name in root.operands] if root.kind == "tuple" else [root]
        if len(results) == len(arrays):
            made = (origin(body, result).kind for result in results)
            sizes = [0.0 if kind == IN_PLACE else n for kind, n in zip(made, sizes, strict=True)]
        return sum(sizes)

    def _read(self, computation: str, instruction: Instruction) -> float:
        if instruction.kind.endswith("-start"):
            return 0.0  # the result contains the input, which `_written` counts
        known = self.computations[computation]
        sizes = [in_memory(known[n].shape) if n in known else 0.0 for n in instruction.operands]
        if instruction.kind in SLICES:
            return min(sizes[0], array_bytes(instruction.shape)) + sum(sizes[1:])
        if instruction.kind == IN_PLACE:
            return 2 * sizes[1]
        if instruction.kind != "fusion":
            return sum(sizes)
        body = self.computations[instruction.called[0]]
        total = dict.fromkeys(instruction.operands, 0.0)  # an array passed twice is read once
        for number, (name, size) in enumerate(zip(instruction.operands, sizes, strict=True)):
            total[name] = min(size, total[name] + moved_by_fusion(body, number, size))
        return sum(total.values())


def origin(body: Mapping[str, Instruction], result: Instruction) -> Instruction:
    """The instruction whose value bitcasts and copies pass on to a result of a fusion."""
    while result.kind in ("bitcast", "copy") and result.operands[0] in body:
        result = body[result.operands[0]]
    return result


def moved_by_fusion(body: Mapping[str, Instruction], number: int, size: float) -> float:
    """Bytes that a fusion moves of its parameter `number`, which has `size` bytes: the slices alone
    where it only slices it."""
    names = {inner.operands: inner.name for inner in body.values() if inner.kind == "parameter"}
    parameter, total = names[(str(number),)], 0.0
    for user in (inner for inner in body.values() if parameter in inner.operands):
        if user.operands[0] != parameter or user.kind not in (*SLICES, IN_PLACE):
            return size
        moved = body[user.operands[1]] if user.kind == IN_PLACE else user
        total += array_bytes(moved.shape)
    return total


def parse(text: str, devices: int) -> HloModule:
    """Parses the text `compiled.as_text()` of a program for `devices` devices."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        header = HEADER.match(line)
        if header:
            current = computations.setdefault(header[1], {})
            entry = header[1] if line.startswith("ENTRY") else entry
        elif current is not None and (match := INSTRUCTION.match(line)):
            root, name, rest = match.groups()
            current[name] = parse_instruction(name, rest, bool(root))
    return HloModule(computations, entry, devices)
