"""Random text in languages with and without spaces between words, made of a few dozen words."""

import random

WORDS = {
    "English": "the river old mill boat slowly evening green home we walk look stone bridge "
    "children water under remember yesterday morning mountains a of and in",
    "Thai": "เรา เดิน แม่น้ำ สะพาน เก่า เรือ เล็ก ช้า เย็น บ้าน เขียว มอง เด็ก "
    "น้ำ ใต้ จำ เมื่อวาน เช้า ภูเขา และ ใน ที่",
    "Chinese": "我们 沿着 河 散步 老 桥 小 船 慢慢 晚上 回家 绿 "
    "看 孩子 水 下 记得 昨天 早上 山 和 在 的",
    "Japanese": "私たち は 川 を 歩く 古い 橋 小さな 舟 ゆっくり 夕方 家 "
    "緑 見る 子ども 水 下 覚えて 昨日 朝 山 と の",
}
BETWEEN = {
    "English": (" ", ". "),
    "Thai": ("", " "),
    "Chinese": ("", "。"),
    "Japanese": ("", "。"),
}
"""What stands between words, and behind a sentence."""


def text(language: str, words: int, seed: int = 0) -> str:
    """So many words in sentences of 5 to 40; in Thai a space ends a sentence, and nothing else."""
    draw = random.Random(seed)
    between, end = BETWEEN[language]
    known = WORDS[language].split()
    sentences = []
    while words > 0:
        size = min(draw.randint(5, 40), words)
        sentences.append(between.join(draw.choices(known, k=size)) + end)
        words -= size
    return "".join(sentences)
