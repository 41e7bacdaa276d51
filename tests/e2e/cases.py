"""Defines the models, batches and steps of the tests, and caches their reference results. Two cores are enough to run
the models."""

import functools

import jax
import jax.numpy as jnp
import models
import numpy as np
import optax
import other_models
from compare import Reference

BATCH, STEPS = 32, 10
GPT = models.Gpt(length=16, width=32, heads=4, layers=2)
GPT_DROPOUT = models.Gpt(length=16, width=32, heads=4, layers=2, dropout=0.1)
MLP = models.Mlp()
VIT = models.Vit(width=32)
VIT_CONVOLUTION = models.Vit(width=32, layers=1, patches_by="convolution")
# These models have enough layers for pipelines.
DEEP_GPT = models.Gpt(length=16, width=32, heads=4, layers=4)
DEEP_GPT_UNTIED = models.Gpt(length=16, width=32, heads=4, layers=4, tied=False)
DEEP_MLP = models.Mlp(layers=7)
BERT = models.Gpt(length=16, width=32, heads=4, layers=4, dropout=0.1)
TRANSLATOR = models.Gpt(length=16, width=32, heads=4, layers=2)

_MODELS = {
    "deep_gpt": (DEEP_GPT, models.init_gpt, models.gpt_loss),
    "deep_gpt_untied": (DEEP_GPT_UNTIED, models.init_gpt, models.gpt_loss),
    "scan_gpt": (DEEP_GPT, other_models.init_scan_gpt, other_models.scan_gpt_loss),
    "vector_gpt": (DEEP_GPT, other_models.init_vector_gpt, other_models.vector_gpt_loss),
    "flattened_gpt": (DEEP_GPT, models.init_gpt, models.gpt_loss),
    "bert": (BERT, models.init_gpt, other_models.bert_loss),
    "translator": (TRANSLATOR, other_models.init_translator, other_models.translator_loss),
    "deep_mlp": (DEEP_MLP, models.init_mlp, models.mlp_loss),
    "gpt": (GPT, models.init_gpt, models.gpt_loss),
    "gpt_dropout": (GPT_DROPOUT, models.init_gpt, models.gpt_loss),
    "mlp": (MLP, models.init_mlp, models.mlp_loss),
    "vit": (VIT, models.init_vit, models.vit_loss),
    "vit_convolution": (VIT_CONVOLUTION, models.init_vit, models.vit_loss),
}
NAMES = ("gpt", "gpt_dropout", "mlp", "vit")
DEEP_NAMES = ("deep_gpt", "deep_gpt_untied", "scan_gpt", "vector_gpt", "flattened_gpt", "bert", "translator",
              "deep_mlp")
OPTIMIZERS = ("adamw", "sgd")

# Each layout lists workers, and the total number of devices that a job uses on them.
LAYOUTS = {
    "one": (("single-0",), 1),
    "data2_one_worker": (("pair-0",), 2),
    "data2_two_workers": (("single-0", "single-1"), 2),
    "data4_two_workers": (("pair-0", "pair-1"), 4),
}


def tokens(seed, length=16, batch=BATCH):
    rng = np.random.default_rng(seed)
    text = np.cumsum(rng.integers(0, 3, (batch, length + 1)), 1).astype(np.int32) % 256
    return {"x": text[:, :-1], "y": text[:, 1:]}


def batches_of(name, count=3, batch=BATCH):
    """Returns `count` different batches for the model `name`."""
    if "gpt" in name or name == "bert":
        return [tokens(seed, batch=batch) for seed in range(count)]
    if name == "translator":
        return [{**tokens(seed, batch=batch), "source": tokens(100 + seed, batch=batch)["x"]} for seed in range(count)]
    out = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        if "mlp" in name:
            x = rng.normal(size=(batch, MLP.inputs)).astype(np.float32)
            out.append({"x": x, "y": np.sin(x @ rng.normal(size=(MLP.inputs, MLP.outputs))).astype(np.float32)})
        else:
            x = rng.normal(size=(batch, VIT.size, VIT.size, VIT.channels)).astype(np.float32)
            out.append({"x": x, "y": rng.integers(0, VIT.classes, batch).astype(np.int32)})
    return out


def training(loss, params, optimizer, key=None, flatten=False):
    """Returns (step, state).

    "adamw" is AdamW after gradient clipping. With `flatten`, AdamW stores each moment of all parameters in one vector.
    "sgd" is plain SGD that returns the gradients as aux.
    """
    if optimizer == "adamw":
        adamw = models.adamw(peak=3e-3, warmup=3, steps=100)
        adamw = optax.flatten(adamw) if flatten else adamw
        return models.train_step(loss, adamw), models.start(params, adamw, key)
    return models.sgd_step(loss), models.start(params, None, key)


@functools.cache
def case(name, optimizer, batch=BATCH, steps=STEPS):
    """Returns (step, state, batches, reference) for the model `name`. The reference runs `steps` steps."""
    config, init, loss = _MODELS[name]
    key = jax.random.key(11) if getattr(config, "dropout", 0) else None
    step, state = training(loss(config), init(config, jax.random.key(5)), optimizer, key, name == "flattened_gpt")
    batches = batches_of(name, batch=batch)
    return step, state, batches, Reference(step, state, batches, steps)


def narrow(params):
    return jax.tree_util.tree_map(lambda x: x.astype(jnp.bfloat16), params)
