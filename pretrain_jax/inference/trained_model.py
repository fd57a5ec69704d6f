"""A trained model to use from Python: the same object for every family.

    model = pretrain_jax.load("runs/gpt2_nano")
    model.generate(["def main("], tokens=50, temperature=0.8, top_p=0.95)[0].text
    model.score(["The cat sat."])[0].bits_per_byte

A family that cannot do something raises a ConfigError that says so.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from etils import epath

from pretrain_jax.chat_template import Message
from pretrain_jax.composition.build import Design
from pretrain_jax.errors import ConfigError
from pretrain_jax.inference import chat, features, filling, rewards, spellings
from pretrain_jax.inference import likelihood as ways
from pretrain_jax.inference.arguments import (
    check_counts,
    check_prompts,
    check_stops,
    check_texts,
)
from pretrain_jax.inference.filling import Filling
from pretrain_jax.inference.generation import Continuation, Generator, Prompt
from pretrain_jax.inference.sampling import Sampling
from pretrain_jax.inference.scoring import Score
from pretrain_jax.inference.strategy import pick_strategy
from pretrain_jax.objectives import Objective
from pretrain_jax.tokenizers import Tokenizer

BATCH = 8
"""Texts that run together, by default."""
Conversation = Sequence[Message]


@dataclass(frozen=True, eq=False, repr=False)
class TrainedModel:
    """A model and its tokenizer."""

    design: Design
    tokenizer: Tokenizer
    step: int
    """Updates that the model was trained for."""
    generator: Generator
    source: epath.Path | None = None
    """The workdir that it comes from, if it does."""

    def __repr__(self) -> str:
        return f"<TrainedModel: {self.family}, step {self.step}>"

    @property
    def objective(self) -> Objective:
        return self.design.task.objective

    @property
    def family(self) -> str:
        """The model as messages name it: "gpt trained with causal_lm"."""
        return f"{self.design.spec.model.name} trained with {self.design.spec.objective.name}"

    def with_adapter(self, path: str | PathLike[str], step: int | None = None) -> "TrainedModel":
        """This model with the adapter of a run, without a copy of its parameters.

        path, step: see `pretrain_jax.load`. Raises ConfigError if the adapter was trained on
        other parameters, and for a run without an adapter.
        """
        from pretrain_jax.inference import adapted

        return adapted.adapt(self, path, step)

    def generate(
        self,
        prompts: Sequence[str | Conversation],
        tokens: int = 100,
        *,
        temperature: float | None = None,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        beams: int = 1,
        length_penalty: float = 1.0,
        stop: Sequence[str] = (),
        seed: int = 0,
        batch_size: int = BATCH,
        cut: bool = False,
        special: bool = True,
    ) -> list[Continuation]:
        """Continues texts; an encoder-decoder answers them. A model trained with objective instruct
        also answers conversations: [{"role": "user", "content": "..."}].

        tokens: how many at most, for each prompt. temperature: 0 takes the likeliest token each
        time; None means 1, or 0 with beams. top_k, top_p, min_p, repetition_penalty: see
        `sampling.Sampling`. beams: above 1, beam search (`beam_search.BeamSearch`). stop: texts
        before which a continuation ends. seed: the draws of prompt i depend on (seed, i) alone.
        batch_size: prompts that run together. cut: whether a prompt that is too long loses its
        beginning; otherwise it is an error. special: whether <mask>, <extra_id_0> and other
        spellings of special tokens are these tokens.

        Raises ConfigError for a model that does not generate, a number out of its range, or a
        prompt that is too long.
        """
        how = pick_strategy(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            beams=beams,
            length_penalty=length_penalty,
        )
        check_prompts(prompts, "prompts")
        check_stops(stop)
        check_counts(tokens=tokens, seed=seed, batch_size=batch_size)
        rows = [self.prompt(text, tokens, cut=cut, special=special) for text in prompts]
        if isinstance(how, Sampling):
            return self.generator.generate(rows, tokens, how, seed, batch_size, stop)
        return [best[0] for best in self.generator.search(rows, tokens, how, batch_size, stop)]

    def stream(
        self,
        prompt: str | Conversation,
        tokens: int = 100,
        *,
        stop: Sequence[str] = (),
        seed: int = 0,
        sample: int = 0,
        cut: bool = False,
        special: bool = True,
        **strategy: Any,
    ) -> Iterator[Continuation]:
        """The continuation of one text, after every 8 tokens and at its end; with beam search, at
        its end only.

        Each result has the text so far; its `reason` is "" until the end. sample: the draws are
        those of prompt number `sample` of `generate`. strategy: temperature, top_k, top_p, min_p,
        repetition_penalty, beams and length_penalty. See `generate` for all options.
        """
        check_prompts([prompt], "prompt")
        check_stops(stop)
        check_counts(tokens=tokens, seed=seed, sample=sample)
        how = pick_strategy(**strategy)
        row = self.prompt(prompt, tokens, cut=cut, special=special)
        if isinstance(how, Sampling):
            return self.generator.stream(row, tokens, how, seed, sample, stop)
        return iter(self.generator.search([row], tokens, how, stop=stop)[0][:1])

    @property
    def likelihoods(self) -> tuple[str, ...]:
        """The names of the ways in which the model scores texts, its default first; () for none."""
        count = self.objective.sentinels(self.design.spec.data.seq_len)
        return ways.names(self.objective, count) if self.objective.predicts_tokens else ()

    def score(
        self,
        texts: Sequence[str],
        given: Sequence[str] | None = None,
        *,
        likelihood: str = "",
        batch_size: int = BATCH,
        special: bool = True,
    ) -> list[Score]:
        """The log-likelihood of each text; for an encoder the pseudo-likelihood.

        given: a context before each text, which is not scored; an encoder-decoder's encoder reads
        it. A context that is too long loses its beginning. likelihood: one of `likelihoods`, which
        inference/likelihood.py explains; "" takes the first, or "conditional" for an
        encoder-decoder with `given`.

        Raises ConfigError for a text that is longer than the model's positions.
        """
        check_texts(texts, "texts")
        check_texts(given or (), "given")
        check_counts(batch_size=batch_size)
        if given is not None and len(given) != len(texts):
            raise ConfigError(f"given needs one text per text; received {len(given)}, {len(texts)}")
        self.check_predicts_tokens()
        name = likelihood or ways.default(self.likelihoods, given is not None)
        ways.check(name, self.likelihoods, given is not None, self.family)
        pairs = list(zip(given or [""] * len(texts), texts, strict=True))
        how = {"batch_size": batch_size, "special": special}
        return ways.score_pairs(self.generator, self.objective, name, pairs, **how)

    def fill(self, text: str, top: int = 5, *, tokens: int = 100) -> list[list[Filling]]:
        """Proposals for each blank of a text, best first: `top` for each.

        An encoder fills each <mask> with one token, independently of the others. An encoder-decoder
        fills <extra_id_0>, <extra_id_1>, ... with spans, by beam search. If it has no sentinels,
        its blanks may be spelled <mask> too. Proposal i of every blank belongs to one answer of up
        to `tokens` tokens.

        Raises ConfigError for a text without blanks, or a model that fills none.
        """
        check_texts([text], "text")
        check_counts(top=top, tokens=tokens)
        return filling.fill(self, text, top, tokens)

    def embed(
        self,
        texts: Sequence[str],
        *,
        pooling: str = "mean",
        layer: int = -1,
        batch_size: int = BATCH,
        special: bool = True,
    ) -> np.ndarray:
        """float32 [N, D]: one vector per text.

        pooling: "mean" over all tokens that the model reads, or its "first" or "last". layer: 0, 1,
        ... is the output of a block, -1 that of the stack after its final norm. The stack is the
        encoder of an encoder-decoder, and ELECTRA's discriminator.
        """
        check_texts(texts, "texts")
        check_counts(batch_size=batch_size)
        rows = [self.read(text, special) for text in texts]
        self.check_lengths(len(row["tokens"]) for row in rows)
        how = {"layer": layer, "pooling": pooling}
        return features.embed(self.generator, rows, self.design.spec.model.width, batch_size, **how)

    def rewards(
        self, prompts: Sequence[str], answers: Sequence[str], *, batch_size: int = BATCH
    ) -> np.ndarray:
        """float32 [N]: the reward of each answer to its prompt; greater is better.

        Raises ConfigError for a model that was not trained with objective reward, and for a prompt
        with an answer that is longer than the model's positions.
        """
        return rewards.score_answers(self, prompts, answers, batch_size)

    def logits(self, ids: Any, memory: Any = None, types: Any = None) -> np.ndarray:
        """float32 [B, L, V] at each position of rows of ids, int [B, L].

        memory: int [B, M], what an encoder-decoder's encoder reads; `ids` are then the decoder's
        input. types: int [B, L], the segment types of BERT. ELECTRA: those of its generator.
        """
        return features.logits(self, ids, memory, types)

    def read(self, text: str, special: bool) -> Prompt:
        """The fields of the row that the model reads of a text."""
        return self.read_ids(spellings.encode(text, self.tokenizer, special))

    def read_ids(self, ids: np.ndarray) -> Prompt:
        """`read` of a text's ids."""
        self.check_predicts_tokens()
        if self.objective.prompt is None:
            raise ConfigError(
                f"objective {self.design.spec.objective.name} must define `prompt`, the row that a "
                "trained model reads; see objectives/_base.py"
            )
        return self.objective.prompt(ids, self.tokenizer)

    def prompt(
        self, text: str | Conversation, tokens: int, *, cut: bool = False, special: bool = True
    ) -> Prompt:
        """The fields of the row that the model reads to continue a text; see `generate`."""
        if not self.objective.generates and self.objective.predicts_tokens:
            raise ConfigError(
                f"generating needs a decoder or an encoder-decoder; this model is {self.family}, "
                "which fills masks: `fill` in Python"
            )
        if isinstance(text, str):
            row = self.read(text, special)
        else:
            row = self.read_ids(chat.encode(text, self.objective, self.tokenizer))
        if cut:
            row = self.generator.cut(row, tokens)
        self.generator.check(row)
        return row

    def check_predicts_tokens(self) -> None:
        """Raises ConfigError for a model with labels."""
        if not self.objective.predicts_tokens:
            raise ConfigError(
                f"this model predicts labels, not tokens: {self.family}. Predict those of a file "
                "with python -m pretrain_jax.predict"
            )

    def check_lengths(self, lengths: Iterable[int]) -> None:
        """Raises ConfigError for a row that is longer than the model's positions."""
        longest, context = max(lengths, default=0), self.generator.context
        if context and longest > context:
            raise ConfigError(
                f"a text may have at most {context} tokens, special ones included, as many as this "
                f"model has positions; received {longest}. Shorten it or divide it"
            )
