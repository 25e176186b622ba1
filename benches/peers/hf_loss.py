#!/usr/bin/env python3
"""The peer: matching and loss of DETR-like detectors, from saved outputs, forward and backward
to the outputs.

    python hf_loss.py make FOLDER [--seed 0]                      # writes one safetensors file per case, with loss and gradients
    python hf_loss.py time FOLDER [--repetitions 50] [--threads 2]  # prints one JSON line per case
Requires torch==2.11.0 transformers==5.17.0 accelerate scipy."""
import argparse, json, statistics, time
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file
from transformers import DetrConfig
from transformers.loss.loss_for_object_detection import ForObjectDetectionLoss

QUERIES = 100
CASES = [(classes, batch, layers) for layers in (1, 6) for classes in (3, 91) for batch in (2, 8)]


def outputs(classes, batch, layers, generator):
    """Random logits, and boxes of which some are close to a target, like early in training."""
    rand = lambda *shape: torch.rand(*shape, generator=generator)
    box = lambda *shape: torch.cat([rand(*shape, 2) * 0.5 + 0.25, rand(*shape, 2) * 0.4 + 0.05], -1)
    counts = torch.randint(6, 19, (batch,), generator=generator)
    total = int(counts.sum())
    labels, targets = torch.randint(classes, (total,), generator=generator), box(total)
    boxes, first = box(layers, batch, QUERIES), 0
    for image, count in enumerate(counts.tolist()):
        near = targets[first:first + count] + 0.02 * rand(layers, count, 4)
        boxes[:, image, :count] = near
        first += count
    logits = torch.randn(layers, batch, QUERIES, classes + 1, generator=generator)
    return {"logits": logits, "boxes": boxes, "class_labels": labels, "target_boxes": targets, "counts": counts}


class Case:
    def __init__(self, tensors):
        self.tensors = tensors
        logits, counts = tensors["logits"], tensors["counts"].tolist()
        split = lambda name: tensors[name].split(counts)
        self.labels = [{"class_labels": c, "boxes": b} for c, b in zip(split("class_labels"), split("target_boxes"))]
        layers, classes = logits.shape[0], logits.shape[-1] - 1
        self.config = DetrConfig(num_labels=classes, auxiliary_loss=layers > 1, decoder_layers=layers)

    def leaves(self):
        """The outputs of each layer as leaf tensors, as if returned by the heads."""
        return [[x.clone().requires_grad_() for x in self.tensors[name]] for name in ("logits", "boxes")]

    def loss(self, logits, boxes):
        return ForObjectDetectionLoss(logits[-1], self.labels, "cpu", boxes[-1], self.config, logits, boxes)[0]


def make(a):
    generator = torch.Generator().manual_seed(a.seed)
    a.folder.mkdir(parents=True, exist_ok=True)
    for classes, batch, layers in CASES:
        tensors = outputs(classes, batch, layers, generator)
        case = Case(tensors)
        logits, boxes = case.leaves()
        loss = case.loss(logits, boxes)
        loss.backward()
        tensors |= {"loss": loss.detach(), "grad_logits": torch.stack([x.grad for x in logits]), "grad_boxes": torch.stack([x.grad for x in boxes])}
        save_file(tensors, a.folder / f"{'1 layer' if layers == 1 else f'{layers} layers'}, {classes} classes, batch {batch}.safetensors")


def timed(a):
    torch.set_num_threads(a.threads)
    for file in sorted(a.folder.glob("*.safetensors")):
        case, times = Case(load_file(file)), []
        for _ in range(a.repetitions + a.repetitions // 5):
            leaves = case.leaves()
            start = time.perf_counter()
            case.loss(*leaves).backward()
            times.append((time.perf_counter() - start) * 1e3)
        print(json.dumps({"case": file.stem, "ms": statistics.median(times[-a.repetitions:])}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("job", choices=["make", "time"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    (make if a.job == "make" else timed)(a)


if __name__ == "__main__":
    main()
