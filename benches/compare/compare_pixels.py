"""Compares cvhost's model input pixels with those of transformers' image processors (PIL backend).

    cargo build -p cvhost-data --example decode
    cargo build -p cvhost-image-processor --example process
    python3 benches/compare/compare_pixels.py --programs target/debug/examples IMAGE_OR_FOLDER...

Takes --count evenly spaced images from the given files and folders. They are compared unchanged,
and every second one is also re-encoded as another kind of file: grey, CMYK, 16-bit, palette, RGBA,
rotated by EXIF, progressive. Both programs read the same file. Differences are in units of 1/255 of
the pixels before normalisation. The exit status is 1 if any pixel differs by more than 1, or an
image by more than 0.1 on average.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import transformers
from PIL import Image, ImageOps

MOST, MEAN = 1.0, 0.1
SUFFIXES = {".jpg", ".jpeg", ".png"}

# Name, family name in the example `process`, processor class, non-default options.
PROCESSORS = [
    ("DETR 800/1333", "detr", "DetrImageProcessorPil", {}),
    ("DETR no resize", "detr", "DetrImageProcessorPil", {"do_resize": False}),
    ("YOLOS 800/1333", "yolos", "YolosImageProcessorPil", {}),
    ("RT-DETR 640", "rt_detr", "RTDetrImageProcessorPil", {}),
    ("ViT 224", "vit", "ViTImageProcessorPil", {}),
    ("ConvNeXT 224", "convnext", "ConvNextImageProcessorPil", {"size": {"shortest_edge": 224}}),
    ("SegFormer 512", "segformer", "SegformerImageProcessorPil", {}),
    ("Mask2Former 800/1333", "mask2former", "Mask2FormerImageProcessorPil", {}),
]


def kinds():
    """The ways to re-encode an image: a name, the file's suffix, and a function that writes it."""

    def rotated(orientation):
        def save(image, path):
            tags = Image.Exif()
            tags[274] = orientation
            image.save(path, exif=tags, quality=90)

        return save

    def grey16(image, path):
        # Pillow keeps values up to 255, and maps anything above to white.
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16)).save(path)

    def with_alpha(image, path):
        image.putalpha(image.convert("L"))
        image.save(path, compress_level=1)

    return [
        ("grey JPEG", "jpg", lambda image, path: image.convert("L").save(path, quality=90)),
        ("CMYK JPEG", "jpg", lambda image, path: image.convert("CMYK").save(path, quality=90)),
        ("16-bit PNG", "png", grey16),
        ("palette PNG", "png", lambda image, path: image.quantize(64).save(path)),
        ("RGBA PNG", "png", with_alpha),
        ("JPEG, EXIF rotation 6", "jpg", rotated(6)),
        ("JPEG, EXIF rotation 3", "jpg", rotated(3)),
        ("progressive 4:2:0 JPEG", "jpg", lambda image, path: image.save(path, progressive=True, quality=80)),
    ]


def chosen(places, count):
    found = []
    for place in map(Path, places):
        files = place.rglob("*") if place.is_dir() else [place]
        found += sorted(file for file in files if file.suffix.lower() in SUFFIXES)
    if not found:
        sys.exit(f"no images in {', '.join(places)}; expected files or folders with {', '.join(sorted(SUFFIXES))}")
    step = max(1, len(found) / count)
    return [found[int(i * step)] for i in range(min(count, len(found)))]


def variants(files, folder):
    """(kind, file) of every image, and of every second one re-encoded."""
    images = [("unchanged", file) for file in files]
    ways = kinds()
    for number, file in enumerate(files[::2]):
        name, suffix, save = ways[number % len(ways)]
        target = folder / f"{number}.{suffix}"
        with Image.open(file) as image:
            save(image.convert("RGB"), target)
        images.append((name, target))
    return images


def run(program, arguments, lines):
    done = subprocess.run([program, *arguments], input="".join(f"{line}\n" for line in lines), text=True, capture_output=True)
    answers = done.stdout.splitlines()
    if done.returncode != 0 or len(answers) != len(lines):
        sys.exit(f"{program}: expected {len(lines)} lines of output, got {len(answers)}, exit status {done.returncode}: {done.stderr.strip()}")
    return answers


def opened(images):
    for kind, file in images:
        with Image.open(file) as image:
            yield kind, file, ImageOps.exif_transpose(image).convert("RGB")


class Difference:
    def __init__(self):
        self.images, self.most, self.worst_mean, self.sum = 0, 0.0, 0.0, 0.0
        self.where = ""

    def add(self, ours, theirs, what):
        apart = np.abs(ours - theirs)
        most, mean = float(apart.max()), float(apart.mean(dtype=np.float64))
        if most >= self.most:
            self.most, self.where = most, what
        self.worst_mean = max(self.worst_mean, mean)
        self.sum += mean
        self.images += 1

    def within(self):
        # The tolerance is for float32 rounding of a full 1/255.
        return self.most <= MOST + 1e-3 and self.worst_mean <= MEAN

    def row(self, name):
        verdict = "" if self.within() else f"  TOO LARGE, {self.where}"
        mean = self.sum / max(1, self.images)
        print(f"{name:24} {self.images:>8} {self.most:>9.4f} {self.worst_mean:>11.5f} {mean:>9.5f}{verdict}", flush=True)


def compare_decoding(programs, images, folder):
    lines = [f"{file}\t{folder / f'{i}.rgb'}" for i, (_, file) in enumerate(images)]
    answers = run(programs / "decode", [], lines)
    by_kind, sizes = {}, []
    for i, (answer, (kind, file, image)) in enumerate(zip(answers, opened(images))):
        if answer != f"{image.width} {image.height}":
            sys.exit(f"{file} ({kind}): expected {image.width} {image.height}, got {answer}")
        ours = np.fromfile(folder / f"{i}.rgb", np.uint8).reshape(image.height, image.width, 3)
        difference = by_kind.setdefault(kind, Difference())
        difference.add(ours.astype(np.float32), np.asarray(image).astype(np.float32), str(file))
        sizes.append((image.width, image.height))
    for kind, difference in by_kind.items():
        difference.row(kind)
    return sizes, all(difference.within() for difference in by_kind.values())


def compare_processor(programs, images, sizes, folder, family, class_name, options):
    processor = getattr(transformers, class_name)(**options)
    config = folder / "preprocessor_config.json"
    # Defaults are written like any other option, except for an absent pad size.
    config.write_text(json.dumps({k: v for k, v in json.loads(processor.to_json_string()).items() if v is not None}))
    out = folder / "out.f32"
    difference = Difference()
    program = subprocess.Popen(
        [programs / "process", config, family], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    scale = np.float32(1 / processor.rescale_factor)
    mean, std = np.zeros((3, 1, 1), np.float32), np.ones((3, 1, 1), np.float32)
    if processor.do_normalize:
        mean = np.asarray(processor.image_mean, np.float32).reshape(3, 1, 1)
        std = np.asarray(processor.image_std, np.float32).reshape(3, 1, 1)
    for i, (kind, file, image) in enumerate(opened(images)):
        program.stdin.write(f"{sizes[i][0]}\t{sizes[i][1]}\t{folder / f'{i}.rgb'}\t{out}\n")
        program.stdin.flush()
        answer = program.stdout.readline().split()
        if len(answer) != 2:
            sys.exit(f"{file} ({kind}): the example `process` ended unexpectedly")
        ours = np.fromfile(out, np.float32).reshape(3, *map(int, answer))
        theirs = np.asarray(processor(images=image, return_tensors="np")["pixel_values"][0])
        if ours.shape != theirs.shape:
            sys.exit(f"{file} ({kind}): expected {theirs.shape}, got {ours.shape}")
        difference.add((ours * std + mean) * scale, (theirs * std + mean) * scale, f"{file} ({kind})")
    program.stdin.close()
    program.wait()
    return difference


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", help="image files, and folders to search for them")
    parser.add_argument("--programs", type=Path, default=Path("target/debug/examples"), help="folder of the two examples")
    parser.add_argument("--count", type=int, default=200, help="number of images to compare")
    parser.add_argument("--only", help="compare only processors whose name contains this")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = variants(chosen(arguments.images, arguments.count), folder)
        print(f"{'':24}   images   largest  worst mean      mean   (1/255)")
        sizes, good = compare_decoding(arguments.programs, images, folder)
        for title, family, class_name, options in PROCESSORS:
            if arguments.only and arguments.only.lower() not in title.lower():
                continue
            difference = compare_processor(arguments.programs, images, sizes, folder, family, class_name, options)
            difference.row(title)
            good &= difference.within()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
