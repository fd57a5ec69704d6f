"""What a compiled program does, read off its text: bytes moved in memory and between chips.

The compiler's own cost analysis counts the body of a loop once; here every loop's trips are
multiplied in. The text is the one that `compiled.as_text()` gives.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

BYTES = {
    "pred": 1, "s4": 0.5, "u4": 0.5, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "s32": 4, "u32": 4,
    "s64": 8, "u64": 8, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16,
}  # fmt: skip
"""Of one number; 8-bit floats all begin with f8, and what is not here (a token) is nothing."""
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
MOVES_NOTHING = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "while", "call",
    "conditional", "partition-id", "replica-id", "optimization-barrier",
}  # fmt: skip
"""Instructions that only name what is there, or whose parts are counted instead."""
IN_PLACE = "dynamic-update-slice"
SLICES = ("slice", "dynamic-slice", "gather")
"""Instructions that read of their first operand no more than they give."""
ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?")
SCRATCH = re.compile(r"[su]8\[\d+\]")
"""What a kernel of cuBLAS or cuDNN gets beside its result, to work in; hardly any of it is used."""
HEADER = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)"
)
BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclass(frozen=True)
class Instruction:
    name: str
    shape: str
    """As text; a tuple's in parentheses."""
    kind: str
    operands: tuple[str, ...]
    rest: str
    """Attributes, behind the operands."""
    root: bool

    @property
    def called(self) -> list[str]:
        """Names of the computations in it."""
        found = CALLED.findall(self.rest)
        for names in BRANCHES.findall(self.rest):
            found += [name.strip().lstrip("%") for name in names.split(",")]
        return found


@dataclass(frozen=True)
class Collective:
    """All executions of one instruction in one run of the program."""

    kind: str
    size: float
    """Bytes of the whole array: after an all-gather, before a reduce-scatter."""
    ways: int
    """Devices that take part in one execution."""
    trips: int

    @property
    def wire(self) -> float:
        """Bytes that one device sends, on a ring: (n - 1) / n of the array, twice for an
        all-reduce; a permutation sends its array."""
        if self.kind == "collective-permute":
            return self.trips * self.size
        share = (self.ways - 1) / self.ways
        return self.trips * self.size * share * (2 if self.kind == "all-reduce" else 1)


@dataclass(frozen=True)
class HloModule:
    """A parsed program."""

    computations: Mapping[str, Mapping[str, Instruction]]
    entry: str
    devices: int

    @cached_property
    def executed(self) -> list[tuple[str, Instruction, int]]:
        """(computation, instruction, executions) outside of fusions, loops multiplied."""
        return list(self._walk(self.entry, 1))

    def _walk(self, name: str, trips: int) -> Iterator[tuple[str, Instruction, int]]:
        for instruction in self.computations[name].values():
            yield name, instruction, trips
            if instruction.kind == "while":
                turns = self.turns(instruction)
                for called in instruction.called:
                    yield from self._walk(called, trips if turns is None else trips * turns)
            elif instruction.kind in ("call", "conditional", "async-start"):
                for called in instruction.called:
                    yield from self._walk(called, trips)

    @property
    def unknown_loops(self) -> list[str]:
        """Loops whose trips the text does not say; they are counted once."""
        loops = {i.name: i for _, i, _ in self.executed if i.kind == "while"}
        return sorted(name for name, loop in loops.items() if self.turns(loop) is None)

    def turns(self, loop: Instruction) -> int | None:
        """Trips of a `while`: as the compiler notes them, or the bound that its counter is compared
        with (counters begin at 0); None where the text says neither."""
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
        """Every collective, those that are fused with computation among them.

        One that runs beside several fusions stands in each of them, under one channel; it starts
        in the one that is executed least often.
        """
        found: dict[str, Collective] = {}
        for _, instruction, trips in self.executed:
            for channel, one in self._collectives_in(instruction, trips):
                known = found.get(channel)
                found[channel] = one if known is None or one.trips < known.trips else known
        return list(found.values())

    def _collectives_in(
        self, instruction: Instruction, trips: int
    ) -> Iterator[tuple[str, Collective]]:
        kind = instruction.kind.removesuffix("-start")
        if kind in COLLECTIVES:
            ways = group_size(instruction.rest, self.devices)
            arrays = [size_of(*array) for array in ARRAY.findall(instruction.shape)]
            # A -start gives its input beside its output.
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
        """Bytes read and written in a device's main memory: operands and results of every executed
        instruction outside of fusions, on-chip memory left out, and of slices only the slice."""
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
            return 0.0  # in place: its operands are the slice
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
            return 0.0  # the result names the input again
        known = self.computations[computation]
        whole = [in_memory(known[n].shape) if n in known else 0.0 for n in instruction.operands]
        if instruction.kind in SLICES:
            return min(whole[0], array_bytes(instruction.shape)) + sum(whole[1:])
        if instruction.kind == IN_PLACE:
            return 2 * whole[1]
        if instruction.kind != "fusion":
            return sum(whole)
        body = self.computations[instruction.called[0]]
        read = dict.fromkeys(instruction.operands, 0.0)  # an array given twice is read once
        for number, (name, size) in enumerate(zip(instruction.operands, whole, strict=True)):
            read[name] = min(size, read[name] + sliced(body, number, size))
        return sum(read.values())


def origin(body: Mapping[str, Instruction], found: Instruction) -> Instruction:
    """What a bitcast or a copy of a fusion's result is made from."""
    while found.kind in ("bitcast", "copy") and found.operands[0] in body:
        found = body[found.operands[0]]
    return found


def sliced(body: Mapping[str, Instruction], number: int, whole: float) -> float:
    """Bytes that a fusion moves of parameter `number`: of one that it only slices, the slices."""
    names = {inner.operands: inner.name for inner in body.values() if inner.kind == "parameter"}
    parameter, total = names[(str(number),)], 0.0
    for user in (inner for inner in body.values() if parameter in inner.operands):
        if user.operands[0] != parameter or user.kind not in (*SLICES, IN_PLACE):
            return whole
        moved = body[user.operands[1]] if user.kind == IN_PLACE else user
        total += array_bytes(moved.shape)
    return total


def parse(text: str, devices: int) -> HloModule:
    """Parses `compiled.as_text()` of a program for so many devices."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        header = HEADER.match(line)
        if header:
            current = computations.setdefault(header[1], {})
            entry = header[1] if line.startswith("ENTRY") else entry
        elif current is not None and (found := INSTRUCTION.match(line)):
            root, name, rest = found.groups()
            current[name] = instruction(name, rest, bool(root))
    return HloModule(computations, entry, devices)


def instruction(name: str, text: str, root: bool) -> Instruction:
    """`f32[2]{0} add(%a, %b), metadata={}` in its parts."""
    end = closing(text, 0) + 1 if text.startswith("(") else text.index(" ")
    shape, call = text[:end], text[end:].lstrip()
    opening = call.index("(")
    last = closing(call, opening)
    kind = call[:opening]
    if kind == "fusion-start":  # ((operands), result, context): the fusion, beside others
        kind, shape = "fusion", shape[closing(shape, 1) + 3 :].rpartition(", ")[0]
    inside = re.sub(r"/\*.*?\*/", "", call[opening + 1 : last])
    operands = tuple(
        part.strip().rpartition(" ")[2].lstrip("%") for part in inside.split(", ") if part
    )
    return Instruction(name, shape, kind, operands, call[last + 1 :], root)


def closing(text: str, opening: int) -> int:
    """Where the parenthesis that opens at a place is closed."""
    depth = 0
    for place in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise ValueError(f"no closing parenthesis in {text[opening : opening + 80]!r}")


def size_of(kind: str, dims: str, _layout: str = "") -> float:
    """size_of("bf16", "16,100,1600") is 5,120,000 bytes."""
    number = BYTES.get(kind, 1 if kind.startswith("f8") else 0)
    return number * math.prod(int(n) for n in dims.split(",") if n)


def array_bytes(shape: str) -> float:
    """Bytes of all arrays in a shape."""
    return sum(size_of(*array) for array in ARRAY.findall(shape))


def in_memory(shape: str) -> float:
    """The same without those that stay on the chip: S(1) is a TPU's vector memory."""
    return sum(size_of(*array) for array in ARRAY.findall(shape) if "S(1)" not in array[2])


def group_size(rest: str, devices: int) -> int:
    """Devices of one group of a collective, from any of the forms of `replica_groups`.

    >>> group_size("replica_groups={{0,1,2,3},{4,5,6,7}}", 8)
    4
    >>> group_size("replica_groups=[2,4]<=[8]", 8)
    4
    >>> group_size("replica_groups=mesh['a'=2,'b'=4] {'b'}", 8)
    4
    """
    listed = re.search(r"replica_groups=\{\{([\d,]*)\}", rest)
    if listed:
        return listed[1].count(",") + 1
    counted = re.search(r"replica_groups=\[(\d+),(\d+)\]", rest)
    if counted:
        return int(counted[2])
    named = re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", rest)
    if named:
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        used = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", named[2])
        return math.prod(int(part or sizes[axis]) for axis, part in used)
    return devices
