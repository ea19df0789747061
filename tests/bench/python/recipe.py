"""What a Qwen3 checkpoint with random weights is made of: the published vocabulary and settings, and how each tensor is drawn.

The scales keep the residual stream and the attention about as lively as in a trained model: with smaller ones every document would get the same score.
"""

import zlib

VOCABULARY = 151_669
CONFIG = dict(
    architectures=["Qwen3ForCausalLM"],
    model_type="qwen3",
    vocab_size=VOCABULARY,
    hidden_act="silu",
    attention_bias=False,
    tie_word_embeddings=True,
    rope_theta=1_000_000,
    rms_norm_eps=1e-6,
    max_position_embeddings=40_960,
    torch_dtype="bfloat16",
    bos_token_id=151_643,
    eos_token_id=151_645,
)


def seed(model, tensor):
    """Every tensor has a seed of its own, so the weights are the same whatever is drawn before."""
    return zlib.crc32(f"{model}/{tensor}".encode())


def draw_tensors(config, matrix, norm):
    """Calls matrix(tensor, rows, columns, deviation) and norm(tensor, width, low, high) for every tensor of a model."""
    hidden, inner, head, layers = (config[key] for key in ("hidden_size", "intermediate_size", "head_dim", "num_hidden_layers"))
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    usual = 0.02 * (1024 / hidden) ** 0.5
    residual = (2 * layers) ** -0.5
    matrix("model.embed_tokens", VOCABULARY, hidden, usual)
    if not config["tie_word_embeddings"]:
        matrix("lm_head", VOCABULARY, hidden, usual)
    norm("model.norm", hidden, 2, 4)
    for layer in range(layers):
        at = f"model.layers.{layer}."
        norm(at + "input_layernorm", hidden, 0.8, 1.2)
        norm(at + "post_attention_layernorm", hidden, 0.8, 1.2)
        norm(at + "self_attn.q_norm", head, 1, 2)
        norm(at + "self_attn.k_norm", head, 1, 2)
        matrix(at + "self_attn.q_proj", queries, hidden, usual)
        matrix(at + "self_attn.k_proj", keys, hidden, usual)
        matrix(at + "self_attn.v_proj", keys, hidden, 2 * usual)
        matrix(at + "self_attn.o_proj", hidden, queries, 2 * usual * residual)
        matrix(at + "mlp.gate_proj", inner, hidden, usual)
        matrix(at + "mlp.up_proj", inner, hidden, usual)
        matrix(at + "mlp.down_proj", hidden, inner, usual * residual)
