"""The host side of a batch: documents -> token cache -> examples -> planned rows -> packed batches.

    marks.py      marked parts of a text: salient spans, targets
    corpus.py     which documents there are, and which of them are held out
    cache.py      their token ids, on disk, memory-mapped
    arrange.py    documents cut into raw examples: chunks, or inputs and targets
    pairs.py      documents cut into pairs, the second real or drawn
    mixing.py     rates of a mixture's members
    plan.py       which examples share a row, decided once from lengths alone
    order.py      a random-access permutation of the rows for each epoch
    pack.py       the examples of a row joined into arrays of fixed length
    pipeline.py   all of it as batches: a pure function of (seed, step)
    yardsticks.py baselines that make a loss mean something

Nothing here knows an objective: `corrupt` is handed in as a value.
"""
