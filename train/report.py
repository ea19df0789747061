"""What a run leaves for the model card, besides its result: files that are whole or not there."""
import json
import os
import platform


def write_text(path, text):
    with open(path + ".tmp", "w", encoding="utf8") as f:
        f.write(text)
    os.replace(path + ".tmp", path)


def write_json(path, value):
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path):
    with open(path, encoding="utf8") as f:
        return json.load(f)


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf8") as f:
            names = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def hardware(device="cpu"):
    import torch

    gpu = torch.cuda.get_device_name(device) if str(device).startswith("cuda") else None
    return {"processor": processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu, "torch": torch.__version__}
