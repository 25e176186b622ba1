#!/usr/bin/env python3
"""Create 12-megapixel photographs with realistic detail by tiling images of a COCO data set, with
their boxes.

    python large_photos.py IMAGES ANN.json OUT [--count 24] [--width 4032] [--height 3024]
Writes OUT/images/*.jpg and OUT/annotations.json. Requires Pillow."""
import argparse
import json
import os

from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("images")
parser.add_argument("annotations")
parser.add_argument("out")
parser.add_argument("--count", type=int, default=24)
parser.add_argument("--width", type=int, default=4032)
parser.add_argument("--height", type=int, default=3024)
args = parser.parse_args()

with open(args.annotations) as file:
    source = json.load(file)
boxes = {}
for annotation in source["annotations"]:
    boxes.setdefault(annotation["image_id"], []).append(annotation)

os.makedirs(os.path.join(args.out, "images"), exist_ok=True)
images, annotations, taken = [], [], 0
for number in range(args.count):
    canvas = Image.new("RGB", (args.width, args.height))
    y = 0
    while y < args.height:
        x = 0
        row_height = args.height
        while x < args.width:
            entry = source["images"][taken % len(source["images"])]
            taken += 1
            tile = Image.open(os.path.join(args.images, entry["file_name"])).convert("RGB")
            canvas.paste(tile, (x, y))
            for annotation in boxes.get(entry["id"], []):
                left, top, width, height = annotation["bbox"]
                left, top = left + x, top + y
                width, height = min(width, args.width - left), min(height, args.height - top)
                if width > 1 and height > 1:
                    annotations.append({
                        "id": len(annotations) + 1, "image_id": number + 1, "category_id": annotation["category_id"],
                        "bbox": [left, top, width, height], "area": width * height, "iscrowd": 0,
                    })
            x += tile.width
            row_height = min(row_height, tile.height)
        y += row_height
    name = f"large_{number:04}.jpg"
    canvas.save(os.path.join(args.out, "images", name), quality=90)
    images.append({"id": number + 1, "file_name": name, "width": args.width, "height": args.height})
with open(os.path.join(args.out, "annotations.json"), "w") as file:
    json.dump({"images": images, "annotations": annotations, "categories": source["categories"]}, file)
