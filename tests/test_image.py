"""The image, really built from the Dockerfile and really run, without a container engine."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from chart.render import of_kind, rendered
from packaging.utils import canonicalize_name
from tools import ROOT, Process, debian, listening, missing, until

HERE = ROOT / "tests/image"
USER = 65532
SOURCES = ("exporter", "LICENSE", "README.md", "pyproject.toml", "requirements-dev.lock", "requirements.lock")


def done(arguments, **extra):
    """Run a program that must succeed, and return what it printed."""
    finished = subprocess.run(
        [str(argument) for argument in arguments], capture_output=True, text=True, check=False, **extra
    )
    if finished.returncode:
        tail = "\n".join((finished.stdout + finished.stderr).splitlines()[-30:])
        pytest.fail(f"{' '.join(map(str, arguments))} ended with {finished.returncode}:\n{tail}")
    return finished.stdout.strip()


class Store:
    """Where buildah keeps images: outside the tree, since a base takes minutes to make."""

    def __init__(self) -> None:
        cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.folder = cached / "coc-exporter/images"

    def __call__(self, *arguments: str | Path) -> str:
        roots = ["--root", self.folder / "root", "--runroot", self.folder / "run", "--storage-driver", "vfs"]
        return done([debian("buildah"), *roots, *arguments])

    def names(self) -> list[str]:
        return self("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()

    def inspect(self, name: str) -> dict:
        return json.loads(self("inspect", "--type", "image", name))

    def forget(self, *arguments: str) -> None:
        """Remove images, but for those that another run is using."""
        with contextlib.suppress(pytest.fail.Exception):
            self("rmi", *arguments)

    @contextmanager
    def mounted(self, name: str):
        """Yield the folder that holds the image's files."""
        container = self("from", "--pull-never", name)
        try:
            yield Path(self("mount", container))
        finally:
            self("rm", container)


def _digest(*paths: Path) -> str:
    """Return a name for what these files and folders hold."""
    found = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                found.update(f"{file.relative_to(path.parent)}\0".encode() + file.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _installer_settings(folder: Path) -> None:
    """Write how pip reaches its packages from this machine: the same way leads there from a build."""
    etc = folder / "etc"
    etc.mkdir()
    told = done([sys.executable, "-m", "pip", "config", "list"])
    found = dict(re.findall(r"^(?::env:|global)\.([a-z-]+)='(.*)'$", told, re.MULTILINE))
    lines = [f"{key} = {found[key]}" for key in ("index-url", "proxy", "trusted-host", "timeout") if key in found]
    if "cert" in found:
        certificates = etc / "ssl/certs/ca-certificates.crt"
        certificates.parent.mkdir(parents=True)
        certificates.write_bytes(Path(found["cert"]).read_bytes())
        lines.append(f"cert = /{certificates.relative_to(folder)}")
    (etc / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))


@cache
def _built() -> tuple[Store, str, str]:
    """Return the store, the base and the image, built unless they are there already."""
    if os.geteuid():
        missing("an image can be built by root only")
    debian("buildah")
    debian("unshare")
    store = Store()
    store.folder.mkdir(parents=True, exist_ok=True)
    with (store.folder / "lock").open("w") as lock:
        # Tests may run in several processes.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return store, *_made(store)


def _made(store: Store) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as name:
        extra = Path(name) / "extra"
        extra.mkdir()
        _installer_settings(extra)
        base = f"localhost/coc-exporter-base:{_digest(HERE / 'base.sh', extra)}"
        if base not in store.names():
            debian("debootstrap")
            done(["/bin/sh", HERE / "base.sh", base, store.folder, extra])
    inputs = [ROOT / name for name in ("Dockerfile", ".dockerignore", *SOURCES)]
    image = f"localhost/coc-exporter:{_digest(*inputs)}-{base[-8:]}"
    if image not in store.names():
        store(
            *("bud", "--isolation", "chroot", "--pull-never", "--layers=false", "--format", "oci"),
            *("--build-arg", f"BASE_IMAGE={base}", "--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=abc"),
            # By its name: for a last stage that is only another name for it, buildah leaves a container behind.
            *("--build-arg", "CREATED=2026-01-02T03:04:05Z", "--target", "distroless", "--tag", image, ROOT),
        )
    for old in store.names():
        if old.startswith("localhost/coc-exporter") and old not in (base, image):
            store.forget(old)
    store.forget("--prune")
    return base, image


@pytest.fixture(scope="module")
def built():
    return _built()


@pytest.fixture(scope="module")
def config(built) -> dict:
    store, _base, image = built
    return store.inspect(image)["OCIv1"]["config"]


@pytest.fixture(scope="module")
def root(built):
    store, _base, image = built
    with store.mounted(image) as folder:
        yield folder


@contextmanager
def contained(root: Path, config: dict, log: Path, *arguments: str, command: list[str] | None = None):
    """Run the image as a strict cluster would: its own entry point with these arguments, or a command in its place."""
    command = command or [*config["Entrypoint"], *(arguments or config["Cmd"])]
    workdir = config["WorkingDir"]
    process = Process(
        [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", sys.executable, HERE / "contain.py"),
            *(root, config["User"].partition(":")[0], workdir, *command),
        ],
        log,
        env=dict(entry.split("=", 1) for entry in config["Env"]) | {"PATH": f"{_path(config)}:/usr/sbin:/sbin"},
    )
    try:
        yield process
    finally:
        # unshare(1) passes no signal on.
        for child in _children(process):
            os.kill(child, signal.SIGTERM)
        process.stop()


def _children(process: Process) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [
            int(child)
            for child in Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text().split()
        ]
    return []


def _path(config: dict) -> str:
    return dict(entry.split("=", 1) for entry in config["Env"])["PATH"]


def _inner(process: Process) -> Path:
    """Return the folder below /proc of the program that runs in the image."""

    def look():
        for child in _children(process):
            if "coc-exporter" in Path(f"/proc/{child}/cmdline").read_text():
                return Path(f"/proc/{child}")
        return None

    return until(look, "the program in the image")


def _get(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()
    except OSError:
        return None


def test_the_dockerfile_is_clean():
    """hadolint has nothing to say, not even for information."""
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        missing("hadolint is not installed")
    done([hadolint, "--no-color", ROOT / "Dockerfile"])


def test_the_context_holds_what_is_copied_and_nothing_else():
    copied = {
        name.removeprefix("./")
        for line in re.findall(r"^COPY (?!--from)(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        for name in line.split()[:-1]
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert copied == allowed == set(SOURCES)


def test_the_default_base_is_one_exact_tag():
    base = re.search(r"^ARG BASE_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1]
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", base)


def test_what_is_tested_is_what_is_built_by_default():
    stages = re.findall(r"^FROM .+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert stages[-1] == "FROM distroless"


def test_the_image_says_how_it_is_run(config):
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["coc-exporter"]
    assert config["Cmd"] == ["--config.file=/etc/coc-exporter/config.yaml"]
    assert list(config["ExposedPorts"]) == ["10262/tcp"]
    assert "Volumes" not in config
    assert "Healthcheck" not in config


def test_the_image_says_what_it_is(config):
    prefix = "org.opencontainers.image."
    labels = {key.removeprefix(prefix): value for key, value in config["Labels"].items() if key.startswith(prefix)}
    assert set(labels) == {
        *("title", "description", "source", "url", "documentation", "licenses", "vendor", "version", "revision"),
        "created",
    }
    assert all(labels.values())
    assert (labels["version"], labels["revision"], labels["licenses"]) == ("1.2.3", "abc", "Apache-2.0")


FORBIDDEN = re.compile(
    r"/(apt[^/]*|dpkg[^/]*|dselect|rpm|apk|pip[\d.]*|uv|conda|sh|bash|dash|busybox|perl[^/]*|gcc[^/]*|cc|c\+\+|g\+\+|ld"
    r"|as|make|curl|wget|su|sudo|mount|tar|git|ensurepip|setuptools|wheel|_distutils_hack)$"
)


def test_no_installer_compiler_or_shell_is_left(root):
    """Of the package manager only its word on where the files are from is left, for scanners."""
    found = {f"/{path.relative_to(root)}" for path in root.rglob("*")}
    assert not {path for path in found if FORBIDDEN.search(path)} - {"/var/lib/dpkg"}
    assert {path.split("/")[4] for path in found if path.startswith("/var/lib/dpkg/")} == {"status.d"}
    assert {"libc6", "libssl3", "zlib1g"} <= {path.name for path in (root / "var/lib/dpkg/status.d").iterdir()}


def test_nothing_in_it_can_be_changed_by_its_user(root):
    """No file belongs to the user, none is open to everybody but the folder for temporary files, none gives rights."""
    for path in root.rglob("*"):
        facts = path.lstat()
        place = f"/{path.relative_to(root)}"
        assert (facts.st_uid, facts.st_gid) == (0, 0), place
        if not stat.S_ISLNK(facts.st_mode) and place != "/tmp":  # noqa: S108  the image's own
            assert not facts.st_mode & (stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID), place


def test_its_packages_are_those_of_the_lock_file(root):
    """Nothing but the exporter and what is pinned by hash, in the very versions."""
    (site,) = root.glob("opt/coc-exporter/lib/python3*/site-packages")
    installed = {}
    for folder in site.glob("*.dist-info"):
        found = PathDistribution(folder)
        installed[canonicalize_name(found.metadata["Name"])] = found.version
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    version = re.search(r'^__version__ = "(.+)"$', (ROOT / "exporter/__init__.py").read_text(), re.MULTILINE)[1]
    assert installed.pop("coc-exporter") == version
    assert installed.items() <= locked.items()


def test_bytecode_is_there_and_never_out_of_date(root):
    """A file system that nobody writes to cannot get it later."""
    (package,) = root.glob("opt/coc-exporter/lib/python3*/site-packages/exporter")
    for source in package.rglob("*.py"):
        (compiled,) = source.parent.glob(f"__pycache__/{source.stem}.*.pyc")
        assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00", source


def test_what_the_chart_runs_in_it_is_there(root):
    """`helm test` starts Python by its path, and mounts folders where the image has none of its own."""
    chart = ROOT / "helm/coc-exporter/templates"
    (program,) = re.findall(r"- (/opt/\S+)$", (chart / "tests/test-connection.yaml").read_text(), re.MULTILINE)
    # Links in the image lead from the image's root.
    assert (root / str((root / f"{program[1:]}3").readlink()).lstrip("/")).is_file()
    assert not list((root / "etc/coc-exporter").iterdir())


PARTS = {
    "the exporter": r"/opt/.*/site-packages/exporter/",
    "packages of the lock file": r"/opt/",
    "Python": r"/usr/(lib|bin)/python3",
    "libraries": r"/(usr/)?lib",
    "certificates": r"/(etc/ssl|usr/share/ca-certificates)/",
    "programs": r"/(usr/)?s?bin/",
    "everything else": r"/",
}


def _weighed(folder: Path) -> dict[str, int]:
    """Return the bytes of the files in a folder, by part."""
    sizes = dict.fromkeys(PARTS, 0)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            place = f"/{path.relative_to(folder)}"
            sizes[next(part for part, pattern in PARTS.items() if re.match(pattern, place))] += path.stat().st_size
    return sizes


def _table(image: dict[str, int], base: dict[str, int]) -> str:
    rows = [(part, image[part], base[part]) for part in PARTS] + [("all", sum(image.values()), sum(base.values()))]
    return "".join(f"| {part} | {size / 1e6:.1f} | {beside / 1e6:.1f} |\n" for part, size, beside in rows)


def test_it_is_smaller_than_its_base_as_its_page_says(built, root, capsys):
    store, base, _image = built
    sizes = _weighed(root)
    with store.mounted(base) as folder:
        beside = _weighed(folder)
    with capsys.disabled():
        sys.stdout.write(f"\n{_table(sizes, beside)}")
    size = sum(sizes.values())
    assert size < sum(beside.values()) * 0.75
    assert size < 90e6
    assert sizes["programs"] == sizes["everything else"] // 10**6 == 0
    told = re.search(r"^\| all \| ([\d.]+) \| [\d.]+ \|$", (ROOT / "docs/image.md").read_text(), re.MULTILINE)
    assert abs(float(told[1]) - size / 1e6) < 5, "docs/image.md is out of date: the table stands above"


def test_the_demo_runs_without_any_right(root, config, tmp_path):
    """Read-only root, no capability, no way to get one, a user that is only a number: and tickets are served."""
    flags = ("serve", "--demo", "--web.listen-address=127.0.0.1:0")
    with contained(root, config, tmp_path / "log", *flags) as process:
        url = listening(process)
        until(lambda: _get(f"{url}/-/ready"), "the demo is ready")
        page = _get(f"{url}/metrics")
        inner = _inner(process)
        facts = dict(line.split(":\t", 1) for line in (inner / "status").read_text().splitlines())
        root_mount = next(
            line.split() for line in (inner / "mountinfo").read_text().splitlines() if line.split()[4] == "/"
        )
        os.kill(int(inner.name), signal.SIGTERM)
        assert process.popen.wait(15) == 0, process.text()
    assert facts["Uid"].split() == facts["Gid"].split() == [str(USER)] * 4
    assert facts["NSpid"].split()[-1] == "1"
    assert facts["NoNewPrivs"] == "1"
    assert {facts[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert "ro" in root_mount[5].split(",")
    assert re.search(r'^coc_up\{account="demo"\} 1\.0$', page, re.MULTILINE)
    assert re.search(r"^coc_instances\{", page, re.MULTILINE)
    assert re.search(r"^process_open_fds ", page, re.MULTILINE)


def test_without_a_config_it_says_so(root, config, tmp_path):
    """The default command names the file that it misses, and ends with 1."""
    with contained(root, config, tmp_path / "log") as process:
        assert process.popen.wait(30) == 1
    assert "/etc/coc-exporter/config.yaml" in process.text()
    assert "Traceback" not in process.text()


def test_the_charts_pod_runs_in_it_and_the_charts_trial_of_it_passes(root, config, tmp_path):
    """What `helm install` and `helm test` would start, but for the addresses."""
    objects = rendered(ROOT / "helm/coc-exporter/ci/demo-values.yaml")
    (container,) = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    (trial,) = of_kind(objects, "Pod")[0]["spec"]["containers"]
    arguments = [argument.replace("=:10262", "=127.0.0.1:0") for argument in container["args"]]
    with contained(root, config, tmp_path / "log", *arguments) as process:
        url = listening(process)
        until(lambda: _get(f"{url}/-/ready"), "the demo is ready")
        command = [re.sub(r"^http://.*\.svc:10262$", url, argument) for argument in trial["command"]]
        assert url in command
        with contained(root, config, tmp_path / "trial", command=command) as attempt:
            assert attempt.popen.wait(30) == 0, attempt.text()
        assert re.search(r"^/-/healthy 200 .*\n/metrics 200 \d{4,} bytes$", attempt.text(), re.MULTILINE)
        nowhere = [*command[:-1], "/nowhere"]
        with contained(root, config, tmp_path / "nowhere", command=nowhere) as attempt:
            assert attempt.popen.wait(30) == 1
