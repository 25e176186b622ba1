"""Unpacks the libraries and headers of libtorch: unpack_wheels.py WHEELS_FOLDER OUTPUT_FOLDER."""

import pathlib
import re
import shutil
import sys
import zipfile

LIBRARIES = re.compile(r"torch/lib/(lib(?:torch_cpu|c10|shm)\.so|libgomp[^/]*)|nvidia/.*/lib/(lib(?:cudart|cupti)\.so\.13)")
EXPECTED = {"libtorch_cpu.so", "libc10.so", "libgomp", "libshm.so", "libcudart.so.13", "libcupti.so.13"}


def target(name):
    """The output path of a wheel's file, relative to the output folder; None if it isn't needed."""
    library = LIBRARIES.fullmatch(name)
    if library:
        return pathlib.PurePosixPath("lib", library[1] or library[2])
    if name.startswith("torch/include/") and not name.endswith("/") and ".." not in name.split("/"):
        return pathlib.PurePosixPath(name).relative_to("torch")
    return None


def main(wheels, folder):
    missing = set(EXPECTED)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                place = target(name)
                if place is None:
                    continue
                missing -= {place.name, place.name.split(".")[0].split("-")[0]}
                path = folder / place
                path.parent.mkdir(parents=True, exist_ok=True)
                # In chunks, because libtorch_cpu.so is half a gigabyte.
                with archive.open(name) as source, path.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    if missing:
        sys.exit(f"missing from the wheels: {', '.join(sorted(missing))}")


try:
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
except (OSError, zipfile.BadZipFile) as error:
    sys.exit(f"cannot unpack: {error}")
