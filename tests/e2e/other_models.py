"""Defines models whose structure differs from those of examples/models.py. The models here are harder to cut into
stages.

    scan_gpt     The layers run in a scan, and one leaf holds the weights of all layers.
    vector_gpt   One vector holds all parameters.
    bert         Normalisation follows the residual addition, so each layer ends with a normalisation.
    translator   An encoder and a decoder. Each layer of the decoder reads the output of the encoder.
"""

import jax
import jax.flatten_util
import jax.numpy as jnp
import models
import optax


def init_scan_gpt(config, key):
    """Returns the parameters of models.Gpt. Each parameter of the blocks is one leaf, stacked over all blocks."""
    params = models.init_gpt(config, key)
    params["blocks"] = jax.tree_util.tree_map(lambda *leaves: jnp.stack(leaves), *params["blocks"])
    return params


def init_vector_gpt(config, key):
    """Returns the parameters of models.Gpt in one vector."""
    return {"vector": jax.flatten_util.ravel_pytree(models.init_gpt(config, key))[0]}


def vector_gpt_loss(config):
    _, unravel = jax.flatten_util.ravel_pytree(models.init_gpt(config, jax.random.key(0)))
    gpt_loss = models.gpt_loss(config)

    def loss(params, batch, key=None):
        return gpt_loss(unravel(params["vector"]), batch, key)

    return loss


def scan_gpt_loss(config):
    def layer(h, block):
        h = h + models._attention(block, models._norm(block["norm1"], h), causal=True)
        return h + models._feed_forward(block, models._norm(block["norm2"], h)), None

    def loss(params, batch, key=None):
        del key
        h = params["embedding"][batch["x"]] + params["position"][:config.length]
        h, _ = jax.lax.scan(layer, h, params["blocks"])
        logits = models._norm(params["norm"], h) @ params["embedding"].T
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    return loss


def bert_loss(config):
    """Returns the loss function of a BERT-like model. Its parameters are those of models.Gpt. The layers are post-norm
    and use dropout. The attention is not causal."""

    def loss(params, batch, key=None):
        keys = jax.random.split(key, 2 * config.layers)
        h = models._norm(params["norm"], params["embedding"][batch["x"]] + params["position"][:config.length])
        for i, block in enumerate(params["blocks"]):
            mixed = models._attention(block, h, causal=False)
            h = models._norm(block["norm1"], h + models._dropout(config, keys[2 * i], mixed))
            mixed = models._feed_forward(block, h)
            h = models._norm(block["norm2"], h + models._dropout(config, keys[2 * i + 1], mixed))
        logits = h @ params["embedding"].T
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    return loss


def init_translator(config, key):
    """Returns the parameters of an encoder and a decoder. Each of them has config.layers layers."""
    first, second, third = jax.random.split(key, 3)
    params = {"encoder": models.init_gpt(config, first), "decoder": models.init_gpt(config, second)}
    for block, k in zip(params["decoder"]["blocks"], jax.random.split(third, config.layers)):
        block["norm3"] = {"scale": jnp.ones(config.width), "shift": jnp.zeros(config.width)}
        shapes = [(config.width, config.width), (config.width, 2, config.width), (config.width, config.width)]
        block["query"], block["pair"], block["back"] = (
            0.1 * jax.random.normal(part, shape, jnp.float32)
            for part, shape in zip(jax.random.split(k, 3), shapes))
    return params


def translator_loss(config):
    def across(block, h, memory):
        q = models._norm(block["norm3"], h) @ block["query"]
        k, v = jnp.einsum("bsd,dce->cbse", memory, block["pair"])
        return jax.nn.softmax(q @ k.transpose(0, 2, 1) / q.shape[-1] ** 0.5) @ v @ block["back"]

    def loss(params, batch, key=None):
        del key
        encoder, decoder = params["encoder"], params["decoder"]
        memory = encoder["embedding"][batch["source"]] + encoder["position"][:config.length]
        for block in encoder["blocks"]:
            memory = memory + models._attention(block, models._norm(block["norm1"], memory), causal=False)
            memory = memory + models._feed_forward(block, models._norm(block["norm2"], memory))
        memory = models._norm(encoder["norm"], memory)
        h = decoder["embedding"][batch["x"]] + decoder["position"][:config.length]
        for block in decoder["blocks"]:
            h = h + models._attention(block, models._norm(block["norm1"], h), causal=True)
            h = h + across(block, h, memory)
            h = h + models._feed_forward(block, models._norm(block["norm2"], h))
        logits = models._norm(decoder["norm"], h) @ decoder["embedding"].T
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    return loss
