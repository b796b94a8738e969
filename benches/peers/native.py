"""Builds the peers and the two small programs for this very machine.

The wheels on PyPI are built for AVX2, which would be no fair opponent on a machine with
AVX-512: both engines are compiled here from the sources inside the distributions that
sources.txt pins, with `GGML_NATIVE=ON`, into FOLDER/NAME/{include,lib}. What is built
already is left alone. For figures of AVX2 alone the wheel of the same version serves.
"""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Where the engine lies in its distribution, what is left out of the build, and how the
# driver learns which of the two it talks to.
ENGINES = {
    "ik": {
        "distribution": "ik-llama-cpp-python",
        "vendored": "vendor/ik_llama.cpp",
        # Flash attention for quantised caches only: the measured cache is F16.
        "options": ["-DGGML_IQK_FA_ALL_QUANTS=OFF"],
        "define": ["-DENGINE_IK"],
    },
    "llama": {
        "distribution": "llama-cpp-python",
        "vendored": "vendor/llama.cpp",
        "options": [
            "-DLLAMA_BUILD_COMMON=OFF",
            "-DLLAMA_BUILD_TOOLS=OFF",
            "-DLLAMA_BUILD_APP=OFF",
            "-DLLAMA_OPENSSL=OFF",
        ],
        "define": [],
    },
}
COMMON_OPTIONS = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    "-DCMAKE_INSTALL_LIBDIR=lib",
    "-DGGML_NATIVE=ON",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
]
DOWNLOAD = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]


def pinned_sources() -> dict[str, str]:
    """Version by distribution."""
    lines = (HERE / "sources.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def run(command: list, **more) -> None:
    command = [str(part) for part in command]
    print("+", *command, flush=True)
    done = subprocess.run(command, **more)
    if done.returncode != 0:
        sys.exit(f"bench-peers: {command[0]} ended with {done.returncode}")


def provide_engine(name: str, folder: Path, jobs: int) -> Path:
    """The prefix that holds headers and libraries of an engine, built if it is missing."""
    prefix = folder / name
    if (prefix / "include/llama.h").exists() and (prefix / "lib/libllama.so").exists():
        return prefix
    engine = ENGINES[name]
    build = folder / f"{name}-build"
    source = unpack(engine["distribution"], build) / engine["vendored"]
    # The tools that pip installed beside this interpreter.
    tools = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    options = [*COMMON_OPTIONS, *engine["options"], f"-DCMAKE_INSTALL_PREFIX={prefix}"]
    made = build / "made"
    run(["cmake", "-S", source, "-B", made, "-G", "Ninja", *options], env=environment)
    # The library and what it needs: the distributions lack files of the programs around it.
    run(["cmake", "--build", made, "--parallel", jobs, "--target", "llama"], env=environment)
    run(["cmake", "--install", made], env=environment)
    return prefix


def unpack(distribution: str, build: Path) -> Path:
    version = pinned_sources()[distribution]
    run([*DOWNLOAD, "--no-binary", distribution, f"{distribution}=={version}", "--dest", build])
    unpacked = f"{distribution.replace('-', '_')}-{version}"
    with tarfile.open(build / f"{unpacked}.tar.gz") as archive:
        archive.extractall(build, filter="data")
    return build / unpacked


def provide_wheel(name: str, folder: Path) -> Path:
    """The same as the project distributes it, compiled for AVX2."""
    prefix = folder / f"{name}-avx2"
    if (prefix / "include/llama.h").exists() and (prefix / "lib/libllama.so").exists():
        return prefix
    engine = ENGINES[name]
    build = folder / f"{name}-avx2-build"
    source = unpack(engine["distribution"], build) / engine["vendored"]
    distribution = engine["distribution"]
    version = pinned_sources()[distribution]
    run([*DOWNLOAD, "--only-binary", distribution, f"{distribution}=={version}", "--dest", build])
    with zipfile.ZipFile(next(build.glob("*.whl"))) as archive:
        archive.extractall(build / "wheel")
    prefix.mkdir(exist_ok=True)
    # What its libraries need lies beside their folder.
    (prefix / "lib").unlink(missing_ok=True)
    (prefix / "lib").symlink_to(next((build / "wheel").rglob("libllama.so")).parent.resolve())
    (prefix / "include").mkdir(exist_ok=True)
    for header in [*(source / "include").glob("*.h"), *(source / "ggml/include").glob("*.h")]:
        (prefix / "include" / header.name).write_bytes(header.read_bytes())
    return prefix


def provide_driver(name: str, prefix: Path, folder: Path) -> Path:
    """The driver, compiled against an engine; again if its source is newer."""
    driver, source = folder / f"driver-{prefix.name}", HERE / "engine_driver.cpp"
    if is_older(driver, source):
        lib = (prefix / "lib").resolve()
        # The old kind of path also serves the libraries that the engine itself needs.
        path = ["-Wl,--disable-new-dtags", f"-Wl,-rpath,{lib}", f"-Wl,-rpath-link,{lib}"]
        libraries = [f"-L{lib}", *path, "-lllama", "-lggml"]
        defines = ENGINES[name]["define"]
        run(["g++", "-O2", "-std=c++17", *defines, f"-I{prefix}/include", source, "-o", driver, *libraries])
    return driver


def provide_bandwidth(folder: Path) -> Path:
    program, source = folder / "read_bandwidth", HERE / "read_bandwidth.cpp"
    if is_older(program, source):
        run(["g++", "-O3", "-march=native", "-std=c++17", "-pthread", source, "-o", program])
    return program


def is_older(program: Path, source: Path) -> bool:
    return not program.exists() or program.stat().st_mtime < source.stat().st_mtime
