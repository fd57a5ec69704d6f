"""The host side of a run: corpora, tokenizer, token caches, and streams of rows."""

import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from etils import epath

from pretrain_jax import registry, tokenizers
from pretrain_jax.composition import eval_baselines
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.check_special_tokens import check_boundary
from pretrain_jax.composition.corpora import MemberCorpus, load_or_train_tokenizer, open_corpora
from pretrain_jax.composition.phases import Phase
from pretrain_jax.data import mixing, pipeline
from pretrain_jax.data.arrangements import ARRANGEMENTS
from pretrain_jax.data.cache import TokenCache, open_token_cache
from pretrain_jax.data.eval_counts import EvalCounts
from pretrain_jax.data.pipeline import ExamplesWithReference as With
from pretrain_jax.errors import BadLabel, DataError
from pretrain_jax.progress import progress

log = logging.getLogger(__name__)
Batches = Generator[pipeline.Batch, None, None]


@dataclass(frozen=True)
class Feed:
    """Rows for training and evaluation. Opening it tokenizes text that is not in the cache."""

    design: Design
    sources: tuple[MemberCorpus, ...]
    tokenizer: tokenizers.Tokenizer
    _caches: dict[Any, TokenCache] = field(default_factory=dict)
    _streams: dict[Any, pipeline.Stream] = field(default_factory=dict)

    @classmethod
    def open(
        cls, design: Design, workdir: epath.Path, stored: Mapping[str, Any] | None = None
    ) -> "Feed":
        """Opens the corpora, loads or trains the tokenizer, and fills the token caches.

        stored: the fingerprints of the checkpoint to resume from. Then the tokenizer comes from the
        workdir, and other data raises WorkdirMismatch.
        """
        corpora = open_corpora(design, stored)
        tokenizer = load_or_train_tokenizer(design, corpora, workdir, stored)
        return cls.from_corpora(design, corpora, tokenizer)

    @classmethod
    def from_corpora(
        cls, design: Design, corpora: tuple[MemberCorpus, ...], tokenizer: tokenizers.Tokenizer
    ) -> "Feed":
        """Fills the token caches and plans all rows, so errors in the data show before compiling.
        Raises DataError."""
        feed = cls(design, corpora, tokenizer)
        for split in feed.splits:
            for corpus in corpora:
                feed.cache(corpus, split)
        with progress("planning rows"):
            if "train" in feed.splits:
                for seq_len in {phase.seq_len for phase in design.spec.phases}:
                    feed.stream("train", seq_len)
            feed.stream("valid", design.spec.phases.eval_seq_len)
            _ = feed.eval_rows
        eval_seq_len = design.spec.phases.eval_seq_len
        if eval_seq_len != design.spec.data.seq_len:
            log.info("evaluations and samples have rows of %d tokens", eval_seq_len)
        for warning in feed.data_warnings:
            log.warning("%s", warning)
        return feed

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits. With data.split=all there is no training split."""
        return ("valid",) if self.design.spec.data.split == "all" else ("train", "valid")

    @property
    def fingerprints(self) -> dict[str, Any]:
        """Everything but seed and step that determines the order of the data."""
        return {
            "tokenizer": self.tokenizer.fingerprint,
            "sources": [source.corpus.fingerprint for source in self.sources],
        }

    def cache(self, source: MemberCorpus, split: str) -> TokenCache:
        """The tokens of one corpus in the split "train" or "valid"."""
        key = (source.corpus.fingerprint, split)
        if key not in self._caches:
            folder = self.design.spec.data.cache_dir or None
            self._caches[key] = open_token_cache(source.corpus, split, self.tokenizer, folder)
        return self._caches[key]

    def stream(self, split: str, seq_len: int) -> pipeline.Stream:
        """The rows of the split "train" or "valid" at a sequence length."""
        key = (split, seq_len)
        if key not in self._streams:
            examples = [self._examples(source, split, seq_len) for source in self.sources]
            is_first = split == self.splits[0]
            rates = self.mixing_rates(examples) if is_first else self.train_rates
            budgets = self.design.task.budgets(seq_len)
            self._streams[key] = pipeline.Stream(
                members=[
                    pipeline.MemberRows.plan(
                        member_examples,
                        lengths=source.objective.lengths,
                        budgets=budgets,
                        corrupt=source.objective.corrupt,
                        vocab=self.tokenizer,
                        rate=rate,
                        copies=source.objective.copies,
                        sequences=source.objective.sequences,
                    )
                    for member_examples, source, rate in zip(
                        examples, self.sources, rates, strict=True
                    )
                ],
                fields=self.design.task.objective.fields,
                budgets=budgets,
                cross_documents=self.design.spec.data.cross_documents,
            )
        return self._streams[key]

    @property
    def row_lengths(self) -> list[tuple[str, int]]:
        """(split, sequence length) of the rows of training and evaluation."""
        eval_seq_len = self.design.spec.phases.eval_seq_len
        lengths = sorted({phase.seq_len for phase in self.design.spec.phases})
        train = [("train", length) for length in lengths if "train" in self.splits]
        return [*train, ("valid", eval_seq_len)]

    def add_reference(self, split: str, seq_len: int, reference: np.ndarray) -> None:
        """Gives the raw examples of a stream their log-probabilities under the reference model."""
        stream = self.stream(split, seq_len)
        members = [
            replace(member, examples=cast(With, member.examples).with_reference(reference))
            for member in stream.members
        ]
        self._streams[split, seq_len] = replace(stream, members=members)

    @cached_property
    def data_warnings(self) -> list[str]:
        """Warnings of the objectives about text that does not suit them."""
        stream = self.stream(self.splits[0], self.design.spec.phases.eval_seq_len)
        triples = zip(self.sources, self.design.task.members, stream.members, strict=True)
        warnings = [
            (member, source.objective.data_warning(rows.examples, self.tokenizer))
            for source, member, rows in triples
        ]
        return [f"{member}: {warning}" for member, warning in warnings if warning]

    def mixing_rates(self, examples: Sequence[Any]) -> Sequence[float]:
        """The share of rows of each member of the mixture, from its training examples."""
        data = self.design.spec.data
        return mixing.rates(
            data.mixing,
            given=[source.rate for source in self.sources],
            sizes=[len(member_examples) for member_examples in examples],
            cap=data.mixing_cap,
            temperature=data.mixing_temperature,
        )

    @property
    def train_rates(self) -> Sequence[float]:
        """`mixing_rates` at the row length of evaluation, which uses them too."""
        stream = self.stream(self.splits[0], self.design.spec.phases.eval_seq_len)
        return [member.rate for member in stream.members]

    def _examples(self, source: MemberCorpus, split: str, seq_len: int) -> Any:
        """The examples of one corpus before corruption, arranged as its objective needs them."""
        objective = source.objective
        options, name = objective.arrange(seq_len), objective.arrangement
        if name == "chunks":
            crosses_documents = self.design.spec.data.cross_documents and bool(
                options["begin"] or options["end"]
            )
            options |= self.boundary_ids(options)
            if crosses_documents:
                name = "joined"
                del options["overlap"]
                check_boundary(options)
        arrangement = registry.pick(ARRANGEMENTS, name, "arrangement")
        if objective.arrangement == "pairs":
            # Held-out pairs are the same for every seed.
            options |= {"seed": self.design.spec.seed if split == "train" else pipeline.EVAL_SEED}
            options |= {"sentence_ends": self.tokenizer.sentence_ends}
        try:
            return arrangement(self.cache(source, split), **options)
        except BadLabel as error:
            raise error.at(source.corpus.name_of(split, error.record)) from None

    def boundary_ids(self, options: Mapping[str, Any]) -> dict[str, int | None]:
        """The ids that an arrangement puts before and after a document, from their names."""
        names = {key: options.get(key) for key in ("begin", "end")}
        return {key: getattr(self.tokenizer, name) if name else None for key, name in names.items()}

    def batches(self, phase: Phase, step: int) -> Batches:
        """This process's rows of the batches of steps step, step + 1, ... of a phase.

        Skips rows that earlier phases of the same sequence length used: the position in the data
        depends on the step alone. The caller closes the generator.
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

    @property
    def eval_batch_size(self) -> int:
        """Rows per evaluation batch: the smallest microbatch of training, which fits in memory."""
        return min(
            phase.batch_size // phase.accumulate for phase in self.design.spec.phases.trained
        )

    @cached_property
    def eval_rows(self) -> int:
        """Rows per evaluation: all of them for an objective with labels. Raises DataError if the
        held-out text has no token to predict."""
        stream = self.stream("valid", self.design.spec.phases.eval_seq_len)
        if self.design.task.objective.example_task is not None:
            return len(stream)
        requested = self.design.spec.eval.tokens
        rows, tokens = pipeline.count_eval_rows(stream, requested, self.tokenizer.unscored)
        if not tokens:
            raise DataError(
                "held-out text must have at least one text token to predict; "
                f"{', '.join(s.corpus.name for s in self.sources)} has none in {rows} rows. Use "
                "more text, or another data.split"
            )
        if tokens < requested:
            several = "the source with the least held-out text for its rate has no more"
            reason = several if len(self.sources) > 1 else "all held-out text"
            message = "evaluation scores %d text tokens (eval.tokens=%d): %s"
            log.info(message, tokens, requested, reason)
        return rows

    def eval_batches(self, here: Iterable[int] | None = None) -> Batches:
        """The same rows at each call, in a fixed order and with fixed noise.

        here: indices of the rows of each batch that this process needs; None means all.
        """
        return pipeline.eval_batches(
            self.stream("valid", self.design.spec.phases.eval_seq_len),
            rows=self.eval_rows,
            batch_size=self.eval_batch_size,
            here=here,
        )

    @property
    def eval_counts(self) -> EvalCounts:
        """Counts of the tokens and bytes that evaluation scores."""
        return self._scores[0]

    @property
    def baselines(self) -> dict[str, float]:
        """Nats per predicted text token of each baseline, on exactly the tokens of evaluation.

        Keys are names of metrics, such as "yardstick/unigram".
        """
        return self._scores[1]

    @cached_property
    def _scores(self) -> tuple[EvalCounts, dict[str, float]]:
        return eval_baselines.score(self)
