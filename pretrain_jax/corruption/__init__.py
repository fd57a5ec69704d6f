"""How texts are made worse: which of their tokens are noise, and what becomes of these.

All functions work on many texts at once, one behind the other in one array (ragged.py): T tokens of
E texts. `noise` draws a noise map, one int32 for each token: 0 = keep, k >= 1 = member of the k-th
noise group of its text. A group is what was drawn together (a token, a word, a span); groups are
contiguous and numbered from 1 in order of place. `masking` replaces noise in place (BERT), `render`
takes it out (T5). Nothing here mutates its arguments or draws from anything but what it is given.

    tokens           10 11 12 13 14 15
    noise             0  1  1  0  2  0
    mask_tokens      10  M  M 13  M 15     M the mask, or what was drawn instead of it
    with_sentinels   10  X    13  Y 15     X, Y the first two sentinels; the inputs
                         X 11 12  Y 14     and the targets
    drop             10       13    15
"""
