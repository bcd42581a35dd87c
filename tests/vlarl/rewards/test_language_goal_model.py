"""Embeddings against transformers' own path: its processor, ``get_image_features``, ``get_text_features``."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor, BertConfig, BertModel

from tests.support.image_text import tiny_clip, tiny_siglip
from vlarl.errors import CheckpointError, ConfigError, NotFiniteError
from vlarl.rewards.language_goal_model import ImageTextModel

MAKERS = {"clip": tiny_clip, "siglip": tiny_siglip}
TEXTS = ["the road is clear", "two cars have collided"]


@pytest.fixture(scope="module", params=list(MAKERS))
def folder(request, tmp_path_factory):
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


def frames(count: int = 3, height: int = 40, width: int = 56) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def test_same_as_transformers_on_pictures_that_need_resizing(folder):
    pictures = frames()
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    padding = "max_length" if "siglip" in model.config.model_type else True
    with torch.inference_mode():
        pixels = processor.image_processor(images=[Image.fromarray(p) for p in pictures], return_tensors="pt")
        seen = model.get_image_features(**pixels).pooler_output
        tokens = processor.tokenizer(TEXTS, padding=padding, truncation=True, max_length=12, return_tensors="pt")
        said = model.get_text_features(**tokens).pooler_output
    ours = ImageTextModel(folder, device="cpu")
    for found, expected in ((ours.embed_images(pictures), seen), (ours.embed_texts(TEXTS), said)):
        np.testing.assert_allclose(found, torch.nn.functional.normalize(expected, dim=-1).numpy(), atol=1e-6)


def test_preprocessing_by_hand(tmp_path):
    """CLIP: shorter side to 32 by Pillow's bicubic, the middle 32 x 32, mean and deviation of the file."""
    folder = tiny_clip(tmp_path)
    picture = frames(1, 40, 60)[0]
    resized = np.asarray(Image.fromarray(picture).resize((48, 32), Image.Resampling.BICUBIC))[:, 8:40]
    settings = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    expected = (resized / 255.0 - settings["image_mean"]) / settings["image_std"]
    caught = {}
    model = ImageTextModel(folder, device="cpu")
    model.model.vision_model.register_forward_pre_hook(lambda _, __, given: caught.update(given), with_kwargs=True)
    model.embed_images([picture])
    np.testing.assert_allclose(caught["pixel_values"][0].permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_rows_have_length_one_and_do_not_depend_on_their_neighbours(folder):
    model, pictures = ImageTextModel(folder, device="cpu"), frames(16)
    together, reversed_ = model.embed_images(pictures), model.embed_images(pictures[::-1])
    np.testing.assert_array_equal(together, reversed_[::-1])
    np.testing.assert_array_equal(together[5], model.embed_images([pictures[5]] * 16)[11])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, rtol=1e-6)


def test_a_tokenizer_class_that_needs_a_missing_package_is_read_from_its_file(tmp_path):
    folder = tiny_siglip(tmp_path)
    before = ImageTextModel(folder, device="cpu").embed_texts(TEXTS)
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"tokenizer_class": "SiglipTokenizer"}))
    np.testing.assert_array_equal(ImageTextModel(folder, device="cpu").embed_texts(TEXTS), before)


def test_words_that_a_small_vocabulary_lacks_are_named(folder):
    with pytest.raises(ConfigError, match=r"does not know the words clera, moon. Did you mean 'clear'"):
        ImageTextModel(folder, device="cpu").embed_texts(["the road is clera", "the moon"])


@pytest.mark.parametrize("texts", [[], ["the road", " "]])
def test_empty_sentences_are_refused(folder, texts):
    with pytest.raises(ValueError, match="none of them empty"):
        ImageTextModel(folder, device="cpu").embed_texts(texts)


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8)]
)
def test_other_images_are_refused(folder, image):
    with pytest.raises(ValueError, match="expected uint8"):
        ImageTextModel(folder, device="cpu").embed_images([image])


def test_damaged_weights_are_refused_where_they_show(tmp_path):
    folder = tiny_clip(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["visual_projection.weight"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(NotFiniteError, match=r"embedding of picture 0 of 2 .* is not finite \(2 are not\)"):
        ImageTextModel(folder, device="cpu").embed_images(frames(2))


def test_folders_that_are_no_image_text_model(tmp_path):
    with pytest.raises(CheckpointError, match="is no folder; expected a CLIP or SigLIP"):
        ImageTextModel(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="holds no config.json"):
        ImageTextModel(tmp_path)
    words = tmp_path / "words"
    BertModel(
        BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(words)
    with pytest.raises(CheckpointError, match="holds a BertModel, which has no common space"):
        ImageTextModel(words)
    half = tiny_clip(tmp_path / "half")
    (half / "processor_config.json").unlink()
    with pytest.raises(CheckpointError, match="cannot load its image processor"):
        ImageTextModel(half)
