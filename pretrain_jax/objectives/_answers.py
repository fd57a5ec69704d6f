"""Finding the answer to a question in the logits of its windows (objectives/extract_span.py)."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Search:
    """The search for answers.

    before     special tokens in front of the context, beside those of the question
    longest    maximum tokens of an answer
    threshold  of "no answer"; None = every question has an answer
    """

    before: int
    longest: int
    threshold: float | None

    def report(
        self, predictions: Mapping[str, Sequence[np.ndarray]], windows: Any
    ) -> list[dict[str, Any]]:
        """For each record its id, if it has one, and

            prediction       the answer, or "" for no answer
            probability      of the best answer in its window: that of its first token times that of
                             its last

        and where questions may have no answer

            answer           the best answer, also where the prediction is ""
            no_answer_score  the least sum of the logits at [CLS], minus that of the answer

        predictions: {"logits": of each window [tokens, 2]}. windows: data.windows.Windows.
        """
        logits, texts, ids = predictions["logits"], windows.cache.texts, windows.cache.ids
        reports = []
        for record, ((_, context), identity) in enumerate(zip(texts, ids, strict=True)):
            numbers = windows.windows(record)
            found = [
                (*self.best_span(logits[w], windows.length[w, 0], windows.characters(w), counts), w)
                for w, counts in zip(numbers, windows.counted(record), strict=True)
            ]
            score, begin, end, window = max(found, key=itemgetter(0))
            answer = context[begin : end_of_marks(context, end)]
            log_z = np.logaddexp.reduce(logits[window].astype(np.float64)).sum()
            one = {} if identity is None else {"id": identity}
            one |= {"prediction": answer, "probability": float(np.exp(score - log_z))}
            if self.threshold is not None:
                # [CLS] is the first token of a window.
                least = min(float(logits[w][0].sum()) for w in numbers)
                one |= {"answer": answer, "no_answer_score": least - score}
                one["prediction"] = "" if least - score > self.threshold else answer
            reports.append(one)
        return reports

    def best_span(
        self, logits: np.ndarray, question: int, characters: np.ndarray, counts: np.ndarray
    ) -> tuple[float, int, int]:
        """(sum of its two logits, first character, the one after its last) of the best span of a
        window; the sum is -inf if no span may begin there.

        logits [tokens, 2]; the question has so many tokens. For each token of the context,
        `characters` [n, 2] are its own, and it may be the first of a span if it `counts`, bool [n].
        A span begins and ends with a token that has text.
        """
        inside = logits[self.before + question :][: len(counts)].astype(np.float64)
        spelled = characters[:, 1] > characters[:, 0]
        start = np.where(spelled & counts, inside[:, 0], -np.inf)
        end = np.where(spelled, inside[:, 1], -np.inf)
        padded = np.append(end, np.full(self.longest - 1, -np.inf))
        sums = start[:, None] + np.lib.stride_tricks.sliding_window_view(padded, self.longest)
        first, more = divmod(int(sums.argmax()), self.longest)
        last = min(first + more, len(counts) - 1)  # where all sums are -inf
        return float(sums[first, more]), int(characters[first, 0]), int(characters[last, 1])


def end_of_marks(text: str, end: int) -> int:
    """The place after all marks that follow `end`: accents and variants, which belong to the
    character before, but of which BERT's tokens have nothing.

    >>> end_of_marks("cafe\\u0301 au lait", 4)
    5
    """
    while end < len(text) and unicodedata.category(text[end]).startswith("M"):
        end += 1
    return end
