"""The host side of the pipeline: documents -> token cache -> examples -> rows -> packed batches.

    sources/           where text comes from: files, data sets, the standard library
    annotations.py     annotated parts of a text: salient spans, targets
    corpus.py          the documents of a source and their training and validation split
    cache.py           token ids on disk, memory-mapped
    arrangements.py    how documents become raw examples:
    examples.py        chunks, or pairs of inputs and targets
    sentence_pairs.py  pairs of texts, the second one true or drawn
    records.py         texts with labels
    mixing.py          sampling rates of the members of a mixture
    row_plan.py        which examples share a row, computed once from their lengths
    permutation.py     a random-access permutation of the rows for each epoch
    pack.py            concatenates the examples of a row into arrays of fixed length
    pipeline.py        batches as a pure function of (seed, step)
    baselines.py       unigram and bigram baselines for a loss

Nothing here imports an objective: `corrupt` is an argument.
"""
