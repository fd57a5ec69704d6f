"""How the tokens of a continuation are chosen: drawn one by one, or by beam search."""

from pretrain_jax.errors import ConfigError
from pretrain_jax.inference.beam_search import BeamSearch
from pretrain_jax.inference.sampling import Sampling


def pick_strategy(
    *,
    temperature: float | None = None,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    beams: int = 1,
    length_penalty: float = 1.0,
) -> Sampling | BeamSearch:
    """How tokens are chosen; see `TrainedModel.generate`. Raises ConfigError."""
    if beams == 1:
        if length_penalty != 1.0:
            raise ConfigError(
                "length_penalty is for beam search; received length_penalty="
                f"{length_penalty} with beams=1. Set beams above 1, or leave it out"
            )
        return Sampling(
            temperature=1.0 if temperature is None else temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
        )
    if temperature or top_k or top_p < 1 or min_p:
        raise ConfigError(
            "beam search draws nothing at random, so it takes no temperature above 0, top_k, "
            f"top_p or min_p; received beams={beams} with one of them. Leave them out"
        )
    return BeamSearch(
        beams=beams, length_penalty=length_penalty, repetition_penalty=repetition_penalty
    )
