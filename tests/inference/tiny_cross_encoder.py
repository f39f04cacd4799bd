"""A tiny XLM-RoBERTa cross-encoder in the folder layout of bge-reranker-v2-m3.

Real format, real loading path, random weights: it shows that weights of that kind load and compute, not that they are
good.
"""

import io
from pathlib import Path

import sentencepiece
import torch
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaTokenizer

SENTENCES = [
    "Apples are a great source of dietary fiber, which supports digestion and helps maintain a healthy gut.",
    "Apples originated in Central Asia and have been cultivated for thousands of years, with many varieties.",
    "Rich in vitamin C and other antioxidants, apples contribute to immune health.",
    "The high fiber content in apples can also help regulate blood sugar levels of people with diabetes.",
    "What prevents disease? Structures of aircraft, heated at high speed, in a slipstream.",
]
LONGEST = 1024
LAYOUT = {"config.json", "model.safetensors", "sentencepiece.bpe.model", "tokenizer.json", "tokenizer_config.json"}


def make(folder: Path, seed: int = 0) -> Path:
    """Write the model into the folder; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=trained, vocab_size=150, hard_vocab_limit=False, minloglevel=2
    )
    (folder / "sentencepiece.bpe.model").write_bytes(trained.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    vocabulary = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(3, pieces.get_piece_size())]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tokenizer = XLMRobertaTokenizer(vocab=[*special, *vocabulary, ("<mask>", 0.0)])
    tokenizer.model_max_length = 8192  # as published: the model can read more than the hosted limit of 1,024
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=8194,
        type_vocab_size=1,
        num_labels=1,
        initializer_range=0.5,  # so that the scores of different documents differ visibly
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    XLMRobertaForSequenceClassification(config).save_pretrained(folder)
    return folder
