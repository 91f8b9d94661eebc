"""What is imported when: rows are prepared without torch's compiler, and bitsandbytes comes in by medtune's own door."""

import json
import subprocess
import sys

PREPARE_AND_LOAD = """
import json, sys
from medtune import MedTuner, hookimpl

class Foreign:
    name = "foreign"
    @hookimpl
    def provide_quantizers(self):
        return [self]
    def load(self, model, spec):
        found.append(loaded())
        raise KeyboardInterrupt

def loaded():
    return [name for name in ("bitsandbytes", "torch._dynamo") if name in sys.modules]

found = []
quant = {"backend": "foreign", "scheme": "none"}
tuner = MedTuner.from_bundle("demo", quant=quant, output_dir=sys.argv[1], plugins=[Foreign()])
tuner.preview(2)
from medtune.data.prepare import prepare
from medtune.data.tokenizer import load_tokenizer
prepare(tuner.spec, tuner.host, load_tokenizer(tuner.spec.model))
found.append(loaded())
try:
    tuner.train(quiet=True)
except KeyboardInterrupt:
    print(json.dumps(found))
"""


def test_rows_are_prepared_without_a_compiler_and_bitsandbytes_is_there_before_a_plugin_loads_a_base(tmp_path):
    command = [sys.executable, "-c", PREPARE_AND_LOAD, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    prepared, loading = json.loads(done.stdout.splitlines()[-1])
    assert prepared == []
    assert loading == ["bitsandbytes", "torch._dynamo"]
