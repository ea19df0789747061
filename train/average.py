"""The average of calibrations (calibrate.py) that went out from the same start: constants, and directions of the vectors.

What one of them has too much of, by chance, the others have not, so that the average is often better than each.
"""
import argparse

import numpy as np

from report import read_json, write_json
from start import M_DIM, write_vectors


def unit(vectors):
    """M and B of each token made one long"""
    parts = np.split(vectors, [M_DIM], axis=1)
    return np.concatenate([x / np.linalg.norm(x, axis=1, keepdims=True) for x in parts], 1)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("calibrations", nargs="+", help=".json files, their .npz beside them")
    p.add_argument("--out", required=True, help=".json to write, and its .npz")
    a = p.parse_args()
    if not all(name.endswith(".json") for name in [*a.calibrations, a.out]):
        p.error("names of calibrations end in .json")
    constants = [read_json(name)["constants"] for name in a.calibrations]
    if any(c.keys() != constants[0].keys() for c in constants):
        p.error("these calibrations are of different starts: they have other constants")
    arrays = [np.load(name[:-5] + ".npz") for name in a.calibrations]
    write_vectors(a.out[:-5] + ".npz", np.mean([unit(z["vectors"]) for z in arrays], 0), np.mean([z["log_weight"] for z in arrays], 0))
    write_json(a.out, {"constants": {name: float(np.mean([c[name] for c in constants])) for name in constants[0]}, "of": a.calibrations})


if __name__ == "__main__":
    main()
