"""Corruption of texts: which tokens are noise, and what replaces them.

All functions work on many texts at once, concatenated into one array (ragged.py): T tokens of E
texts. `noise` draws a noise map with one int32 per token: 0 = keep, k >= 1 = in the k-th noise
group of its text. A group is what was drawn together (a token, a word or a span). Groups are
contiguous and numbered from 1 in order of position. `masking` replaces noise in place (BERT),
`render` removes it (T5). No function mutates its arguments, and all random numbers are arguments.

    tokens           10 11 12 13 14 15
    noise             0  1  1  0  2  0
    mask_tokens      10  M  M 13  M 15     M: the mask, or what was drawn instead of it
    with_sentinels   10  X    13  Y 15     the inputs; X, Y: the first two sentinels
                         X 11 12  Y 14     the targets
    drop_noise       10       13    15
"""
