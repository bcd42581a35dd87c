"""A small word-level tokenizer for compact policies, in the Hugging Face ``tokenizer.json`` format.

Whole words of the benchmark's instructions are one token each (language decides the task, so words should not be
puzzles); any other word falls back to its characters, so nothing is ever unknown that is written in ASCII. Ids
follow the published layout: ``<unk>`` 0, ``<s>`` 1, ``</s>`` 2, text pieces, then the action tokens as the last
ids of the vocabulary, then padding.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from vlarl.errors import CheckpointError

TOKENIZER_FILE = "tokenizer.json"

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PUNCTUATION = ".,?!:;'\"-_()/&+"

# Every word of LIBERO's and LIBERO-PRO's instructions, then words a robot's user is likely to say.
LIBERO_WORDS = """
akita alphabet and at back basket bbq beside between black book both bottle bottom bowl box butter cabinet caddy
center cheese chocolate close compartment cookie cookies cream cup door drawer dressing from front frying grab in
inside into it juice ketchup layer left lift microwave middle milk moka move mug next not of off on open orange out
pan pick place plate pot pots pudding push put rack ramekin red right s salad sauce set shelf slide soup stack stove
switch table take the them to tomato top tray turn under up white wine wooden yellow
""".split()  # noqa: SIM905 - a paragraph reads better than a column
COMMON_WORDS = """
a all apple away banana blue bread brown button can carrot cloth corner cube down drop dish egg fork glass go grasp
green hand hold is item jar knife lamp lid near object over pour press pull purple release robot rotate small sponge
spoon towel tube turn upright water what with big large
""".split()  # noqa: SIM905 - a paragraph reads better than a column


def build_tokenizer(token_vocab_size: int, num_bins: int = 256) -> Tokenizer:
    """The tokenizer of a compact policy with ``token_vocab_size`` ids before padding.

    Raises:
        ValueError: the vocabulary is too small for the pieces.
    """
    pieces = ["<unk>", "<s>", "</s>", *LETTERS, *(f"##{c}" for c in LETTERS), *PUNCTUATION]
    pieces += [word for word in dict.fromkeys([*LIBERO_WORDS, *COMMON_WORDS]) if word not in pieces]
    spare = token_vocab_size - num_bins - len(pieces)
    if spare < 0:
        raise ValueError(
            f"token_vocab_size {token_vocab_size} is {-spare} too small: {len(pieces)} pieces, {num_bins} bins"
        )
    pieces += [f"<unused_{i}>" for i in range(spare)]
    pieces += [f"<action_{i}>" for i in range(num_bins)] + ["<pad>"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="<unk>", max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(pattern=_not_alphanumeric(), behavior="isolated")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Read ``tokenizer.json``.

    Raises:
        CheckpointError: the file is missing or is no tokenizer.
    """
    path = Path(folder) / TOKENIZER_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder}: {TOKENIZER_FILE} is missing; expected the tokenizer in Hugging Face format")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        raise CheckpointError(f"{path}: not a tokenizer in Hugging Face format: {error}") from error


def _not_alphanumeric():  # noqa: ANN202 - the library's Regex type has no stub
    from tokenizers import Regex

    return Regex("[^a-z0-9]")
