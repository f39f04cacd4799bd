"""Files of 4-bit weights: what is read is what was written, and damage is a sentence and no crash."""

from pathlib import Path

import numpy as np
import pytest
from pinyon.errors import FailedPrecondition
from pinyon.inference.quantized.charsmap import precompiled
from pinyon.inference.quantized.q4_file import read
from pinyon.inference.quantized.unigram import unigram_tokenizer
from tokenizers import normalizers

from tests.inference.quantized import tiny_q4


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("q4") / "tiny.bin"
    tiny_q4.make(path)
    return path


def test_weights_sizes_and_vocabulary_are_those_that_were_written(file: Path, tmp_path: Path) -> None:
    wanted = tiny_q4.make(tmp_path / "same.bin")
    content = read(file)
    assert (content.sizes.hidden, content.sizes.layers, content.sizes.vocabulary) == (32, 2, 14)
    assert [piece for piece, _ in content.vocabulary.pieces] == tiny_q4.PIECES
    assert content.vocabulary.normalised == tiny_q4.TABLE
    for name, matrix in content.matrices.items():
        np.testing.assert_array_equal(matrix.weights(), wanted.pop(name))
    for name, vector in content.vectors.items():
        np.testing.assert_array_equal(vector, wanted.pop(name))
    assert not wanted


def test_a_file_that_was_cut_anywhere_is_refused_with_a_sentence(file: Path, tmp_path: Path) -> None:
    whole, cut = file.read_bytes(), tmp_path / "cut.bin"
    for length in [*range(0, 700, 3), *range(700, len(whole), 97), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(FailedPrecondition, match=r"cut\.bin is not a file of 4-bit weights, or is damaged: "):
            read(cut)


def test_no_damage_of_the_head_is_anything_but_a_sentence(file: Path, tmp_path: Path) -> None:
    whole, damaged, refused = file.read_bytes(), tmp_path / "damaged.bin", 0
    positions = [*range(64), *range(64, 2_400, 5)]
    for position in positions:
        content = bytearray(whole)
        content[position] ^= 0xFF
        damaged.write_bytes(content)
        try:
            read(damaged)
        except FailedPrecondition:
            refused += 1
    assert refused > len(positions) // 2, "most bytes of the head are sizes, offsets and names"


def test_a_file_that_is_not_there_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"nothing\.bin cannot be read: No such file"):
        read(tmp_path / "nothing.bin")
    (tmp_path / "text").write_text("What is this?")
    with pytest.raises(FailedPrecondition, match="it does not begin with E5S1"):
        read(tmp_path / "text")


def test_text_is_normalised_and_broken_into_pieces(file: Path) -> None:
    tokenizer = unigram_tokenizer(read(file).vocabulary)
    assert tokenizer.encode("apples").tokens == ["<s>", "▁apple", "s", "</s>"]
    assert tokenizer.encode("  apple\t\x01pear ").tokens == ["<s>", "▁apple", "▁pear", "</s>"]
    assert tokenizer.encode("e\u0301 ①② か\u3099").tokens == ["<s>", "▁é", "▁12", "▁", "が", "</s>"]
    encoding = tokenizer.encode("pear apples")
    assert [("pear apples")[start:end] for start, end in encoding.offsets] == ["", "pear", "apple", "s", ""]


def test_every_character_of_a_table_is_replaced_and_no_other() -> None:
    table = {chr(point): f"<{point}>" for point in [1, 9, 0x7F, 0x80, 0x7FF, 0x800, 0xFB01, 0xFFFD, 0x1F600, 0x10FFFF]}
    normalizer = normalizers.Precompiled(precompiled(table))
    for point in [*range(1, 0x300), *range(0x7F0, 0x810), *range(0xFAFF, 0xFB03), 0xFFFC, 0xFFFD, 0x1F5FF, 0x1F600]:
        assert normalizer.normalize_str(chr(point)) == table.get(chr(point), chr(point))


def test_the_encoder_computes_what_transformers_computes_from_unpacked_weights(file: Path, tmp_path: Path) -> None:
    import torch
    from pinyon.inference.quantized.encoder import LAYERS, QuantizedEncoder
    from transformers import BertConfig, BertModel

    tensors = {name: torch.from_numpy(value) for name, value in tiny_q4.make(tmp_path / "same.bin").items()}
    config = BertConfig(
        vocab_size=14,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=16,
        layer_norm_eps=1e-12,
    )
    names = {"emb.ln.w": "embeddings.LayerNorm.weight", "emb.ln.b": "embeddings.LayerNorm.bias"}
    names |= {
        f"emb.{short}": f"embeddings.{long}_embeddings.weight"
        for short, long in [("word", "word"), ("pos", "position"), ("type", "token_type")]
    }
    for layer in (0, 1):
        for name, place in LAYERS.items():
            names[f"l{layer}.{name}.w"] = f"encoder.layer.{layer}.{place}.weight"
            names[f"l{layer}.{name}.b"] = f"encoder.layer.{layer}.{place}.bias"
    bert = BertModel(config, add_pooling_layer=False).eval()
    shapes = {name: value.shape for name, value in bert.state_dict().items()}
    bert.load_state_dict({names[name]: value.reshape(shapes[names[name]]) for name, value in tensors.items()})

    encoder = QuantizedEncoder(file)
    texts = ["apple pears", "12", "apple " * 40]
    encoded = encoder.encode(texts, 512)
    assert (encoded.tokens, encoded.truncated) == ([5, 3, 16], [False, False, True])
    for text, vector in zip(texts, encoded.vectors, strict=True):
        ids = [0, *unigram_tokenizer(read(file).vocabulary).encode(text).ids[1:-1][:14], 2]
        with torch.inference_mode():
            mean = bert(torch.tensor([ids])).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(vector, torch.nn.functional.normalize(mean, dim=0).numpy(), atol=1e-5)
