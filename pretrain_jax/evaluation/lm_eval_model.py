"""Models of pretrain_jax in lm-evaluation-harness: `--model pretrain_jax --model_args workdir=RUN`.

The harness loads no plug-ins (0.4.13), so `python -m pretrain_jax.evaluate --lm_eval ...` registers
the class and calls the harness's command line with the rest of its own. No torch is needed.

A decoder reads exactly the tokens that the harness's own Hugging Face model would read: no begin
token before a context, unless its exported tokenizer adds one (LLaMA). Encoders and
encoder-decoders, which the harness cannot score, are scored by their own likelihoods
(inference/likelihood.py).
"""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from pretrain_jax.errors import ConfigError
from pretrain_jax.evaluation.task_model import TaskModel
from pretrain_jax.huggingface import _load
from pretrain_jax.huggingface._tokenizer_files import TEMPLATES
from pretrain_jax.inference import likelihood as ways
from pretrain_jax.inference.sampling import Sampling
from pretrain_jax.inference.scoring import Score, predict_once, score_rows

NAME = "pretrain_jax"
MOST_TOKENS = 256
"""Of a generated answer, if the task names no number; the harness's default."""
GREEDY = Sampling(temperature=0.0)


class HarnessModel(TemplateLM):
    """A run, or a folder of a Hugging Face model, as the harness asks it.

    workdir: the folder. step: a checkpoint. likelihood: as --likelihood. batch_size: rows that run
    together. dtype: as in `pretrain_jax.load`. add_bos_token: whether a begin token stands before a
    context; None = as the exported tokenizer has it. Other arguments of the harness (device,
    max_batch_size) have no effect.
    """

    def __init__(
        self,
        workdir: str = "",
        step: int | None = None,
        likelihood: str = "",
        batch_size: int | str = 8,
        dtype: str = "auto",
        add_bos_token: bool | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
    ):
        super().__init__()
        del max_batch_size, device
        if not workdir:
            raise ConfigError("--model_args must name a run: --model_args workdir=runs/mine")
        if not str(batch_size).isdigit():
            raise ConfigError(f"--batch_size must be a number of rows; received {batch_size}")
        model = _load.load(workdir, step, dtype)
        self.asked = TaskModel.of(model, likelihood, int(batch_size))
        name = model.design.spec.model.name
        self.add_bos = TEMPLATES.get(name) is not None if add_bos_token is None else add_bos_token
        self.is_causal = self.asked.likelihood == "causal"

    @property
    def eot_token_id(self) -> int:
        tokenizer = self.asked.model.tokenizer
        found = tokenizer.bos if tokenizer.bos is not None else tokenizer.eos
        if found is None:
            raise ConfigError(
                "lm-evaluation-harness needs a token that begins or ends texts; the tokenizer of "
                "this run has none"
            )
        return found

    @property
    def tokenizer_name(self) -> str:
        return self.asked.model.tokenizer.fingerprint

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        ids = self.asked.model.tokenizer.encode(string).tolist()
        begins = self.add_bos and add_special_tokens is not False
        return [self.eot_token_id, *ids] if begins else ids

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        if self.is_causal:
            return super().loglikelihood(list(requests), disable_tqdm)
        likelihoods = self.asked.likelihoods([request.args for request in requests])
        return [(-x.nats, bool(x.is_likeliest)) for x in likelihoods]

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """Of tokens after tokens, both as the harness encoded them."""
        pairs = [
            (np.array(context, np.int32), np.array(text, np.int32)) for _, context, text in requests
        ]
        return [(-score.nats, score.is_likeliest) for score in self.score(pairs)]

    def score(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Score]:
        """The scores of tokens after tokens, with nothing before them."""
        generator = self.asked.model.generator
        reader = ways.Reader(read_as_is, generator.tokenizer, generator.context)
        rows = [reader.rows("causal", *pair) for pair in pairs]
        run = partial(predict_once, batch_size=self.asked.batch_size)
        return score_rows(generator, [text for _, text in pairs], rows, run)

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """In windows that do not overlap, as the harness does; an encoder, and an encoder-decoder
        in those of `TaskModel`."""
        texts = [request.args[0] for request in requests]
        if not self.is_causal:
            return [-x.nats for x in self.asked.text_likelihoods(texts)]
        totals = []
        for text in texts:
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.eot_token_id,
                max_seq_len=self.asked.window + 1,
                context_len=1,
            )
            parts = [(None, *make_disjoint_window(window)) for window in windows]
            totals.append(sum(nats for nats, _ in self._loglikelihood_tokens(parts)))
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Greedy answers. Raises ConfigError for a task that draws them."""
        model, made = self.asked.model, []
        for request in requests:
            prompt, options = request.args
            if options.get("do_sample") or options.get("temperature", 0.0):
                raise ConfigError("the tasks of the harness are asked greedily; this one samples")
            until = options.get("until") or []
            stop = [until] if isinstance(until, str) else list(until)
            tokens = int(options.get("max_gen_toks", MOST_TOKENS))
            if not self.is_causal:
                made += self.asked.answers([prompt], tokens, stop)
                continue
            row = {"tokens": np.array(self.tok_encode(prompt) or [self.eot_token_id], np.int32)}
            row = dict(model.generator.cut(row, tokens))
            (answer,) = model.generator.generate([row], tokens, GREEDY, stop=stop)
            made.append(answer.text)
        return made


register_model(NAME)(HarnessModel)


def read_as_is(ids: np.ndarray, vocab: Any) -> dict[str, np.ndarray]:
    """The row of a decoder that reads these ids alone (Objective.prompt)."""
    return {"tokens": np.asarray(ids, np.int32)}


def run(words: Sequence[str]) -> int:
    """Calls the command line of the harness with these words; returns the exit code."""
    from lm_eval.__main__ import cli_evaluate

    is_run = not words or words[0] not in ("ls", "validate")
    options = {word.partition("=")[0] for word in words}
    names_model = not options.isdisjoint(("--model", "-M", "--config"))
    model = ["--model", NAME] if is_run and not names_model else []
    sys.argv = ["lm-eval", *words, *model]
    try:
        cli_evaluate()
    except ValueError as error:
        if "Tasks not found" not in str(error):
            raise
        raise ConfigError(f"lm-evaluation-harness needs known tasks. {error}") from error
    except SystemExit as end:
        return 64 if end.code == 2 else int(end.code or 0)  # 2: argparse refused the words
    return 0
