"""Small models in plain JAX, and the training steps that the examples and tests run.

A model is two functions. `init_*` returns the parameters, a pytree of arrays. `*_loss` returns the loss function, which
maps parameters and a batch to a number. The functions at the end of this file turn a loss into a training step
`step(state, batch) -> (state, aux)`. Nothing in this file depends on Alpa: each step also runs under jax.jit on one
device.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

# ---- GPT, which predicts the next byte of a text ----


@dataclasses.dataclass(frozen=True)
class Gpt:
    vocabulary: int = 256
    length: int = 64  # bytes per training example
    width: int = 64
    heads: int = 4
    layers: int = 2
    dropout: float = 0.0
    tied: bool = True  # the output layer uses the embedding's weights
    dtype: object = jnp.float32  # type of the computation; parameters stay float32


def init_gpt(config, key):
    c = config
    keys = iter(jax.random.split(key, 4 * c.layers + 3))

    def normal(shape, scale=0.02):
        return scale * jax.random.normal(next(keys), shape, jnp.float32)

    params = {"embedding": normal((c.vocabulary, c.width)), "position": normal((c.length, c.width)), "blocks": []}
    for _ in range(c.layers):
        params["blocks"].append({
            "norm1": _init_norm(c.width),
            "qkv": {"w": normal((c.width, 3, c.heads, c.width // c.heads)),
                    "b": jnp.zeros((3, c.heads, c.width // c.heads))},
            "out": {"w": normal((c.heads, c.width // c.heads, c.width)), "b": jnp.zeros(c.width)},
            "norm2": _init_norm(c.width),
            "up": {"w": normal((c.width, 4 * c.width)), "b": jnp.zeros(4 * c.width)},
            "down": {"w": normal((4 * c.width, c.width)), "b": jnp.zeros(c.width)},
        })
    params["norm"] = _init_norm(c.width)
    if not c.tied:
        params["head"] = normal((c.width, c.vocabulary))
    return params


def gpt_logits(config, params, tokens, key=None):
    """Maps byte values [batch, length] to logits [batch, length, vocabulary]. Applies no dropout if `key` is None."""
    params = _cast(params, config.dtype)
    h = params["embedding"][tokens] + params["position"][:tokens.shape[1]]
    keys = [None] * 2 * config.layers
    if key is not None and config.dropout > 0:
        keys = jax.random.split(key, 2 * config.layers)
    for i, block in enumerate(params["blocks"]):
        h = h + _dropout(config, keys[2 * i], _attention(block, _norm(block["norm1"], h), causal=True))
        h = h + _dropout(config, keys[2 * i + 1], _feed_forward(block, _norm(block["norm2"], h)))
    h = _norm(params["norm"], h)
    head = params["embedding"].T if config.tied else params["head"]
    return (h @ head).astype(jnp.float32)


def gpt_loss(config):
    """Returns the loss function: the mean cross-entropy over all positions."""

    def loss(params, batch, key=None):
        logits = gpt_logits(config, params, batch["x"], key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    return loss


def gpt_masked_loss(config):
    """Returns the loss function: the mean cross-entropy over the positions at which batch["mask"] is 1.

    Examples may differ in the number of these positions.
    """

    def loss(params, batch, key=None):
        logits = gpt_logits(config, params, batch["x"], key)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
        return (losses * batch["mask"]).sum() / batch["mask"].sum()

    return loss


# ---- MLP, which learns a regression ----


@dataclasses.dataclass(frozen=True)
class Mlp:
    inputs: int = 16
    width: int = 64
    layers: int = 3
    outputs: int = 8
    batch_norm: bool = False
    norm_groups: int = 1  # the batch is normalised in this number of groups of examples
    dtype: object = jnp.float32


def init_mlp(config, key):
    sizes = [config.inputs] + [config.width] * config.layers + [config.outputs]
    params = []
    for k, a, b in zip(jax.random.split(key, len(sizes) - 1), sizes, sizes[1:]):
        layer = {"w": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "b": jnp.zeros(b)}
        if config.batch_norm:
            layer |= {"scale": jnp.ones(b), "shift": jnp.zeros(b)}
        params.append(layer)
    return params


def mlp_loss(config):
    """Returns the loss function: the mean squared error."""

    def loss(params, batch, key=None):
        del key
        h = batch["x"].astype(config.dtype)
        params = _cast(params, config.dtype)
        for i, layer in enumerate(params):
            h = h @ layer["w"] + layer["b"]
            if i < len(params) - 1:
                h = jax.nn.gelu(_batch_norm(config, layer, h) if config.batch_norm else h)
        return jnp.mean((h.astype(jnp.float32) - batch["y"]) ** 2)

    return loss


def _batch_norm(config, layer, h):
    parts = h.reshape(config.norm_groups, -1, h.shape[-1])
    mean = parts.mean(1, keepdims=True)
    variance = ((parts - mean) ** 2).mean(1, keepdims=True)
    return ((parts - mean) * jax.lax.rsqrt(variance + 1e-5)).reshape(h.shape) * layer["scale"] + layer["shift"]


# ---- ViT, which classifies images ----


@dataclasses.dataclass(frozen=True)
class Vit:
    size: int = 16  # height and width of an image in pixels
    patch: int = 4
    channels: int = 3
    width: int = 48
    heads: int = 4
    layers: int = 2
    classes: int = 10
    patches_by: str = "reshape"  # "reshape" or "convolution"; both give the same result


def init_vit(config, key):
    c = config
    keys = iter(jax.random.split(key, 4 * c.layers + 4))

    def normal(shape, scale=0.05):
        return scale * jax.random.normal(next(keys), shape, jnp.float32)

    params = {
        "patch": {"w": normal((c.patch, c.patch, c.channels, c.width), 0.1), "b": jnp.zeros(c.width)},
        "class": normal((1, 1, c.width)),
        "position": normal(((c.size // c.patch) ** 2 + 1, c.width)),
        "blocks": [],
    }
    for _ in range(c.layers):
        params["blocks"].append({
            "norm1": _init_norm(c.width),
            "qkv": {"w": normal((c.width, 3, c.heads, c.width // c.heads)),
                    "b": jnp.zeros((3, c.heads, c.width // c.heads))},
            "out": {"w": normal((c.heads, c.width // c.heads, c.width)), "b": jnp.zeros(c.width)},
            "norm2": _init_norm(c.width),
            "up": {"w": normal((c.width, 4 * c.width)), "b": jnp.zeros(4 * c.width)},
            "down": {"w": normal((4 * c.width, c.width)), "b": jnp.zeros(c.width)},
        })
    params["norm"] = _init_norm(c.width)
    params["head"] = {"w": normal((c.width, c.classes)), "b": jnp.zeros(c.classes)}
    return params


def vit_logits(config, params, images):
    """Maps images [batch, size, size, channels] to logits [batch, classes]."""
    c, n = config, config.size // config.patch
    if c.patches_by == "convolution":
        h = jax.lax.conv_general_dilated(images, params["patch"]["w"], (c.patch, c.patch), "VALID",
                                         dimension_numbers=("NHWC", "HWIO", "NHWC")).reshape(-1, n * n, c.width)
    else:
        patches = images.reshape(-1, n, c.patch, n, c.patch, c.channels).transpose(0, 1, 3, 2, 4, 5)
        h = patches.reshape(-1, n * n, c.patch * c.patch * c.channels) @ params["patch"]["w"].reshape(-1, c.width)
    h = h + params["patch"]["b"]
    h = jnp.concatenate([jnp.broadcast_to(params["class"], (h.shape[0], 1, c.width)), h], axis=1) + params["position"]
    for block in params["blocks"]:
        h = h + _attention(block, _norm(block["norm1"], h), causal=False)
        h = h + _feed_forward(block, _norm(block["norm2"], h))
    return _norm(params["norm"], h)[:, 0] @ params["head"]["w"] + params["head"]["b"]


def vit_loss(config):
    """Returns the loss function: the mean cross-entropy."""

    def loss(params, batch, key=None):
        del key
        logits = vit_logits(config, params, batch["x"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    return loss


# ---- Layers and losses that several models use ----


def _init_norm(width):
    return {"scale": jnp.ones(width), "shift": jnp.zeros(width)}


def _norm(p, h):
    """Applies layer normalisation."""
    x = h.astype(jnp.float32)
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return ((x - mean) * jax.lax.rsqrt(variance + 1e-5)).astype(h.dtype) * p["scale"] + p["shift"]


def _attention(block, h, causal):
    q, k, v = jnp.einsum("btd,dchk->cbhtk", h, block["qkv"]["w"]) + block["qkv"]["b"][:, None, :, None, :]
    scores = jnp.einsum("bhtk,bhsk->bhts", q, k).astype(jnp.float32) / q.shape[-1] ** 0.5
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -1e30)
    mixed = jnp.einsum("bhts,bhsk->bthk", jax.nn.softmax(scores).astype(h.dtype), v)
    return jnp.einsum("bthk,hkd->btd", mixed, block["out"]["w"]) + block["out"]["b"]


def _feed_forward(block, h):
    return jax.nn.gelu(h @ block["up"]["w"] + block["up"]["b"]) @ block["down"]["w"] + block["down"]["b"]


def _dropout(config, key, h):
    if key is None:
        return h
    keep = jax.random.bernoulli(key, 1 - config.dropout, h.shape)
    return jnp.where(keep, h / (1 - config.dropout), 0).astype(h.dtype)


def _cast(params, dtype):
    return jax.tree_util.tree_map(lambda x: x.astype(dtype), params)


# ---- Training steps ----


def adamw(peak=1e-3, warmup=10, steps=1000):
    """Returns AdamW with warm-up, cosine decay and clipping by the global norm, as is usual for language models."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, peak, warmup, steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.1))


def start(params, optimizer=None, key=None):
    """Returns the initial state for the steps below. A key is needed only for a loss with dropout."""
    state = {"params": params}
    if optimizer is not None:
        state["opt"] = optimizer.init(params)
    if key is not None:
        state["key"] = key
    return state


def train_step(loss, optimizer, report=True):
    """Returns a step that updates the parameters with an optimizer. aux is {"loss": loss}, or None if not `report`."""

    def step(state, batch):
        state = dict(state)
        key = _next_key(state)
        value, grads = jax.value_and_grad(loss)(state["params"], batch, key)
        updates, state["opt"] = optimizer.update(grads, state["opt"], state["params"])
        state["params"] = optax.apply_updates(state["params"], updates)
        return state, {"loss": value} if report else None

    return step


def sgd_step(loss, rate=0.1):
    """Returns a step of plain gradient descent. aux holds the loss and the gradients."""

    def step(state, batch):
        state = dict(state)
        key = _next_key(state)
        value, grads = jax.value_and_grad(loss)(state["params"], batch, key)
        state["params"] = jax.tree_util.tree_map(lambda p, g: (p - rate * g).astype(p.dtype), state["params"], grads)
        return state, {"loss": value, "grads": grads}

    return step


def flat_step(loss, optimizer):
    """Like train_step(), but returns a step with the signature step(params, opt, x, y) -> (loss, params, opt)."""

    def step(params, opt, x, y):
        value, grads = jax.value_and_grad(loss)(params, {"x": x, "y": y})
        updates, opt = optimizer.update(grads, opt, params)
        return value, optax.apply_updates(params, updates), opt

    return step


def _next_key(state):
    """Splits the key in the state into two keys. Keeps one of them in the state and returns the other one. If the state
    has no key, returns None."""
    if "key" not in state:
        return None
    state["key"], key = jax.random.split(state["key"])
    return key
