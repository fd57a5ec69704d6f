"""Architectures: `model.name` is the name of a module in this folder, without a leading "_".

A module lists the layers of one architecture and the source of each number; `_base.Architecture`
says what it must define.

Keys that mean the same in every architecture, described here for the reference of config keys; a
builder's own docstring comes first:

vocab_size: maximum number of token ids of the tokenizer; the size of a vocabulary that the run
    trains
layers: number of blocks in the stack, or in each stack if there are two
width: size of a hidden state
heads: attention heads
kv_heads: heads of keys and values, each shared by heads / kv_heads query heads; 0 = heads
head_width: size of one head's queries, keys and values
feed_forward: width of the feed-forward layer
max_length: rows of the position table: the longest sequence that the model reads
dropout: share of activations that training sets to 0
types: number of segment types, such as BERT's sentence A and sentence B; 0 = no table of types
init_std: standard deviation of the normal distribution that weights start from
position_std: standard deviation of the normal distribution that the position table starts from
bias: whether linear layers and norms have biases
norm_epsilon: constant that norms add to the variance
rope_base: base of the wavelengths of rotary positions
shared: whether encoder and decoder share their parameters, except cross-attention and the tables of
    relative positions
embedding_width: width of the embedding tables that generator and discriminator share; 0 = width
generator_fraction: width of the generator divided by the width of the discriminator
"""
