"""Several processes that train one model, started by torchrun: each draws its own batches, the gradients are averaged.

Two processes of one thread make more of two cores than one process of two threads. Everything that is decided or written is the first one's.
"""
import os

import torch
import torch.distributed as dist


class Group:
    def __init__(self, device):
        self.rank, self.size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.first = self.rank == 0
        self.device = f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and self.size > 1 else device
        if self.size > 1:
            dist.init_process_group("nccl" if self.device.startswith("cuda") else "gloo")

    def total(self, *values):
        if self.size == 1:
            return values
        t = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(t)
        return t.tolist()

    def agree(self, *values):
        """What the first process says"""
        return self.total(*(v if self.first else 0.0 for v in values))

    def average(self, parameters):
        """The gradients, as one message"""
        if self.size == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.view(-1) for g in grads])
        dist.all_reduce(flat)
        for g, part in zip(grads, (flat / self.size).split([g.numel() for g in grads])):
            g.copy_(part.view_as(g))
