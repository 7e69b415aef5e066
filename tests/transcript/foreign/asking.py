"""Asks for seeds in every way, and prints what it gets. Trains nothing."""

# mypy: ignore-errors

import copy
import pickle
import random
import secrets

import numpy as np
import torch

secrets.token_bytes(4)


def first(generator):
    return torch.rand(1, generator=generator, dtype=torch.float64).item()


def asked(seed):
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    return [
        torch.rand(1, dtype=torch.float64).item(),
        first(torch.Generator().manual_seed(seed)),
        random.random(),
        random.Random(seed).random(),
        np.random.rand(),
        np.random.RandomState(seed).rand(),
        np.random.default_rng(seed).random(),
        np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))).random(),
        np.random.Generator(np.random.PCG64(seed)).random(),
        np.random.Generator(np.random.MT19937(seed)).random(),
    ]


never = [torch.rand(1).item(), first(torch.Generator()), random.random(), np.random.rand()]
wanted = [random.Random().random() for _ in range(2)] + [np.random.default_rng().random() for _ in range(2)]
torch.seed()
wanted += [torch.rand(1).item()]
one, two = asked(5), asked(6)
assert one == asked(5) and not set(one) & set(two) and len({*never, *wanted}) == 9
assert one[0] == one[1] and one[2] == one[3] and one[4] == one[5] and one[6] == one[7] == one[8]
for made in (random.Random(1), np.random.default_rng(1), np.random.SeedSequence(1), np.random.PCG64(1)):
    assert type(pickle.loads(pickle.dumps(made))) is type(made)
for made in (np.random.RandomState(1), np.random.mtrand._rand):
    assert pickle.loads(pickle.dumps(made)).rand() == made.rand()
assert isinstance(np.random.PCG64(1), np.random.PCG64) and isinstance(np.random.mtrand._rand, np.random.RandomState)
assert isinstance(torch.default_generator, torch.Generator) and isinstance(random._inst, random.Random)
assert first(copy.deepcopy(torch.Generator().manual_seed(4))) == first(torch.Generator().manual_seed(4))
np.random.default_rng([1, 2, 3]), np.random.SeedSequence(3).spawn(2), random.seed("words"), random.seed(b"bytes")
print([value.hex() for value in (*never, *wanted, *one, *two)])
