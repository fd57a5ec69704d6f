"""A trained model to use from Python: the same object for every family.

model = pretrain_jax.load("runs/gpt2_nano")
model.generate(["def main("], tokens=50, temperature=0.8, top_p=0.95)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from pretrain_jax.composition.build import Design
from pretrain_jax.errors import ConfigError
from pretrain_jax.inference import spellings
from pretrain_jax.inference.decoding import Decoder
from pretrain_jax.inference.generation import Continuation, Generator, Prompt
from pretrain_jax.inference.sampling import Sampling
from pretrain_jax.sharding import rules
from pretrain_jax.tokenizers import Tokenizer


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model and its tokenizer."""

    design: Design
    tokenizer: Tokenizer
    params: Any
    step: int
    """Updates that the model was trained for."""
    generator: Generator

    @classmethod
    def build(cls, design: Design, params: Any, tokenizer: Tokenizer, step: int) -> "TrainedModel":
        """The model with these parameters."""
        return cls(design, tokenizer, params, step, build_generator(design, params, tokenizer))

    @property
    def family(self) -> str:
        """What the messages call the model: "gpt with causal_lm"."""
        return f"{self.design.spec.model.name} with {self.design.spec.objective.name}"

    def generate(
        self,
        prompts: Sequence[str],
        tokens: int = 100,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        batch_size: int = 8,
        cut: bool = False,
        special: bool = True,
    ) -> list[Continuation]:
        """Continues texts; an encoder-decoder answers them.

        tokens: how many at most, for each prompt. temperature, top_k, top_p, min_p,
        repetition_penalty: see `sampling.Sampling`; temperature 0 takes the likeliest token each
        time. seed: the draws of prompt i depend on (seed, i) alone. batch_size: prompts that run
        together. cut: whether a prompt that is too long loses its beginning; otherwise it is an
        error. special: whether <mask>, <extra_id_0> and other spellings of special tokens are these
        tokens.

        Raises ConfigError for a model that does not generate, a number out of its range, or a
        prompt that is too long.
        """
        how = Sampling(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
        )
        rows = [self.prompt(text, tokens, cut=cut, special=special) for text in prompts]
        return self.generator.generate(rows, tokens, how, seed, batch_size) if rows else []

    def stream(
        self, prompt: str, tokens: int, sampling: Sampling, seed: int = 0, **how: bool
    ) -> Iterator[Continuation]:
        """One continuation as it grows; how: `cut` and `special` of `generate`."""
        return self.generator.stream(self.prompt(prompt, tokens, **how), tokens, sampling, seed)

    def prompt(self, text: str, tokens: int, *, cut: bool = False, special: bool = True) -> Prompt:
        """The fields of the row that the model reads to continue a text; see `generate`."""
        objective = self.design.task.objective
        if objective.prompt is None or not objective.generates:
            raise ConfigError(
                f"generating needs a decoder or an encoder-decoder; this model is {self.family}, "
                "an encoder. It fills masks: `fill` in Python"
            )
        ids = spellings.encode(text, self.tokenizer, special)
        row = objective.prompt(ids, self.tokenizer)
        if cut:
            row = self.generator.cut(row, tokens)
        self.generator.check(row)
        return row


def build_generator(design: Design, params: Any, tokenizer: Tokenizer) -> Generator:
    """The generator of a model on its mesh."""
    mesh = design.placement.mesh
    gather = jax.jit(lambda tree: tree, out_shardings=rules.replicated(mesh))
    return Generator(
        Decoder(design.placement.apply_cached, tokenizer.size),
        params,
        tokenizer,
        context=design.spec.model.get("max_length", 0),
        ways=rules.batch_ways(mesh),
        to_host=lambda tree: jax.device_get(gather(tree)),
    )
