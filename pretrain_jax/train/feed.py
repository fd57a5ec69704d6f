"""The host half of a run: corpora, tokenizer, token caches, and the streams of rows over them."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
from etils import epath

from pretrain_jax import registry, text
from pretrain_jax.data import pipeline, yardsticks
from pretrain_jax.data.arrange import Chunks
from pretrain_jax.data.cache import TokenCache, token_cache
from pretrain_jax.data.corpus import Corpus, open_corpus
from pretrain_jax.errors import ConfigError, WorkdirMismatch
from pretrain_jax.objectives import Objective
from pretrain_jax.train.compose import Design, Phase

ARRANGEMENTS = {"chunks": Chunks}


@dataclass(frozen=True)
class Source:
    """One member of the mixture (or the only source)."""

    corpus: Corpus
    objective: Objective
    rate: float


@dataclass(frozen=True)
class Feed:
    """Rows for training and evaluation. Opening it tokenizes what is not in the cache."""

    design: Design
    sources: tuple[Source, ...]
    tokenizer: text.Tokenizer
    _caches: dict[Any, TokenCache] = field(default_factory=dict)
    _streams: dict[Any, pipeline.Stream] = field(default_factory=dict)

    @classmethod
    def open(
        cls, design: Design, workdir: epath.Path, stored: Mapping[str, Any] | None = None
    ) -> "Feed":
        """Opens the sources, obtains the tokenizer (training it if need be), fills the cache.

        stored: the fingerprints of a checkpoint to go on from; other data raises WorkdirMismatch,
        before a tokenizer of other text could take the place of the one in the workdir.
        """
        sources = tuple(open_sources(design))
        if stored is not None:
            same_data("corpus", stored["sources"], [s.corpus.fingerprint for s in sources])
        config = design.config
        options = {k: v for k, v in config.tokenizer.items() if k not in ("name", "path")}
        tokenizer = text.obtain(
            config.tokenizer.name,
            config.tokenizer.path,
            texts=lambda: round_robin([source.corpus.texts("train") for source in sources]),
            corpus_fingerprint=joined([source.corpus.fingerprint for source in sources]),
            vocab_size=config.model.vocab_size,
            directory=workdir / "tokenizer",
            **options,
        )
        if stored is not None:
            same_data("tokenizer", stored["tokenizer"], tokenizer.fingerprint)
        feed = cls(design, sources, tokenizer)
        for half in ("train", "valid"):
            for source in sources:
                feed.cache(source, half)
        return feed

    @property
    def fingerprints(self) -> dict[str, Any]:
        """What the order of the data depends on, beside seed and step; kept in checkpoints."""
        return {
            "tokenizer": self.tokenizer.fingerprint,
            "sources": [source.corpus.fingerprint for source in self.sources],
        }

    def cache(self, source: Source, half: str) -> TokenCache:
        """The tokens of "train" or "valid" of one source."""
        key = (source.corpus.name, half)
        if key not in self._caches:
            where = self.design.data.cache_dir or None
            self._caches[key] = token_cache(source.corpus, half, self.tokenizer, where)
        return self._caches[key]

    def stream(self, half: str, seq_len: int) -> pipeline.Stream:
        """The rows of "train" or "valid" at a sequence length."""
        key = (half, seq_len)
        if key not in self._streams:
            self._streams[key] = pipeline.Stream(
                members=[self._member(source, half, seq_len) for source in self.sources],
                fields=self.design.objective.fields,
                budgets=self.design.budgets(seq_len),
                cross_documents=self.design.data.cross_documents,
            )
        return self._streams[key]

    def _member(self, source: Source, half: str, seq_len: int) -> pipeline.Member:
        objective = source.objective
        arrange = registry.pick(ARRANGEMENTS, objective.arrangement, "arrangement")
        examples = arrange(
            self.cache(source, half),
            raw_length=objective.raw_length(seq_len),
            overlap=objective.overlap,
            begin=self.tokenizer.bos,
            end=self.tokenizer.eos,
        )
        return pipeline.Member.planned(
            examples,
            lengths=objective.lengths,
            budgets=self.design.budgets(seq_len),
            corrupt=objective.corrupt,
            vocab=self.tokenizer,
            rate=source.rate,
        )

    def batches(self, phase: Phase, step: int) -> Iterator[Mapping[str, np.ndarray]]:
        """This host's share of the batches of steps step, step + 1, ... of a phase.

        Rows already used by earlier phases of the same sequence length are not read again: the
        place in the data follows from the step alone.
        """
        used = sum(
            (min(step, past.last) - past.first) * past.batch_size
            for past in self.design.phases
            if past.seq_len == phase.seq_len and past.first < step
        )
        return pipeline.batches(
            self.stream("train", phase.seq_len),
            seed=self.design.config.seed,
            batch_size=phase.batch_size,
            first_row=used,
            host_index=jax.process_index(),
            host_count=jax.process_count(),
            workers=self.design.data.workers,
        )

    # --- evaluation -------------------------------------------------------------------------

    @property
    def eval_batch_size(self) -> int:
        """A microbatch: what is known to fit."""
        return self.design.train.batch_size // self.design.train.accumulate

    @cached_property
    def eval_rows(self) -> int:
        stream = self.stream("valid", self.design.data.seq_len)
        return pipeline.eval_rows(stream, self.design.eval.tokens, self.tokenizer.special)

    def eval_batches(self) -> Iterator[Mapping[str, np.ndarray]]:
        """The same rows at each call, in a fixed order and with fixed noise."""
        return pipeline.eval_batches(
            self.stream("valid", self.design.data.seq_len),
            rows=self.eval_rows,
            batch_size=self.eval_batch_size,
            host_index=jax.process_index(),
            host_count=jax.process_count(),
        )

    @cached_property
    def yardsticks(self) -> dict[str, float]:
        """Nats a predicted text token of the baselines, on exactly the tokens of evaluation."""
        counts = yardsticks.count(
            [(self.cache(source, "train"), source.rate) for source in self.sources],
            vocab_size=self.tokenizer.size,
            begin=self.tokenizer.bos,
            end=self.tokenizer.eos,
        )
        scores = yardsticks.score(
            self.design.objective.yardsticks,
            counts=counts,
            batches=self.eval_batches(),
            special=self.tokenizer.special,
        )
        return {f"yardstick/{name}": value for name, value in scores.items()}

    @cached_property
    def tokens_per_byte(self) -> float | None:
        """Text tokens a byte of held-out text; None where not every byte is predicted."""
        if not self.design.objective.covers_text or self.tokenizer.bos is None:
            return None
        rates = [source.rate for source in self.sources]
        caches = [self.cache(source, "valid") for source in self.sources]
        bytes_per_token = [cache.text_bytes / len(cache.tokens) for cache in caches]
        return sum(rates) / sum(r * b for r, b in zip(rates, bytes_per_token, strict=True))

    def prompt(self, tokens: int = 32) -> np.ndarray:
        """int32 [tokens]: the beginning of the first held-out row."""
        first = next(iter(self.eval_batches()))["tokens"][0]
        return first[: min(tokens, len(first) // 2)]


def open_sources(design: Design) -> Iterator[Source]:
    """`data.source`, or the members of `data.mixture`; every member must fit the one model."""
    data = design.data
    main = design.config.objective.name
    mixture = data.mixture or ((data.source, main, 1.0),)
    for entry in mixture:
        if len(entry) != 3 or not isinstance(entry[2], int | float) or entry[2] <= 0:
            raise ConfigError(
                "data.mixture is a list of (source, objective, rate) with positive rates; "
                f"received the member {entry!r}"
            )
        name, objective_name, rate = entry
        objective = design.objective
        if objective_name != main:
            objective = registry.load("objectives", objective_name, "data.mixture").build()
        wanted, found = (
            (sorted(o.fields), o.attention, o.loss) for o in (design.objective, objective)
        )
        if wanted != found:
            raise ConfigError(
                "members of a mixture share fields, attention and loss; "
                f"{objective_name} has {found[:2]}, objective.name={main} has {wanted[:2]}"
            )
        corpus = open_corpus(name, split=data.split, text_key=data.text_key)
        yield Source(corpus, objective, float(rate))


def same_data(what: str, stored: Any, found: Any) -> None:
    """Raises WorkdirMismatch when a fingerprint is not the one that the run began with."""
    if stored != found:
        raise WorkdirMismatch(
            f"a run goes on only with the data it began with; the {what} of the checkpoint has the "
            f"fingerprint {stored}, the one here {found}. Restore it, or start in another "
            "--workdir (with --config.init_from=WORKDIR to keep the parameters)"
        )


def round_robin(iterables: Iterable[Iterable[str]]) -> Iterator[str]:
    """One piece of each in turn, so that a bounded reader sees a share of every source."""
    for pieces in itertools.zip_longest(*iterables):
        yield from (piece for piece in pieces if piece is not None)


def joined(fingerprints: list[str]) -> str:
    """One fingerprint of several."""
    if len(fingerprints) == 1:
        return fingerprints[0]
    return hashlib.sha256("\n".join(fingerprints).encode()).hexdigest()
