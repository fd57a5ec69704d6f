"""Masked language modeling: some tokens of a text are hidden and predicted from all the others.

BERT (Devlin et al. 2018, section 3.1 and appendix A.2; google-research/bert
create_pretraining_data.py) and RoBERTa. An example is [CLS] text [SEP]. Of its n tokens, specials
included as in the released code, max(1, round(rate n)) are predicted: 77 of 512. In place of a
predicted token the model reads [MASK] (80 %), a random token (10 %) or the token itself (10 %).
Random tokens are drawn from the ids of text; BERT draws them from all ids, special ones included.

The text "a b c d e" with c predicted, [CLS] = 5, [SEP] = 6, [MASK] = 4, a = 10 .. e = 14:

    tokens      5 10 11  4 13 14  6
    predict_at  3
    targets     12
    weights     1
"""

from functools import partial

from pretrain_jax.objectives import Objective, _encoder


def build(
    *,
    rate: float = 0.15,
    noise: str = "tokens",
    replaced: float = 0.8,
    random: float = 0.1,
    copies: int = 0,
) -> Objective:
    """The objective of RoBERTa, and of BERT without next sentences.

    rate      share of the tokens that is predicted
    noise     unit of masking: "tokens"; "words" (whole words, as many as fit); or "spans" (as in
              SpanBERT, each replaced as a whole). In text without spaces, pieces of about 6 bytes
              count as words (corruption/words.py).
    replaced  share of the predicted tokens that the model reads as [MASK]
    random    share of the predicted tokens that the model reads as a random token
    copies    0: new noise in every epoch. 10: BERT's static masking, where an epoch repeats the
              noise of the tenth epoch before it.
    """
    how = _encoder.build_masking(rate, noise, replaced, random, copies)
    return Objective(
        **_encoder.single_text(how),
        fields=_encoder.FIELDS,
        corrupt=partial(_encoder.corrupt, how=how),
        pll_examples=_encoder.pll_examples,
        prompt=_encoder.prompt,
    )
