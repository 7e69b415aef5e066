"""Writes what TRL's own script trains on, where nothing can be downloaded: a tokenizer, a model, rows."""

# mypy: ignore-errors

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

torch.manual_seed(0)
words = ["<pad>", "<eos>", "<unk>", *(f"w{number}" for number in range(40))]
tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
PreTrainedTokenizerFast(
    tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
).save_pretrained("model")
GPT2LMHeadModel(
    GPT2Config(vocab_size=len(words), n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1)
).save_pretrained("model")
Path("rows").mkdir()
rows = [{"text": " ".join(f"w{(row * 7 + place * place) % 40}" for place in range(12))} for row in range(48)]
Path("rows/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
