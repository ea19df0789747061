"""Makes the files that transformers.js loads, from a checkpoint, with ONNX Runtime's model builder: onnx_files.py CHECKPOINT OUT VARIANT

VARIANT is PROVIDER-DTYPE or PROVIDER-DTYPE-last:
  webgpu or wasm  which of ONNX Runtime's two backends the graph is made for; 4-bit embeddings need webgpu, wasm keeps them in float32
  q4 or q4f16     4-bit weights in blocks of 32, activations in float32 or float16
  q8              8-bit weights, one scale a matrix, activations quantised as they come, by the recipe of transformers.js's own script
  last            the output matrix is multiplied for the last position alone; published files multiply it for every one
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

FILES = {"q8": "model_quantized.onnx"}

checkpoint, out = Path(sys.argv[1]), Path(sys.argv[2])
provider, dtype, *last = sys.argv[3].split("-")
options = ["shared_embeddings=false"] if provider == "wasm" else []
if dtype != "q8":
    options += ["int4_block_size=32"]
    options += ["int4_accuracy_level=4"] if provider == "wasm" else ["use_webgpu_fp32=true"] if dtype == "q4" else []
if last:
    options += ["prune_lm_head=true"]

(out / "onnx").mkdir(parents=True, exist_ok=True)
with tempfile.TemporaryDirectory(dir=out) as made, tempfile.TemporaryDirectory(dir=out) as cache:
    builder = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(checkpoint), "-o", made, "-c", cache]
    builder += ["-p", "fp32" if dtype == "q8" else "int4"]
    builder += ["-e", {"wasm": "cpu", "webgpu": "webgpu"}[provider], "--extra_options", *options]
    ran = subprocess.run(builder, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"{' '.join(builder)}\n{ran.stdout}{ran.stderr}")
    whole = Path(made) / "model.onnx"
    if dtype == "q8":
        rules = dict(weight_type=QuantType.QUInt8, extra_options=dict(EnableSubgraph=True, MatMulConstBOnly=True))
        quantize_dynamic(whole, Path(made) / "quantised.onnx", **rules)
        whole = Path(made) / "quantised.onnx"
    model = onnx.load(whole)

# transformers.js makes its empty cache from the declared shapes, and takes a dimension for 0 whose name it does not know.
head = json.loads((checkpoint / "config.json").read_text())["head_dim"]
for value in [*model.graph.input, *model.graph.output]:
    for dimension in value.type.tensor_type.shape.dim:
        if dimension.dim_param == "kv_cache_dim":
            dimension.dim_value = head
for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
    shutil.copy(checkpoint / file, out)
onnx.save(model, out / "onnx" / FILES.get(dtype, f"model_{dtype}.onnx"))
