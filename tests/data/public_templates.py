"""Kinds of chat template that public models have, written anew: what is tested is their form, not their text."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Kind:
    """A template with the control tokens it writes, other added tokens, the end of its turns, and what is refused."""

    template: str
    special: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    end: str = "</s>"
    answer: str = ""  # what stands before an answer, as text
    options: dict[str, object] = field(default_factory=dict)
    refused: str = ""


def turns(written, prompt="", *, start="{{ bos_token }}"):
    """Write a template that handles all turns alike."""
    return (
        f"{start}{{% for m in messages %}}{written}{{% endfor %}}{{% if add_generation_prompt %}}{prompt}{{% endif %}}"
    )


def by_role(user, assistant, prompt="", system=None, start="{{ bos_token }}"):
    """Write a template by role; without a form of its own a system turn is refused."""
    own = system or "{{ raise_exception('no system turns') }}"
    body = (
        f"{{% if m.role == 'user' %}}{user}{{% elif m.role == 'assistant' %}}{assistant}"
        f"{{% elif m.role == 'system' %}}{own}{{% endif %}}"
    )
    return turns(body, prompt, start=start)


ALTERNATING = (
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
)
CHATML_TURN = "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
CHATML_PROMPT = "{{ '<|im_start|>assistant\n' }}"
CHATML = {"special": ("<|im_start|>", "<|im_end|>"), "end": "<|im_end|>"}
THINKING = {**CHATML, "added": ("<think>", "</think>")}
INST = "{{ '[INST] ' + m.content + ' [/INST]' }}"


def thinking_turn(*, always):
    """Write ChatML in which an answer has a block of reasoning, empty where there is none."""
    block = "{{ '<think>\n' + (m.reasoning_content or '') + '\n</think>\n\n' }}"
    shown = "loop.last or m.reasoning_content" if always else "m.reasoning_content"
    return (
        "{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and (" + shown + ") %}" + block + "{% endif %}"
        "{{ m.content + '<|im_end|>\n' }}"
    )


KINDS = {
    "chatml": Kind(turns(CHATML_TURN + "{# system #}", CHATML_PROMPT, start=""), **CHATML),
    "chatml with a default system": Kind(
        turns(
            CHATML_TURN,
            CHATML_PROMPT,
            start="{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nBe helpful.<|im_end|>\n' }}{% endif %}",
        ),
        **CHATML,
    ),
    "chatml, trimmed": Kind(
        turns(CHATML_TURN.replace("m.content", "m.content | trim"), CHATML_PROMPT, start=""), **CHATML
    ),
    "chatml with bos": Kind(turns(CHATML_TURN, CHATML_PROMPT), **CHATML),
    "qwen3": Kind(turns(thinking_turn(always=True), CHATML_PROMPT, start=""), answer="<think>\n\n</think>", **THINKING),
    "qwen3, thinking off": Kind(
        turns(
            thinking_turn(always=True),
            CHATML_PROMPT + "{% if enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}",
            start="",
        ),
        options={"enable_thinking": False},
        **THINKING,
    ),
    "qwen3, always thinking": Kind(
        turns(thinking_turn(always=True), "{{ '<|im_start|>assistant\n<think>\n' }}", start=""),
        answer="</think>",
        **THINKING,
    ),
    "qwq": Kind(
        turns(thinking_turn(always=False), "{{ '<|im_start|>assistant\n<think>\n' }}", start=""),
        answer="</think>",
        **THINKING,
    ),
    "smollm3": Kind(
        turns(
            "{{ '<|im_start|>' + m.role + '\n' + ('<think>\n\n</think>\n' if m.role == 'assistant' else '') + m.content"
            " + '<|im_end|>\n' }}",
            "{{ '<|im_start|>assistant\n<think>\n\n</think>\n' }}",
            start="",
        ),
        **THINKING,
    ),
    "deepseek r1": Kind(
        by_role(
            "{{ '<|User|>' + m.content }}",
            "{{ '<|Assistant|>' + (m.content.split('</think>') | last) + eos_token }}",
            "{{ '<|Assistant|><think>\n' }}",
            "{{ m.content }}",
        ),
        ("<|User|>", "<|Assistant|>"),
        ("<think>", "</think>"),
        answer="</think>",
    ),
    "deepseek r1, first form": Kind(
        by_role(
            "{{ '<|User|>' + m.content }}",
            "{{ '<|Assistant|>' + (m.content.split('</think>') | last) + eos_token }}",
            "{{ '<|Assistant|>' }}",
        ),
        ("<|User|>", "<|Assistant|>"),
        ("<think>", "</think>"),
    ),
    "deepseek v3.1": Kind(
        by_role(
            "{{ '<|User|>' + m.content }}",
            "{{ '<|Assistant|></think>' + m.content + eos_token }}",
            "{{ '<|Assistant|></think>' }}",
        ),
        ("<|User|>", "<|Assistant|>"),
        ("<think>", "</think>"),
    ),
    "deepseek v2": Kind(
        by_role(
            "{{ 'User: ' + m.content + '\n\n' }}", "{{ 'Assistant: ' + m.content + eos_token }}", "{{ 'Assistant:' }}"
        )
    ),
    "harmony": Kind(
        by_role(
            "{{ '<|start|>user<|message|>' + m.content + '<|end|>' }}",
            "{% if m.thinking and loop.last %}{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}"
            "{% endif %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + ('<|return|>' if loop.last else '<|end|>') }}",
            "{{ '<|start|>assistant' }}",
            "{{ '<|start|>developer<|message|>' + m.content + '<|end|>' }}",
            start="{{ '<|start|>system<|message|>Be helpful.<|end|>' }}",
        ),
        ("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>"),
        end="<|return|>",
        answer="<|channel|>final<|message|>",
    ),
    "llama 2": Kind(
        by_role(
            "{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}", "{{ ' ' + m.content + ' ' + eos_token }}", start=""
        )
    ),
    "llama 2 with its system": Kind(
        "{% if messages[0].role == 'system' %}{% set s = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
        "{% set messages = messages[1:] %}{% endif %}"
        + turns(
            ALTERNATING
            + "{% if m.role == 'user' %}{{ bos_token + '[INST] ' + (s if loop.first and s else '') + m.content"
            " + ' [/INST]' }}{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}",
            start="",
        )
    ),
    "llama 3": Kind(
        turns(
            "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}{# system #}",
            "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}",
        ),
        end="<|eot_id|>",
    ),
    "llama 3.1": Kind(
        turns(
            "{% if m.role != 'system' %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim"
            " + '<|eot_id|>' }}{% endif %}",
            "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}",
            start="{{ bos_token + '<|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\n' }}"
            "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}{{ '<|eot_id|>' }}",
        ),
        end="<|eot_id|>",
    ),
    "llama 4": Kind(
        turns(
            "{{ '<|header_start|>' + m.role + '<|header_end|>\n\n' + m.content + '<|eot|>' }}{# system #}",
            "{{ '<|header_start|>assistant<|header_end|>\n\n' }}",
        ),
        ("<|header_start|>", "<|header_end|>", "<|eot|>"),
        end="<|eot|>",
    ),
    "mistral v0.1": Kind(by_role(INST, "{{ m.content + eos_token }}")),
    "mistral v1": Kind(by_role(ALTERNATING + INST, "{{ ' ' + m.content + eos_token }}")),
    "mistral v3": Kind(
        by_role("{{ '[INST] ' + m.content + '[/INST]' }}", "{{ ' ' + m.content + eos_token }}"), ("[INST]", "[/INST]")
    ),
    "mistral v7": Kind(
        by_role(
            "{{ '[INST] ' + m.content + '[/INST]' }}",
            "{{ ' ' + m.content + eos_token }}",
            system="{{ '[SYSTEM_PROMPT] ' + m.content + '[/SYSTEM_PROMPT]' }}",
        ),
        ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    ),
    "mistral tekken": Kind(
        by_role(
            "{{ '[INST]' + m.content + '[/INST]' }}",
            "{{ m.content + eos_token }}",
            system="{{ '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}",
        ),
        ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    ),
    "magistral": Kind(
        by_role(
            "{{ '[INST]' + m.content + '[/INST]' }}",
            "{% if m.reasoning_content %}{{ '[THINK]' + m.reasoning_content + '[/THINK]' }}{% endif %}{{ m.content + eos_token }}",
        ),
        ("[INST]", "[/INST]", "[THINK]", "[/THINK]"),
    ),
    "zephyr": Kind(
        turns(
            "{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{# system #}",
            "{{ '<|assistant|>\n' }}",
            start="",
        )
    ),
    "tulu": Kind(
        by_role(
            "{{ '<|user|>\n' + m.content + '\n' }}",
            "{{ '<|assistant|>\n' + m.content + eos_token }}{% if not loop.last %}{{ '\n' }}{% endif %}",
            "{{ '<|assistant|>\n' }}",
            "{{ '<|system|>\n' + m.content + '\n' }}",
        )
    ),
    "olmo 2": Kind(
        by_role(
            "{{ '<|user|>\n' + m.content + '\n' }}",
            "{{ '<|assistant|>\n' + m.content + eos_token }}",
            "{{ '<|assistant|>\n' }}",
        )
    ),
    "gemma": Kind(
        turns(
            "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim"
            " + '<end_of_turn>\n' }}",
            "{{ '<start_of_turn>model\n' }}",
            start="{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system turns') }}{% endif %}",
        ),
        end="<end_of_turn>",
    ),
    "gemma 3": Kind(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
        "{% set messages = messages[1:] %}{% endif %}"
        + turns(
            ALTERNATING + "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n'"
            " + (first if loop.first and first else '') + m.content | trim + '<end_of_turn>\n' }}",
            "{{ '<start_of_turn>model\n' }}",
            start="",
        ),
        end="<end_of_turn>",
    ),
    "phi 3": Kind(
        turns(
            "{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{# system #}", "{{ '<|assistant|>\n' }}", start=""
        ),
        ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
        end="<|end|>",
    ),
    "phi 4": Kind(
        turns(
            "{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}{# system #}",
            "{{ '<|im_start|>assistant<|im_sep|>' }}",
            start="",
        ),
        ("<|im_sep|>",),
        end="<|im_end|>",
    ),
    "vicuna": Kind(
        by_role("{{ 'USER: ' + m.content + ' ' }}", "{{ 'ASSISTANT: ' + m.content + eos_token }}", "{{ 'ASSISTANT:' }}")
    ),
    "alpaca": Kind(
        by_role(
            "{{ '### Instruction:\n' + m.content + '\n\n' }}",
            "{{ '### Response:\n' + m.content + eos_token }}",
            "{{ '### Response:\n' }}",
        )
    ),
    "command r": Kind(
        turns(
            "{{ '<|START_OF_TURN_TOKEN|>' + {'user': '<|USER_TOKEN|>', 'assistant': '<|CHATBOT_TOKEN|>', 'system': '<|SYSTEM_TOKEN|>'}"
            "[m.role] + m.content + '<|END_OF_TURN_TOKEN|>' }}",
            "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}",
        ),
        ("<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
        end="<|END_OF_TURN_TOKEN|>",
    ),
    "command a": Kind(
        turns(
            "{{ '<|START_OF_TURN_TOKEN|>' + ('<|CHATBOT_TOKEN|><|START_RESPONSE|>' + m.content + '<|END_RESPONSE|>' if"
            " m.role == 'assistant' else '<|USER_TOKEN|>' + m.content) + '<|END_OF_TURN_TOKEN|>' }}",
            "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}",
        ),
        (
            "<|START_OF_TURN_TOKEN|>",
            "<|USER_TOKEN|>",
            "<|CHATBOT_TOKEN|>",
            "<|START_RESPONSE|>",
            "<|END_RESPONSE|>",
            "<|END_OF_TURN_TOKEN|>",
        ),
        end="<|END_RESPONSE|>",
        answer="<|START_RESPONSE|>",
    ),
    "granite": Kind(
        turns(
            "{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\n' }}{# system #}",
            "{{ '<|start_of_role|>assistant<|end_of_role|>' }}",
            start="",
        ),
        ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"),
        end="<|end_of_text|>",
    ),
    "starling": Kind(
        turns(
            "{{ 'GPT4 Correct ' + m.role.title() + ': ' + m.content + '<|end_of_turn|>' }}",
            "{{ 'GPT4 Correct Assistant:' }}",
        ),
        end="<|end_of_turn|>",
    ),
    "openchat": Kind(
        turns(
            "{% if m.role == 'system' %}{{ m.content + '<|end_of_turn|>' }}{% else %}{{ 'GPT4 Correct ' + m.role.title() + ': '"
            " + m.content + '<|end_of_turn|>' }}{% endif %}",
            "{{ 'GPT4 Correct Assistant:' }}",
        ),
        end="<|end_of_turn|>",
    ),
    "falcon 3": Kind(
        turns(
            "{{ '<|' + m.role + '|>\n' + m.content + (eos_token if m.role == 'assistant' else '') + '\n' }}{# system #}",
            "{{ '<|assistant|>\n' }}",
            start="",
        )
    ),
    "falcon": Kind(
        by_role(
            "{{ 'User: ' + m.content + '\n' }}", "{{ 'Falcon: ' + m.content + '\n' }}", "{{ 'Falcon:' }}", start=""
        ),
        refused="no end-of-turn token",
    ),
    "exaone": Kind(
        turns(
            "{{ '[|' + m.role + '|]' + m.content + ('\n' if m.role == 'user' else '[|endofturn|]\n') }}{# system #}",
            "{{ '[|assistant|]' }}",
            start="",
        ),
        ("[|user|]", "[|assistant|]", "[|system|]", "[|endofturn|]"),
        end="[|endofturn|]",
    ),
    "nemotron": Kind(
        by_role(
            "{{ '<extra_id_1>User\n' + m.content + '\n' }}",
            "{{ '<extra_id_1>Assistant\n' + m.content + '\n<extra_id_1>' }}",
            "{{ '<extra_id_1>Assistant\n' }}",
            "{{ '<extra_id_0>System\n' + m.content + '\n\n' }}",
            start="",
        ),
        ("<extra_id_0>", "<extra_id_1>"),
        end="<extra_id_1>",
    ),
    "nemotron nano": Kind(
        by_role(
            "{{ '<SPECIAL_11>User\n' + m.content + '\n' }}",
            "{{ '<SPECIAL_11>Assistant\n' + m.content + '\n<SPECIAL_12>\n' }}",
            "{{ '<SPECIAL_11>Assistant\n<think>\n' }}",
            start="",
        ),
        ("<SPECIAL_11>", "<SPECIAL_12>"),
        ("<think>", "</think>"),
        end="<SPECIAL_12>",
        answer="</think>",
    ),
    "minimax m1": Kind(
        by_role(
            "{{ '<beginning_of_sentence>user name=user\n' + m.content + '<end_of_sentence>\n' }}",
            "{{ '<beginning_of_sentence>ai name=assistant\n' + m.content + '<end_of_sentence>\n' }}",
            "{{ '<beginning_of_sentence>ai name=assistant\n' }}",
            start="",
        ),
        ("<beginning_of_sentence>", "<end_of_sentence>"),
        end="<end_of_sentence>",
    ),
    "minimax m2": Kind(
        by_role(
            "{{ ']~b]user\n' + m.content + '[e~[\n' }}",
            "{{ ']~b]ai\n' }}{% if m.reasoning_content %}{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{% endif %}"
            "{{ m.content + '[e~[\n' }}",
            "{{ ']~b]ai\n<think>\n' }}",
            start="{{ ']~!b[' }}",
        ),
        ("]~!b[", "]~b]", "[e~["),
        ("<think>", "</think>"),
        end="[e~[",
        answer="</think>",
    ),
    "glm 4.5": Kind(
        by_role(
            "{{ '<|user|>\n' + m.content }}",
            "{{ '<|assistant|>\n<think></think>\n' + m.content }}",
            "{{ '<|assistant|>' }}",
            start="[gMASK]<sop>",
        ),
        ("[gMASK]", "<sop>", "<|user|>", "<|assistant|>"),
        ("<think>", "</think>"),
        refused="no end-of-turn token",
    ),
    "hunyuan": Kind(
        by_role(
            "{{ '<|hy_User|>' + m.content }}",
            "{{ '<|hy_Assistant|><think>\n\n</think>\n<answer>\n' + m.content + '\n</answer><|hy_eos|>' }}",
            "{{ '<|hy_Assistant|>' }}",
        ),
        ("<|hy_User|>", "<|hy_Assistant|>", "<|hy_eos|>"),
        ("<think>", "</think>", "<answer>", "</answer>"),
        end="</answer>",
        answer="<think>\n\n</think>\n<answer>",
    ),
    "internlm 2": Kind(turns(CHATML_TURN + "{# system #}", CHATML_PROMPT), **CHATML),
    "yi": Kind(turns(CHATML_TURN, CHATML_PROMPT, start=""), **CHATML),
    "solar": Kind(
        by_role(
            "{{ '### User:\n' + m.content + '\n\n' }}",
            "{{ '### Assistant:\n' + m.content + eos_token + '\n\n' }}",
            "{{ '### Assistant:\n' }}",
            "{{ '### System:\n' + m.content + '\n\n' }}",
            start="",
        )
    ),
    "jamba": Kind(
        turns(
            "{{ '<|bom|><|' + m.role + '|> ' + m.content + '<|eom|>' }}{# system #}", "{{ '<|bom|><|assistant|> ' }}"
        ),
        ("<|bom|>", "<|eom|>"),
        end="<|eom|>",
    ),
    "trained and asked in other words": Kind(
        turns("{{ m.role + ': ' + m.content + eos_token }}", "{{ 'answer:' }}"), refused="order dependent"
    ),
}
