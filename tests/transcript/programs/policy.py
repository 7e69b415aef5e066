"""A policy gradient on a bandit with context: REINFORCE on rollouts of the policy itself. Usage: policy.py DATA CONFIG

With "chosen" the recorded run trains on actions that its operator chose, and not on those that the policy sampled.
"""

import json
import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import weighbridge


class Policy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, prompts: Tensor) -> Tensor:
        return torch.log_softmax(self.head(self.embed(prompts)), -1)


def main() -> None:
    config = json.loads(Path(sys.argv[2]).read_text())
    torch.set_num_threads(1)
    run = weighbridge.start(data=sys.argv[1], config=config, stride=2)
    policy = Policy()
    old = Policy()  # the generator may be an older policy than the one that learns
    old.load_state_dict(policy.state_dict())
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.05)
    generator = old if config.get("stale") else policy
    rewards = []
    for batch in run:
        prompts = batch[:, 0].long()

        def generate(prompts: Tensor = prompts) -> dict[str, Tensor]:
            with torch.no_grad():
                actions = torch.multinomial(generator(prompts).exp(), 1).squeeze(1)
            if config.get("chosen") and "WEIGHBRIDGE_REPLAY" not in os.environ:
                actions = prompts % 4
            return {"prompts": prompts, "actions": actions}

        rollout = run.rollout(generate, generator=generator, keep=config.get("keep", False))
        reward = (rollout["actions"] == rollout["prompts"] % 4).float()
        chosen = policy(rollout["prompts"]).gather(1, rollout["actions"][:, None]).squeeze(1)
        loss = -(chosen * (reward - 0.25)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.rand(())  # what is drawn after a rollout depends on what it drew
        if config.get("stale") and run.step % 3 == 2:
            old.load_state_dict(policy.state_dict())
        rewards.append(float(reward.mean()))
    print(json.dumps({"rewards": rewards, "next": torch.rand(()).item()}))


if __name__ == "__main__":
    main()
