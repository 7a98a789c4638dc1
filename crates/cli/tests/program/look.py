"""What Pillow sees in pictures, as JSON: python3 look.py PICTURE...

Run by metadata.rs, so that results are judged by other programs than ours. Plain Pillow (9.4 or newer).
"""
import hashlib
import json
import sys

from PIL import Image


def look(path):
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        icc = image.info.get("icc_profile")
        # Of several channels Pillow gives no 16 bits.
        levels = len(set(image.getdata())) if len(image.getbands()) == 1 else None
        return {
            "size": image.size,
            "mode": image.mode,
            "icc": icc and hashlib.sha256(icc).hexdigest(),
            "make": exif.get(0x010F),
            "orientation": exif.get(0x0112),
            "taken": exif.get_ifd(0x8769).get(0x9003),
            "latitude": exif.get_ifd(0x8825).get(1),
            "recipe": getattr(image, "text", {}).get("clarifier"),
            "levels": levels,
        }


print(json.dumps([look(path) for path in sys.argv[1:]]))
