"""The host half of a run: corpora, tokenizer, token caches, and the streams of rows over them."""

import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from etils import epath

from pretrain_jax import registry, tokenizers
from pretrain_jax.batch import is_text
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.corpora import Source, obtain_tokenizer, open_sources
from pretrain_jax.composition.phases import Phase
from pretrain_jax.composition.special_tokens import check_boundary
from pretrain_jax.data import baselines, mixing, pipeline
from pretrain_jax.data.cache import TokenCache, open_token_cache
from pretrain_jax.data.eval_counts import EvalCounts
from pretrain_jax.data.examples import CorpusChunks, DocumentChunks, TextPairs
from pretrain_jax.data.sentence_pairs import SentencePairs
from pretrain_jax.errors import DataError
from pretrain_jax.progress import progress

log = logging.getLogger(__name__)
Batches = Generator[pipeline.Batch, None, None]
ROWS_COUNTED = 64
"""Rows of each member of a mixture whose predictions are counted."""
ARRANGEMENTS = {
    "chunks": DocumentChunks,
    "joined": CorpusChunks,
    "pairs": SentencePairs,
    "texts": TextPairs,
}


@dataclass(frozen=True)
class Feed:
    """Rows for training and evaluation. Opening it tokenizes what is not in the cache."""

    design: Design
    sources: tuple[Source, ...]
    tokenizer: tokenizers.Tokenizer
    _caches: dict[Any, TokenCache] = field(default_factory=dict)
    _streams: dict[Any, pipeline.Stream] = field(default_factory=dict)

    @classmethod
    def open(
        cls, design: Design, workdir: epath.Path, stored: Mapping[str, Any] | None = None
    ) -> "Feed":
        """Opens the sources, obtains the tokenizer (training it if need be), fills the cache.

        stored: the fingerprints of a checkpoint to go on from; other data raises WorkdirMismatch,
        and the tokenizer is the one in the workdir.
        """
        sources = open_sources(design, stored)
        return cls.over(design, sources, obtain_tokenizer(design, sources, workdir, stored))

    @classmethod
    def over(
        cls, design: Design, sources: tuple[Source, ...], tokenizer: tokenizers.Tokenizer
    ) -> "Feed":
        """Fills the cache and plans all rows: what is wrong with the data is said before anything
        is compiled."""
        feed = cls(design, sources, tokenizer)
        for half in feed.halves:
            for source in sources:
                feed.cache(source, half)
        with progress("planning rows"):
            if "train" in feed.halves:
                for seq_len in {phase.seq_len for phase in design.spec.phases}:
                    feed.stream("train", seq_len)
            feed.stream("valid", design.spec.phases.eval_seq_len)
            _ = feed.eval_rows
        if design.spec.phases.eval_seq_len != design.spec.data.seq_len:
            log.info(
                "evaluations and samples have rows of %d tokens", design.spec.phases.eval_seq_len
            )
        for said in feed.cautions:
            log.warning("%s", said)
        return feed

    @property
    def halves(self) -> tuple[str, ...]:
        """The parts that the texts are split into; with data.split=all there is nothing to train
        on, and nothing that yardsticks could be counted on."""
        return ("valid",) if self.design.spec.data.split == "all" else ("train", "valid")

    @property
    def fingerprints(self) -> dict[str, Any]:
        """What the order of the data depends on, beside seed and step; kept in checkpoints."""
        return {
            "tokenizer": self.tokenizer.fingerprint,
            "sources": [source.corpus.fingerprint for source in self.sources],
        }

    def cache(self, source: Source, half: str) -> TokenCache:
        """The tokens of "train" or "valid" of one source."""
        key = (source.corpus.fingerprint, half)
        if key not in self._caches:
            where = self.design.spec.data.cache_dir or None
            self._caches[key] = open_token_cache(source.corpus, half, self.tokenizer, where)
        return self._caches[key]

    def stream(self, half: str, seq_len: int) -> pipeline.Stream:
        """The rows of "train" or "valid" at a sequence length."""
        key = (half, seq_len)
        if key not in self._streams:
            examples = [self._examples(source, half, seq_len) for source in self.sources]
            rates = self.rates(examples) if half == self.halves[0] else self.train_rates
            budgets = self.design.task.budgets(seq_len)
            self._streams[key] = pipeline.Stream(
                members=[
                    pipeline.MemberRows.plan(
                        each,
                        lengths=source.objective.lengths,
                        budgets=budgets,
                        corrupt=source.objective.corrupt,
                        vocab=self.tokenizer,
                        rate=rate,
                        copies=source.objective.copies,
                    )
                    for each, source, rate in zip(examples, self.sources, rates, strict=True)
                ],
                fields=self.design.task.objective.fields,
                budgets=budgets,
                cross_documents=self.design.spec.data.cross_documents,
            )
        return self._streams[key]

    @cached_property
    def cautions(self) -> list[str]:
        """What the objectives say of the text that they are given."""
        stream = self.stream(self.halves[0], self.design.spec.phases.eval_seq_len)
        pairs = zip(self.sources, self.design.task.members, stream.members, strict=True)
        found = [
            (what, source.objective.data_warning(member.examples, self.tokenizer))
            for source, what, member in pairs
        ]
        return [f"{what}: {said}" for what, said in found if said]

    def rates(self, examples: Sequence[Any]) -> Sequence[float]:
        """Shares of rows of the members of a mixture, from the training examples of each."""
        data = self.design.spec.data
        return mixing.rates(
            data.mixing,
            given=[source.rate for source in self.sources],
            sizes=[len(each) for each in examples],
            cap=data.mixing_cap,
            temperature=data.mixing_temperature,
        )

    @property
    def train_rates(self) -> Sequence[float]:
        """`rates` at the length of evaluation, which has them whatever the held-out sizes."""
        stream = self.stream(self.halves[0], self.design.spec.phases.eval_seq_len)
        return [member.rate for member in stream.members]

    def _examples(self, source: Source, half: str, seq_len: int) -> Any:
        """The raw examples of one source, arranged as its objective wants them."""
        objective = source.objective
        options, name = objective.arrange(seq_len), objective.arrangement
        if name == "chunks":
            joined = self.design.spec.data.cross_documents and bool(
                options["begin"] or options["end"]
            )
            options |= self.ends(options)
            if joined:
                name = "joined"
                del options["overlap"]
                check_boundary(options)
        arrangement = registry.pick(ARRANGEMENTS, name, "arrangement")
        if objective.arrangement == "pairs":
            # Held-out pairs are the same for every seed.
            options |= {"seed": self.design.spec.seed if half == "train" else pipeline.EVAL_SEED}
            options |= {"sentence_ends": self.tokenizer.sentence_ends}
        return arrangement(self.cache(source, half), **options)

    def ends(self, options: Mapping[str, Any]) -> dict[str, int | None]:
        """Ids of what an arrangement puts before and behind a document, from their names."""
        named = {key: options.get(key) for key in ("begin", "end")}
        return {key: getattr(self.tokenizer, name) if name else None for key, name in named.items()}

    def batches(self, phase: Phase, step: int) -> Batches:
        """This process's rows of the batches of steps step, step + 1, ... of a phase; to be closed.

        Rows already used by earlier phases of the same sequence length are not read again: the
        place in the data follows from the step alone.
        """
        used = sum(
            (min(step, past.last) - past.first) * past.batch_size
            for past in self.design.spec.phases
            if past.seq_len == phase.seq_len and past.first < step
        )
        return pipeline.train_batches(
            self.stream("train", phase.seq_len),
            seed=self.design.spec.seed,
            batch_size=phase.batch_size,
            first_row=used,
            here=self.design.placement.rows.local_rows(phase.batch_size),
            workers=self.design.spec.data.workers,
        )

    # --- evaluation -------------------------------------------------------------------------

    @property
    def eval_batch_size(self) -> int:
        """A microbatch: what is known to fit."""
        return min(
            phase.batch_size // phase.accumulate for phase in self.design.spec.phases.trained
        )

    @cached_property
    def eval_rows(self) -> int:
        """Raises DataError where held-out text has nothing to predict."""
        stream, wanted = (
            self.stream("valid", self.design.spec.phases.eval_seq_len),
            self.design.spec.eval.tokens,
        )
        rows, found = pipeline.count_eval_rows(stream, wanted, self.tokenizer.unscored)
        if not found:
            raise DataError(
                "held-out text must have at least one text token to predict; "
                f"{', '.join(s.corpus.name for s in self.sources)} has none in {rows} rows. Give "
                "more text, or another data.split"
            )
        if found < wanted:
            log.info(
                "evaluation scores %d text tokens, not eval.tokens=%d: held-out text (in a "
                "mixture, the source that has least for its share) is at its end",
                found,
                wanted,
            )
        return rows

    def eval_batches(self, here: Iterable[int] | None = None) -> Batches:
        """The same rows at each call, in a fixed order and with fixed noise.

        here: the places of each batch that this process wants; all of them where it is None.
        """
        return pipeline.eval_batches(
            self.stream("valid", self.design.spec.phases.eval_seq_len),
            rows=self.eval_rows,
            batch_size=self.eval_batch_size,
            here=here,
        )

    @property
    def eval_counts(self) -> EvalCounts:
        """How many tokens and bytes evaluation scores."""
        return self._scores[0]

    @property
    def yardsticks(self) -> dict[str, float]:
        """Nats a predicted text token of the baselines, on exactly the tokens of evaluation."""
        return self._scores[1]

    @cached_property
    def _scores(self) -> tuple[EvalCounts, dict[str, float]]:
        """Both, from one pass over the rows."""
        objective, scored = self.design.task.objective, EvalCounts()
        ends = self.ends(objective.arrange(self.design.spec.phases.eval_seq_len))
        if "train" not in self.halves:
            for _ in scored.count(self.eval_batches(), self.tokenizer, ends.values()):
                pass  # counted, and compared with nothing
            return scored, {}
        with progress("counting tokens for the yardsticks"):
            counts = baselines.count_tokens(
                [
                    (self.cache(source, "train"), share)
                    for source, share in zip(self.sources, self.token_shares(), strict=True)
                ],
                vocab_size=self.tokenizer.size,
                begin=ends["begin"],
                end=ends["end"],
            )
            scores = baselines.score_baselines(
                objective.baselines,
                counts=counts,
                batches=scored.count(self.eval_batches(), self.tokenizer, ends.values()),
                special=self.tokenizer.unscored,
            )
        return scored, {f"yardstick/{name}": value for name, value in scores.items()}

    def token_shares(self) -> list[float]:
        """What each member of a mixture has of the predicted text tokens: its rate, which is of
        rows, times the tokens that its first rows hold on average."""
        stream = self.stream("train", self.design.spec.phases.eval_seq_len)
        if len(stream.members) == 1:
            return [1.0]
        shares = []
        for number, member in enumerate(stream.members):
            rows = np.arange(min(len(member.rows), ROWS_COUNTED))
            fields, _ = member.take(rows, pipeline.EVAL_SEED, number)
            flat = {name: fields[name].values for name in ("targets", "weights")}
            found = is_text(flat, self.tokenizer.unscored).sum()
            shares.append(member.rate * max(int(found), 1) / len(rows))
        return shares
