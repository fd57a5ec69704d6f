"""How documents become raw examples: the values of `Objective.arrangement`, and "joined", which
"chunks" are with data.cross_documents."""

from pretrain_jax.data.conversations import Conversations
from pretrain_jax.data.examples import CorpusChunks, DocumentChunks, TextPairs
from pretrain_jax.data.preferences import Preferences
from pretrain_jax.data.records import Choices, Records
from pretrain_jax.data.sentence_pairs import SentencePairs
from pretrain_jax.data.windows import Windows
from pretrain_jax.data.words import Words

ARRANGEMENTS = {
    "chunks": DocumentChunks,
    "joined": CorpusChunks,
    "pairs": SentencePairs,
    "texts": TextPairs,
    "records": Records,
    "choices": Choices,
    "preferences": Preferences,
    "conversations": Conversations,
    "words": Words,
    "windows": Windows,
}
