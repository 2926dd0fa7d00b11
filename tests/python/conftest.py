"""What all tests share."""

from __future__ import annotations

import torch

# Tests run on small and busy machines, where two threads wait for each other more than they work.
torch.set_num_threads(1)
