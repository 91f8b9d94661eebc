"""IA3 of peft: one factor for each key, value and inner feature, in place of low-rank matrices."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medtune import LoraSpec, hookimpl
from medtune.plugins.contracts import Adapter, Loaded


class Ia3:
    name = "ia3"

    def attach(self, loaded: Loaded, spec: LoraSpec) -> Loaded:
        import torch
        from peft import IA3Config, get_peft_model, set_peft_model_state_dict
        from safetensors.torch import load_file

        scaled = ["k_proj", "v_proj", "down_proj"]
        config = IA3Config(task_type="CAUSAL_LM", target_modules=scaled, feedforward_modules=["down_proj"])
        model = get_peft_model(loaded.model, config)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32)

        def save(folder: Path) -> None:
            model.save_pretrained(str(folder), safe_serialization=True)

        def load(folder: Path) -> None:
            set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))

        apart = model.disable_adapter
        return replace(loaded, model=model, save_adapter=save, load_adapter=load, base_only=apart)


@hookimpl
def provide_adapters() -> Sequence[Adapter]:
    return [Ia3()]
