"""Hugging Face's Trainer on a model built from its configuration: accumulation, evaluation, checkpoints, logging."""

# mypy: ignore-errors

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

set_seed(7)


class Rows(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        tokens = torch.randint(0, 64, (16,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": tokens, "labels": tokens}


trainer = Trainer(
    model=GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=16, n_embd=32, n_layer=2, n_head=2)),
    args=TrainingArguments(
        output_dir="checkpoints",
        max_steps=12,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        logging_steps=1,
        save_steps=6,
        eval_strategy="steps",
        eval_steps=5,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    ),
    train_dataset=Rows(),
    eval_dataset=Rows(),
)
trainer.train()
for entry in trainer.state.log_history:
    for name in ("loss", "eval_loss"):
        if name in entry:
            print(name, float(entry[name]).hex())
print(float(sum(float(p.detach().double().sum()) for p in trainer.model.parameters())).hex())
