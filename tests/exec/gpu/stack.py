"""Tokens/s of the layer stack that gpu-check measures, in PyTorch: 4 layers of Llama 2
7B's size with embedding, head, loss and AdamW, bf16 with float32 master weights, 4
micro-batches of one sample of 4096 tokens; eager and compiled."""
import time

import torch
from torch import nn
from torch.nn import functional as F

HIDDEN, LAYERS, HEADS, FFN, VOCABULARY, SEQ, BATCH = 4096, 4, 32, 11008, 32000, 4096, 4


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.RMSNorm(HIDDEN)
        self.norm2 = nn.RMSNorm(HIDDEN)
        self.qkv = nn.Linear(HIDDEN, 3 * HIDDEN, bias=False)
        self.out = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.up = nn.Linear(HIDDEN, 2 * FFN, bias=False)
        self.down = nn.Linear(FFN, HIDDEN, bias=False)

    def forward(self, x, cosine, sine):
        q, k, v = self.qkv(self.norm1(x)).view(1, SEQ, 3, HEADS, -1).permute(2, 0, 3, 1, 4)

        def turn(y):
            a, b = y.chunk(2, -1)
            return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)

        y = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(1, SEQ, HIDDEN))
        gate, up = self.up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, HIDDEN)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(HIDDEN)
        self.head = nn.Linear(HIDDEN, VOCABULARY, bias=False)

    def forward(self, tokens, targets, cosine, sine):
        x = self.table(tokens)
        for block in self.blocks:
            x = block(x, cosine, sine)
        return F.cross_entropy(self.head(self.norm(x)).view(-1, VOCABULARY).float(), targets.view(-1))


def measure(name, compiled):
    torch.manual_seed(1)
    device = "cuda"
    model = Stack().to(device=device, dtype=torch.bfloat16)
    masters = [p.detach().float().requires_grad_() for p in model.parameters()]
    optimizer = torch.optim.AdamW(masters, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    half = HIDDEN // HEADS // 2
    angles = torch.arange(SEQ, device=device)[:, None] * 1e4 ** (-torch.arange(half, device=device) / half)
    cosine, sine = angles.cos().bfloat16(), angles.sin().bfloat16()
    call = torch.compile(model) if compiled else model
    times = []
    for _ in range(8):
        # as the executor counts: gradients are cleared before the step begins
        for master in masters:
            master.grad = torch.zeros_like(master) if master.grad is None else master.grad.zero_()
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(BATCH):
            tokens = torch.randint(VOCABULARY, (1, SEQ + 1), device=device)
            call(tokens[:, :-1], tokens[:, 1:].contiguous(), cosine, sine).backward()
            for master, p in zip(masters, model.parameters()):
                master.grad.add_(p.grad)
                p.grad = None
        nn.utils.clip_grad_norm_(masters, 1.0)
        optimizer.step()
        with torch.no_grad():
            for master, p in zip(masters, model.parameters()):
                p.copy_(master)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    print(f"torch {torch.__version__}, {name}: {BATCH * SEQ / min(times[3:]):.0f} tokens/s", flush=True)


measure("eager", False)
try:
    measure("compiled", True)
except Exception as error:  # a compiler may be missing
    print(f"not compiled: {type(error).__name__}: {error}", flush=True)
