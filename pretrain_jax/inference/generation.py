"""Generates texts: prompts in, continuations out.

    generator = Generator(decoder, params, tokenizer, context=1024)
    prompt = {"tokens": np.array([50256, 464, 3797], np.int32)}
    generator.generate([prompt], tokens=20, sampling=Sampling(temperature=0.8))

A prompt has the fields of one row that an objective makes of a text (Objective.prompt).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from pretrain_jax import seeds
from pretrain_jax.composition.build import Design
from pretrain_jax.errors import ConfigError
from pretrain_jax.inference import beam_search, spellings
from pretrain_jax.inference.beam_search import BeamSearch
from pretrain_jax.inference.decoding import Decoder, bucket, divide, to_rows
from pretrain_jax.inference.sampling import Sampling
from pretrain_jax.inference.sampling_loop import advance, begin
from pretrain_jax.sharding import rules
from pretrain_jax.tokenizers import Tokenizer

Prompt = Mapping[str, np.ndarray]
STREAMED = 8
"""Tokens that a stream makes at once: more are faster, fewer appear sooner."""


@dataclass(frozen=True)
class Continuation:
    """What a model generated after a prompt."""

    text: str
    tokens: np.ndarray
    """int32 [n], without the end token."""
    log_probabilities: np.ndarray
    """float32 [n], nats: of each token under the model itself, before temperature and filters."""
    reason: str
    """Why it ends: "end token", "stop" (a text before which it must end; `tokens` has that text),
    "tokens" (as many as asked for) or "context" (the model's last position); "" while it grows."""


class Rows(NamedTuple):
    """The fields of a `State` that a continuation is read from, on the host."""

    tokens: np.ndarray
    log_probabilities: np.ndarray
    start: np.ndarray
    position: np.ndarray
    ended: np.ndarray


@dataclass(frozen=True)
class Generator:
    """A model that generates. All methods leave its parameters as they are."""

    decoder: Decoder
    params: Any
    tokenizer: Tokenizer
    context: int = 0
    """Positions that the model has, of prompt and continuation together; 0 = no limit."""
    ways: int = 1
    """Rows of a batch are a multiple of this: the parts into which a mesh splits it."""
    to_host: Callable[[Any], Any] = jax.device_get
    """Copies arrays of the mesh to the host."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        tokens: int,
        sampling: Sampling,
        seed: int = 0,
        batch_size: int = 8,
        stop: Sequence[str] = (),
    ) -> list[Continuation]:
        """One continuation of up to `tokens` tokens for each prompt, in batches of `batch_size`.

        stop: texts before which a continuation ends. The draws of prompt i depend on (seed, i)
        alone, not on the batch. Raises ConfigError for a prompt without room for a token.
        """
        size, parts = divide(len(prompts), batch_size, self.ways)
        made = []
        for chosen in parts:
            part, numbers = prompts[chosen], range(len(prompts))[chosen]
            every = STREAMED if stop else tokens
            for rows in self.advance(part, tokens, sampling, seed, numbers, size, every):
                found = [self.read(rows, row, tokens, stop) for row in range(len(part))]
                if all(continuation.reason for continuation in found):
                    break
            made += found
        return made

    def stream(
        self,
        prompt: Prompt,
        tokens: int,
        sampling: Sampling,
        seed: int = 0,
        number: int = 0,
        stop: Sequence[str] = (),
    ) -> Iterator[Continuation]:
        """The continuation of one prompt as it grows by 8 tokens at a time; the last is complete.

        The draws are those of prompt `number` in `generate`.
        """
        steps = self.advance([prompt], tokens, sampling, seed, [number], self.ways, STREAMED)
        for rows in steps:
            made = self.read(rows, 0, tokens, stop)
            yield made
            if made.reason:
                return

    def advance(
        self,
        prompts: Sequence[Prompt],
        tokens: int,
        sampling: Sampling,
        seed: int,
        numbers: Sequence[int],
        rows: int,
        every: int,
    ) -> Iterator[Rows]:
        """The rows after every `every` tokens, until all have ended."""
        batch, last, slots = self.lay_out(prompts, rows, tokens)
        key, strengths = seeds.random_key(seed), sampling.strengths
        drawn = np.array([*numbers, *[0] * rows][:rows], np.int32)
        static = {
            "decoder": self.decoder,
            "filters": sampling.filters,
            "end": self.tokenizer.eos,
        }
        state = begin(self.params, batch, last, key, drawn, strengths, slots=slots, **static)
        for until in [*range(every, tokens, every), tokens]:
            state = advance(self.params, state, until, strengths, **static)
            made = (state.cache.tokens, state.log_probabilities, state.start, state.position)
            snapshot = Rows(*self.to_host((*made, state.ended)))
            yield snapshot
            if snapshot.ended.all():
                return

    def search(
        self,
        prompts: Sequence[Prompt],
        tokens: int,
        how: BeamSearch,
        batch_size: int = 8,
        stop: Sequence[str] = (),
    ) -> list[list[Continuation]]:
        """The `how.beams` best continuations of each prompt, best first. See `generate`."""
        size, parts = divide(len(prompts), batch_size, self.ways)
        found = []
        for chosen in parts:
            part = prompts[chosen]
            batch, last, slots = self.lay_out(part, size, tokens)
            best = beam_search.search(
                self.params,
                batch,
                last,
                how.length_penalty,
                how.repetition_penalty,
                slots=slots,
                decoder=self.decoder,
                beams=how.beams,
                end=self.tokenizer.eos,
                penalised=how.repetition_penalty != 1,
            )
            best, starts = self.to_host(best), batch["segments"].sum(axis=1)
            for row in range(len(part)):
                start = np.full(how.beams, starts[row])
                texts = (best.tokens[row], best.log_probabilities[row], start, best.position[row])
                rows = Rows(*texts, ended=np.ones(how.beams, bool))
                found.append([self.read(rows, beam, tokens, stop) for beam in range(how.beams)])
        return found

    def lay_out(
        self, prompts: Sequence[Prompt], rows: int, tokens: int
    ) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
        """The batch of `to_rows`, the last position int32 [rows] of each continuation, and the
        slots of the cache. Raises ConfigError for a prompt without room."""
        for prompt in prompts:
            self.check(prompt)
        batch = to_rows(prompts, rows, self.context)
        last = batch["segments"].sum(axis=1) + tokens - 1
        last = np.minimum(last, self.context - 1) if self.context else last
        slots = max(bucket(int(last.max()) + 1, self.context), batch["tokens"].shape[1])
        return batch, last.astype(np.int32), slots

    def check(self, prompt: Prompt) -> None:
        """Raises ConfigError unless the model has a position for one more token."""
        length = len(prompt["tokens"])
        if self.context and length >= self.context:
            raise ConfigError(
                f"a prompt must leave room for a token in the model's {self.context} positions; "
                f"received {length} tokens. Shorten it, or drop its beginning: "
                "cut=True in Python, --cut on the command line"
            )

    def cut(self, prompt: Prompt, tokens: int) -> Prompt:
        """The prompt without its first tokens, so that `tokens` more, at most half of all
        positions, have room."""
        room = self.context - min(tokens, self.context // 2) if self.context else 0
        stream = {name for name in prompt if not name.startswith("memory_")}
        return {name: x[-room:] if name in stream else x for name, x in prompt.items()}

    def read(self, rows: Rows, row: int, tokens: int, stop: Sequence[str] = ()) -> Continuation:
        """The continuation of a row so far."""
        start, end = rows.start[row], rows.position[row] + 1
        reason = "" if not rows.ended[row] else "tokens" if end - start == tokens else "context"
        if self.tokenizer.eos is not None and rows.tokens[row, end - 1] == self.tokenizer.eos:
            end, reason = end - 1, "end token"
        made = slice(start, end)
        text = self.text_after(rows.tokens[row, :start], rows.tokens[row, made])
        found = [place for word in stop if (place := text.find(word)) >= 0]
        if found:
            text, reason = text[: min(found)], "stop"
        if not reason:
            text = text[: len(text) - partial_stop_length(text, stop)]
        return Continuation(text, rows.tokens[row, made], rows.log_probabilities[row, made], reason)

    def text_after(self, prompt: np.ndarray, ids: np.ndarray) -> str:
        """The text of ids that follow a prompt: with its first space, where `decode` of these ids
        alone would drop it, and with sentinels spelled out."""
        if np.isin(ids, self.tokenizer.sentinels).any():
            return spellings.decode(ids, self.tokenizer)
        prompt = prompt[prompt >= 0]  # without the places of an adapter
        before = self.tokenizer.decode(prompt)
        text = self.tokenizer.decode(np.concatenate([prompt, ids]))
        return text[len(before) :] if text.startswith(before) else self.tokenizer.decode(ids)


def partial_stop_length(text: str, stop: Sequence[str]) -> int:
    """How many characters at the end of a text may be the beginning of a stop.

    >>> partial_stop_length("a test", ["stop", "st.", "here"])
    2
    """
    ends = [word[:n] for word in stop for n in range(1, len(word)) if text.endswith(word[:n])]
    return max(map(len, ends), default=0)


def build_generator(design: Design, params: Any, tokenizer: Tokenizer) -> Generator:
    """The generator of a model on its mesh."""
    mesh = design.placement.mesh
    gather = jax.jit(lambda tree: tree, out_shardings=rules.replicated(mesh))
    spread = mesh.size > 1  # one device needs no program for it
    return Generator(
        Decoder(design.placement.apply_cached, tokenizer.size),
        params,
        tokenizer,
        context=design.spec.model.get("max_length", 0),
        ways=rules.batch_ways(mesh),
        to_host=lambda tree: jax.device_get(gather(tree) if spread else tree),
    )
