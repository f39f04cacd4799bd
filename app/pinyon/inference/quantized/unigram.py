"""A tokenizer from a Unigram vocabulary, as XLM-RoBERTa has it: `<s> pieces </s>`, with a mark before each word."""

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from pinyon.inference.quantized.charsmap import precompiled
from pinyon.inference.quantized.q4_file import Vocabulary


def unigram_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """The tokenizer of a vocabulary.

    The vocabulary's table replaces single characters. SentencePiece also composes characters, such as a letter and its
    accent, which NFC does here before and after the table.
    """
    bos, eos = (vocabulary.pieces[each][0] for each in (vocabulary.bos, vocabulary.eos))
    tokenizer = Tokenizer(models.Unigram(vocabulary.pieces, unk_id=vocabulary.unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Precompiled(precompiled(vocabulary.normalised)),
            normalizers.NFC(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}", special_tokens=[(bos, vocabulary.bos), (eos, vocabulary.eos)]
    )
    return tokenizer
