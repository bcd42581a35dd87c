"""Every LIBERO instruction is made of whole words; anything else falls back to characters."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from vlarl.policies.oft_presets import preset
from vlarl.policies.prompt_tokenizer import build_tokenizer

SMALL = preset("small")


def libero_instructions() -> list[str]:
    """The sentences of all task files of the installed benchmark, LIBERO-PRO's variants included."""
    spec = find_spec("libero")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("LIBERO is not installed: pip install 'vlarl[libero]'")
    root = Path(next(iter(spec.submodule_search_locations))) / "libero" / "bddl_files"
    suites = ["libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90"]
    suites += [f"{suite}_{variant}" for suite in suites[:4] for variant in ("lan", "object", "swap", "task")]
    files = [file for suite in suites for file in (root / suite).glob("*.bddl")]
    found = {m.group(1).strip() for f in files if (m := re.search(r"\(:language ([^)]*)\)", f.read_text()))}
    assert len(found) > 130
    return sorted(found)


def test_libero_instructions_are_whole_words_and_fit():
    tokenizer = build_tokenizer(SMALL.language.token_vocab_size)
    for instruction in libero_instructions():
        encoding = tokenizer.encode(SMALL.prompt.template.format(instruction=instruction.lower()))
        assert "<unk>" not in encoding.tokens or "’" in instruction, (instruction, encoding.tokens)
        assert not any(token.startswith("##") for token in encoding.tokens), encoding.tokens
        assert len(encoding.ids) <= SMALL.prompt.max_tokens
        assert max(encoding.ids) < SMALL.action_token_begin


def test_unknown_words_fall_back_to_characters():
    tokenizer = build_tokenizer(SMALL.language.token_vocab_size)
    assert tokenizer.encode("Lift the zebra-cup").tokens == [
        "<s>", "lift", "the", "z", "##e", "##b", "##r", "##a", "-", "cup",
    ]  # fmt: skip


def test_action_ids_are_the_last_of_the_vocabulary_before_padding():
    tokenizer = build_tokenizer(SMALL.language.token_vocab_size)
    assert tokenizer.token_to_id("<action_0>") == SMALL.action_token_begin == 256
    assert tokenizer.token_to_id("<action_255>") == SMALL.language.token_vocab_size - 1
    assert tokenizer.token_to_id("<pad>") == SMALL.prompt.pad_id == SMALL.language.token_vocab_size
    assert tokenizer.token_to_id("</s>") == SMALL.prompt.stop_id


def test_vocabulary_that_is_too_small():
    with pytest.raises(ValueError, match="too small"):
        build_tokenizer(300)
