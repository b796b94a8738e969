"""A small network of the deepseek2 family for training on a CPU.

Equations as in the served form: latent attention (q and kv through low-rank latents, one rotated
key shared by all heads, adjacent pairs rotated, YaRN), a dense first layer, then routed experts
chosen by biased sigmoid scores beside one shared expert.

The master weights are f32 and carry the names and shapes of the GGUF tensors. A training step
computes on a bf16 copy of the matrices; norms, router and embedding stay f32.
"""

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F


@dataclass
class Config:
    vocab: int
    hidden: int = 256
    layers: int = 6
    heads: int = 4
    nope: int = 64
    rope: int = 64
    v_head: int = 64
    q_rank: int = 256
    kv_rank: int = 512
    dense_layers: int = 1
    dense_width: int = 512
    experts: int = 16
    experts_used: int = 4
    shared: int = 1
    expert_width: int = 256
    scale: float = 2.827
    eps: float = 1e-5
    context: int = 8192
    rope_base: float = 50000.0
    yarn_factor: float = 2.0
    yarn_original: int = 4096
    yarn_log: float = 0.1

    @property
    def kq_scale(self):
        magnitude = 1 + self.yarn_log * math.log(self.yarn_factor)
        return magnitude**2 / math.sqrt(self.nope + self.rope)


def rope_frequencies(cfg, beta_fast=32.0, beta_slow=1.0):
    """f64 [rope / 2]: fast pairs keep their frequency, slow ones are divided by the factor."""
    pair = torch.arange(cfg.rope // 2, dtype=torch.float64)
    plain = cfg.rope_base ** (-2 * pair / cfg.rope)

    def turn(beta):
        turns = cfg.yarn_original / (2 * math.pi * beta)
        return cfg.rope * math.log(turns) / (2 * math.log(cfg.rope_base))

    low, high = max(0, math.floor(turn(beta_fast))), min(cfg.rope - 1, math.ceil(turn(beta_slow)))
    ramp = ((pair - low) / max(0.001, high - low)).clamp(0, 1)
    return plain * ((1 - ramp) + ramp / cfg.yarn_factor)


def shapes(cfg):
    """Name -> shape (rows first) of every tensor, in file order."""
    c, out = cfg, {"token_embd.weight": (cfg.vocab, cfg.hidden)}
    for n in range(c.layers):
        layer = {
            "attn_norm.weight": (c.hidden,),
            "attn_q_a.weight": (c.q_rank, c.hidden),
            "attn_q_a_norm.weight": (c.q_rank,),
            "attn_q_b.weight": (c.heads * (c.nope + c.rope), c.q_rank),
            "attn_kv_a_mqa.weight": (c.kv_rank + c.rope, c.hidden),
            "attn_kv_a_norm.weight": (c.kv_rank,),
            "attn_k_b.weight": (c.heads, c.kv_rank, c.nope),
            "attn_v_b.weight": (c.heads, c.v_head, c.kv_rank),
            "attn_output.weight": (c.hidden, c.heads * c.v_head),
            "ffn_norm.weight": (c.hidden,),
        }
        if n < c.dense_layers:
            layer |= _ffn("", c.hidden, c.dense_width)
        else:
            layer["ffn_gate_inp.weight"] = (c.experts, c.hidden)
            layer["exp_probs_b.bias"] = (c.experts,)
            layer |= {k: (c.experts, *s) for k, s in _ffn("_exps", c.hidden, c.expert_width).items()}
            layer |= _ffn("_shexp", c.hidden, c.shared * c.expert_width)
        out |= {f"blk.{n}.{k}": v for k, v in layer.items()}
    return out | {"output_norm.weight": (c.hidden,), "output.weight": (c.vocab, c.hidden)}


def _ffn(kind, hidden, width):
    return {
        f"ffn_gate{kind}.weight": (width, hidden),
        f"ffn_up{kind}.weight": (width, hidden),
        f"ffn_down{kind}.weight": (hidden, width),
    }


def is_f32(name):
    """Tensors that stay f32 in training and in every export."""
    return "norm" in name or "gate_inp" in name or name.endswith(".bias")


def initial(cfg, seed=0, copying=True):
    """Fresh master weights: matrices keep the size of their input, outputs of a branch start small.
    `copying` then lays out heads that look up earlier occurrences (`lay_out_copying`)."""
    random = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes(cfg).items():
        if "norm" in name:
            weights[name] = torch.ones(shape)
        elif name.endswith(".bias"):
            weights[name] = torch.zeros(shape)
        else:
            fan_in = shape[1] if "attn_k_b" in name else shape[-1]
            gain = 1.0 if name == "token_embd.weight" else fan_in**-0.5
            if name == "output.weight":
                gain = 0.02
            elif "attn_output" in name or "ffn_down" in name:
                gain *= 0.25
            weights[name] = torch.randn(shape, generator=random) * gain
    if copying:
        lay_out_copying(cfg, weights, random)
    return weights


def lay_out_copying(cfg, weights, random, constant=4.0, sharpness=5.5, strength=1.2):
    """Starts the network as one that continues repeated text, which training then bends.

    The residual is split by a random rotation into a constant, a space A where tokens are written
    and a space B that is nearly empty. In layer 0, heads 0 and 1 attend to the tokens one and two
    back (a constant rotated key against a query turned back by that distance) and write them to
    B. In layer 1, heads 0 and 1 compare the current token, and with it the one before, to what B
    says came before each position, and write the token found there for the output to read.
    """
    c, half = cfg, cfg.hidden // 2
    basis = torch.linalg.qr(torch.randn(c.hidden, c.hidden, generator=random))[0].T
    one, a, b = basis[0], basis[1:half], basis[half:]
    turn = torch.linalg.qr(torch.randn(half, half, generator=random))[0][:, : half - 1]
    embedding = weights["token_embd.weight"]
    embedding -= embedding @ one[:, None] * one + 0.7 * embedding @ b.T @ b
    embedding += constant * one
    weights["output.weight"] += 0.05 * embedding @ a.T @ turn.T @ b
    frame = torch.linalg.qr(torch.randn(c.kv_rank, c.hidden, generator=random))[0]
    for n in (0, 1):
        of = lambda name: weights[f"blk.{n}.attn_{name}.weight"]
        q = torch.linalg.qr(torch.randn(c.q_rank, c.hidden, generator=random))[0]
        of("q_a").copy_(q)
        of("kv_a_mqa")[: c.kv_rank] = frame * (c.kv_rank / c.hidden) ** 0.5
        from_latent = frame.T * (c.hidden / c.kv_rank) ** 0.5
        queries = of("q_b").view(c.heads, c.nope + c.rope, c.q_rank)
        output = of("output").view(c.hidden, c.heads, c.v_head)
        of("kv_a_mqa")[c.kv_rank :] *= 0.3
        for head in (0, 1):
            first = min(head * c.v_head, len(a) - c.v_head)
            rows = slice(first, first + c.v_head)
            queries[head] *= 0.1
            if n == 0:
                level = (sharpness / c.kq_scale) ** 0.5 / constant
                angle = -(head + 1) * rope_frequencies(c)[:8].float()
                of("kv_a_mqa")[c.kv_rank : c.kv_rank + 16 : 2] = level * one
                queries[head, c.nope : c.nope + 16 : 2] += level * angle.cos()[:, None] * (q @ one)
                queries[head, c.nope + 1 : c.nope + 17 : 2] += level * angle.sin()[:, None] * (q @ one)
                read, write = turn[: c.v_head] @ a, b[head * c.v_head : (head + 1) * c.v_head]
            else:
                token, back = turn[: c.nope] @ a, b[: c.nope]
                two_back = b[c.v_head : c.v_head + c.nope]
                if head == 1:
                    m = c.nope // 2
                    token, back, two_back = token[:m] * 1.2, back * 1.2, two_back * 1.2
                    queries[head, : c.nope] += strength * torch.cat((token, back[:m])) @ q.T
                    keys = torch.cat((back[:m], two_back[:m]))
                else:
                    queries[head, : c.nope] += strength * token @ q.T
                    keys = back
                of("k_b")[head] = 0.1 * of("k_b")[head] + strength * (keys @ from_latent).T
                read, write = a[rows], turn[:, rows].T @ b
            of("v_b")[head] = read @ from_latent
            output[:, head] = write.T * strength


def rms_norm(x, weight, eps):
    y = x.float()
    return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps) * weight).to(x.dtype)


def rotate(x, cos, sin):
    """x [..., rope], cos and sin [..., rope / 2]: adjacent pairs are turned."""
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1)
    return turned.flatten(-2).to(x.dtype)


def attention_inputs(x, norm, q_a, q_norm, q_b, kv_a, kv_norm, k_b, v_b, cos, sin, dims):
    """x [T, hidden], cos and sin [T, rope / 2] -> q (scaled), k [T, H, nope + rope] and
    v [T, H, v_head]."""
    heads, nope, rank, kq_scale, eps = dims
    a = rms_norm(x, norm, eps)
    q = F.linear(rms_norm(F.linear(a, q_a), q_norm, eps), q_b).view(len(x), heads, -1)
    z = F.linear(a, kv_a)
    latent = rms_norm(z[:, :rank], kv_norm, eps)
    k_nope = F.linear(latent, k_b.transpose(1, 2).reshape(-1, rank)).view(len(x), heads, -1)
    v = F.linear(latent, v_b.view(-1, rank)).view(len(x), heads, -1)
    q_pe = rotate(q[..., nope:], cos[:, None], sin[:, None])
    k_pe = rotate(z[:, rank:], cos, sin).unsqueeze(1).expand(-1, heads, -1)
    q = torch.cat((q[..., :nope], q_pe), -1) * kq_scale
    return q, torch.cat((k_nope, k_pe), -1), v


def attention(q, k, v, shapes):
    """Flat q, k, v of groups of documents, each group of shape (B, L) -> [T, H * v_head]."""
    sizes, out = [b * n for b, n in shapes], []
    for shape, *parts in zip(shapes, q.split(sizes), k.split(sizes), v.split(sizes)):
        o = CausalAttention.apply(*(t.view(*shape, *t.shape[1:]).transpose(1, 2) for t in parts))
        out.append(o.transpose(1, 2).reshape(shape[0] * shape[1], -1))
    return torch.cat(out)


class CausalAttention(torch.autograd.Function):
    """Softmax attention over whole documents, in blocks of queries so that the upper triangle
    is mostly left out. q is scaled already."""

    BLOCK = 256

    @staticmethod
    def forward(ctx, q, k, v):
        heads, length = q.shape[0] * q.shape[1], q.shape[2]
        q3, k3, v3 = (t.reshape(heads, length, -1) for t in (q, k, v))
        out, kept = torch.empty_like(v3), []
        for start in range(0, length, CausalAttention.BLOCK):
            end = min(length, start + CausalAttention.BLOCK)
            scores = torch.bmm(q3[:, start:end], k3[:, :end].transpose(1, 2))
            mask = torch.full((end - start, end - start), -1e4, dtype=q.dtype).triu(1)
            scores[:, :, start:] += mask
            probabilities = torch.softmax(scores, -1)
            out[:, start:end] = torch.bmm(probabilities, v3[:, :end])
            kept.append(probabilities)
        ctx.save_for_backward(q3, k3, v3, *kept)
        ctx.shape = q.shape
        return out.view(v.shape)

    @staticmethod
    def backward(ctx, grad):
        q, k, v, *kept = ctx.saved_tensors
        heads, length, _ = q.shape
        grad = grad.reshape(heads, length, -1)
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for block, p in enumerate(kept):
            start, end = block * CausalAttention.BLOCK, block * CausalAttention.BLOCK + p.shape[1]
            go = grad[:, start:end]
            dv[:, :end] += torch.bmm(p.transpose(1, 2), go)
            dp = torch.bmm(go, v[:, :end].transpose(1, 2))
            ds = torch.ops.aten._softmax_backward_data(dp, p, -1, p.dtype)
            dq[:, start:end] = torch.bmm(ds, k[:, :end])
            dk[:, :end] += torch.bmm(ds.transpose(1, 2), q[:, start:end])
        split = lambda t: t.view(ctx.shape[0], ctx.shape[1], length, -1)
        return split(dq), split(dk), split(dv)


def weighted_swiglu(gate, up, weight):
    return (F.silu(gate.float()) * up.float() * weight[:, None]).to(gate.dtype)


def weighted_swiglu_backward(gate, up, weight, grad):
    g, u, d = gate.float(), up.float(), grad.float()
    sigmoid = torch.sigmoid(g)
    silu = g * sigmoid
    scaled = d * weight[:, None]
    d_gate = scaled * u * (sigmoid + silu * (1 - sigmoid))
    return d_gate.to(gate.dtype), (scaled * silu).to(gate.dtype), (d * silu * u).sum(-1)


def gather_sum(rows, index):
    """rows [N, C], index [T, K] -> [T, C]: the K rows of each token, added in f32."""
    total = rows[index[:, 0]].float()
    for k in range(1, index.shape[1]):
        total = total + rows[index[:, k]].float()
    return total.to(rows.dtype)


class Experts(torch.autograd.Function):
    """Routed experts: tokens sorted by expert, one product per expert and matrix.

    x [T, C]; chosen [T, K]; weight f32 [T, K]; gate, up [E, W, C]; down [E, C, W].
    """

    @staticmethod
    def forward(ctx, x, chosen, weight, gate, up, down):
        used = chosen.shape[1]
        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=gate.shape[0]).tolist()
        place = torch.empty_like(order)
        place[order] = torch.arange(order.numel())
        place = place.view(-1, used)
        xs = x.index_select(0, order // used)
        g, u = xs.new_empty(xs.shape[0], gate.shape[1]), xs.new_empty(xs.shape[0], gate.shape[1])
        for e, (start, end) in enumerate(spans(counts)):
            torch.mm(xs[start:end], gate[e].t(), out=g[start:end])
            torch.mm(xs[start:end], up[e].t(), out=u[start:end])
        sorted_weight = weight.flatten()[order]
        act = fused.weighted_swiglu(g, u, sorted_weight)
        y = torch.empty_like(xs)
        for e, (start, end) in enumerate(spans(counts)):
            torch.mm(act[start:end], down[e].t(), out=y[start:end])
        ctx.save_for_backward(xs, g, u, act, sorted_weight, order, place, gate, up, down)
        ctx.counts = counts
        return fused.gather_sum(y, place)

    @staticmethod
    def backward(ctx, grad):
        xs, g, u, act, sorted_weight, order, place, gate, up, down = ctx.saved_tensors
        used = place.shape[1]
        dy = grad.contiguous().index_select(0, order // used)
        d_act, dx = torch.empty_like(act), torch.empty_like(xs)
        learning = ctx.needs_input_grad[3]
        d_gate, d_up, d_down = (torch.zeros_like(m) if learning else None for m in (gate, up, down))
        for e, (start, end) in enumerate(spans(ctx.counts)):
            torch.mm(dy[start:end], down[e], out=d_act[start:end])
            if learning:
                torch.mm(dy[start:end].t(), act[start:end], out=d_down[e])
        dg, du, d_weight = fused.weighted_swiglu_backward(g, u, sorted_weight, d_act)
        for e, (start, end) in enumerate(spans(ctx.counts)):
            torch.mm(dg[start:end], gate[e], out=dx[start:end])
            dx[start:end].addmm_(du[start:end], up[e])
            if learning:
                torch.mm(dg[start:end].t(), xs[start:end], out=d_gate[e])
                torch.mm(du[start:end].t(), xs[start:end], out=d_up[e])
        d_weight = d_weight[place.flatten()].view_as(place)
        return fused.gather_sum(dx, place), None, d_weight, d_gate, d_up, d_down


def spans(counts):
    """(start, end) of each expert's rows."""
    end = 0
    for count in counts:
        end += count
        yield end - count, end


class fused:
    """The element-wise pieces, replaced by compiled ones in `use_compiler`."""

    weighted_swiglu = staticmethod(weighted_swiglu)
    weighted_swiglu_backward = staticmethod(weighted_swiglu_backward)
    gather_sum = staticmethod(gather_sum)
    attention_inputs = staticmethod(attention_inputs)
    rms_norm = staticmethod(rms_norm)


def use_compiler():
    """Compiles the element-wise pieces (needs a C++ compiler)."""
    for name in ("weighted_swiglu", "weighted_swiglu_backward", "gather_sum", "attention_inputs", "rms_norm"):
        setattr(fused, name, staticmethod(torch.compile(getattr(fused, name), dynamic=True)))


def route(f, router, bias, cfg):
    """f [T, hidden] -> chosen [T, K] and their weights, f32. The bias only selects."""
    score = torch.sigmoid(F.linear(f.float(), router))
    chosen = (score.detach() + bias).topk(cfg.experts_used, sorted=False).indices
    weight = score.gather(1, chosen)
    return chosen, weight / weight.sum(1, keepdim=True) * cfg.scale


def feed_forward(w, n, f, cfg, loads=None, squares=None):
    """The dense or the mixed FFN of layer n on rows f [T, hidden]; counts tokens per expert
    in `loads` and keeps the mean square of each input column in `squares`."""
    kind = "" if n < cfg.dense_layers else "_shexp"
    mat = lambda name: w[f"blk.{n}.{name}"]
    gate, up = F.linear(f, mat(f"ffn_gate{kind}.weight")), F.linear(f, mat(f"ffn_up{kind}.weight"))
    out = F.linear(F.silu(gate) * up, mat(f"ffn_down{kind}.weight"))
    if not kind:
        return out
    chosen, weight = route(f, mat("ffn_gate_inp.weight"), mat("exp_probs_b.bias"), cfg)
    if loads is not None:
        loads[n] = torch.bincount(chosen.flatten(), minlength=cfg.experts)
    if squares is not None:
        squares[n] = f.float().square().mean(0)
    experts = (mat(f"ffn_{m}_exps.weight") for m in ("gate", "up", "down"))
    return out + Experts.apply(f, chosen, weight, *experts)


ATTENTION_INPUTS = "attn_norm attn_q_a attn_q_a_norm attn_q_b attn_kv_a_mqa attn_kv_a_norm attn_k_b attn_v_b".split()


class Model:
    """Master weights and the ways to run them."""

    def __init__(self, cfg, weights):
        self.cfg, self.weights = cfg, weights
        angle = torch.outer(torch.arange(cfg.context, dtype=torch.float64), rope_frequencies(cfg).float().double())
        self.cos, self.sin = angle.cos().float(), angle.sin().float()

    def compute_weights(self, dtype=torch.bfloat16, grad=True, frozen=()):
        """The copy that a step computes on; biases and `frozen` tensors ask for no gradient."""
        copy = {}
        for name, master in self.weights.items():
            keep = is_f32(name) or name == "token_embd.weight"
            copy[name] = master.detach().clone() if keep else master.detach().to(dtype)
            copy[name].requires_grad_(grad and name not in frozen and not name.endswith(".bias"))
        return copy

    def hidden(self, w, groups, rows=None, loads=None, dtype=torch.bfloat16, squares=None):
        """Groups of documents, ids [B, L] each and every row from position 0 -> normalised last
        states [T, hidden] of all tokens, groups one after the other, or of the flat indices
        `rows` (the last FFN is skipped for the others)."""
        cfg, shapes = self.cfg, [tuple(ids.shape) for ids in groups]
        position = torch.cat([torch.arange(length).repeat(batch) for batch, length in shapes])
        cos, sin = self.cos[position], self.sin[position]
        dims = (cfg.heads, cfg.nope, cfg.kv_rank, cfg.kq_scale, cfg.eps)
        ids = torch.cat([ids.flatten() for ids in groups])
        x = F.embedding(ids, w["token_embd.weight"]).to(dtype)
        for n in range(cfg.layers):
            mats = [w[f"blk.{n}.{name}.weight"] for name in ATTENTION_INPUTS]
            o = attention(*fused.attention_inputs(x, *mats, cos, sin, dims), shapes)
            if n == cfg.layers - 1 and rows is not None:
                x, o = x.index_select(0, rows), o.index_select(0, rows)
            x = x + F.linear(o, w[f"blk.{n}.attn_output.weight"])
            f = fused.rms_norm(x, w[f"blk.{n}.ffn_norm.weight"], cfg.eps)
            x = x + feed_forward(w, n, f, cfg, loads, squares)
        return fused.rms_norm(x, w["output_norm.weight"], cfg.eps)

    def logits(self, ids):
        """f32 logits [B, L, vocab] of documents from position 0."""
        with torch.no_grad():
            w = self.compute_weights(torch.float32, grad=False)
            h = self.hidden(w, [ids], dtype=torch.float32)
            return F.linear(h, w["output.weight"]).view(*ids.shape, -1)

    def generate(self, prompt_ids, max_new, stop=()):
        """Greedy continuation of one prompt, without the stop id."""
        return self.generate_batch([prompt_ids], max_new, stop)[0]

    @torch.no_grad()
    def generate_batch(self, prompts, max_new, stop=()):
        """Greedy continuations of prompts of any lengths, over one latent cache each."""
        w, stop = self.compute_weights(torch.float32, grad=False), set(stop)
        lengths = torch.tensor([len(p) for p in prompts])
        ids = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt)
        cache = [
            torch.zeros(len(prompts), ids.shape[1] + max_new, self.cfg.kv_rank + self.cfg.rope)
            for _ in range(self.cfg.layers)
        ]
        position = torch.arange(ids.shape[1]).expand(len(prompts), -1)
        h = self._cached(w, ids, position, cache)[torch.arange(len(prompts)), lengths - 1]
        out, live, at = [[] for _ in prompts], torch.arange(len(prompts)), lengths.clone()
        for _ in range(max_new):
            token = F.linear(h, w["output.weight"]).argmax(-1)
            keep = torch.tensor([int(t) not in stop for t in token], dtype=torch.bool)
            if not keep.all():
                token, live, at, cache = token[keep], live[keep], at[keep], [c[keep] for c in cache]
            for row, t in zip(live.tolist(), token.tolist()):
                out[row].append(t)
            if not len(live):
                break
            h = self._cached(w, token[:, None], at[:, None], cache)[:, 0]
            at = at + 1
        return out

    def _cached(self, w, ids, position, cache):
        """States of new tokens at `position` [B, N]; writes their latent rows, reads all earlier.
        The absorbed form: queries meet the latent itself."""
        cfg, (batch, new) = self.cfg, ids.shape
        cos, sin, last = self.cos[position], self.sin[position], int(position.max()) + 1
        seen = torch.arange(last)[None, None] <= position[:, :, None]
        row = torch.arange(batch)[:, None]
        x = F.embedding(ids, w["token_embd.weight"])
        for n in range(cfg.layers):
            mat = lambda name: w[f"blk.{n}.{name}.weight"]
            a = rms_norm(x, mat("attn_norm"), cfg.eps)
            q = F.linear(rms_norm(F.linear(a, mat("attn_q_a")), mat("attn_q_a_norm"), cfg.eps), mat("attn_q_b"))
            q = q.view(batch, new, cfg.heads, -1)
            z = F.linear(a, mat("attn_kv_a_mqa"))
            latent = rms_norm(z[..., : cfg.kv_rank], mat("attn_kv_a_norm"), cfg.eps)
            cache[n][row, position] = torch.cat((latent, rotate(z[..., cfg.kv_rank :], cos, sin)), -1)
            absorbed = torch.einsum("bnhd,hld->bhnl", q[..., : cfg.nope], mat("attn_k_b"))
            q_pe = rotate(q[..., cfg.nope :], cos[:, :, None], sin[:, :, None]).transpose(1, 2)
            keys = cache[n][:, :last]
            scores = torch.cat((absorbed, q_pe), -1).flatten(1, 2) @ keys.transpose(1, 2) * cfg.kq_scale
            scores = scores.view(batch, cfg.heads, new, last).masked_fill(~seen[:, None], -math.inf)
            mixed = torch.softmax(scores, -1).flatten(1, 2) @ keys[..., : cfg.kv_rank]
            o = torch.einsum("bhnl,hel->bnhe", mixed.view(batch, cfg.heads, new, -1), mat("attn_v_b"))
            x = x + F.linear(o.flatten(2), mat("attn_output"))
            f = rms_norm(x, mat("ffn_norm"), cfg.eps).view(batch * new, -1)
            x = x + feed_forward(w, n, f, cfg).view(batch, new, -1)
        return rms_norm(x, w["output_norm.weight"], cfg.eps)


def save(path, model, dtype=torch.bfloat16):
    """Weights only; norms and router stay f32."""
    weights = {k: v if is_f32(k) else v.to(dtype) for k, v in model.weights.items()}
    torch.save({"config": asdict(model.cfg), "weights": weights}, path)


def load(path):
    """A model from a file of `save` or from a training checkpoint."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    return Model(Config(**state["config"]), {k: v.float() for k, v in state["weights"].items()})
