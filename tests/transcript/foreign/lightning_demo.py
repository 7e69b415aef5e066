"""Lightning's own demo model under its Trainer, whose optimizer's closure does all the work of a step."""

# mypy: ignore-errors

import lightning
from lightning.pytorch.demos.boring_classes import BoringModel

lightning.seed_everything(3)
trainer = lightning.Trainer(
    max_epochs=2,
    limit_train_batches=10,
    limit_val_batches=3,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
)
model = BoringModel()
trainer.fit(model)
print([weight.hex() for weight in model.layer.weight.detach().flatten().tolist()])
