"""One peer's surroundings: served folder, configuration folder, address and certificate."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Command, Failed


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate and its key, as PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Setting:
    """All that a peer has to know. `root` is served and has a folder `in` for what is put."""

    root: Path
    home: Path
    host: str
    port: int
    certificate: Certificate | None = None  # encrypt with it

    @property
    def encrypts(self) -> bool:
        return self.certificate is not None


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def make_certificate(folder: Path, hosts: tuple[str, ...] = ("127.0.0.1",)) -> Certificate:
    """Make a key and a certificate for it with openssl.

    Raises:
        Failed: There is no openssl, or it failed.
    """
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    if made.cert.exists():
        return made
    names = ",".join(f"IP:{host}" for host in hosts)
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "30",
    ]
    command += [
        "-subj",
        "/CN=bench",
        "-addext",
        f"subjectAltName={names}",
        "-keyout",
        str(made.key),
        "-out",
        str(made.cert),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(f"cannot make a certificate: {error}") from error
    return made


def program(name: str) -> str | None:
    """Return the path of a program: beside this Python, on the path, or where only root looks."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return str(beside)
    return shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")


def python(*arguments: str) -> tuple[str, ...]:
    """Return the command that runs this Python with the checkout on its path."""
    return (sys.executable, *arguments)


def script(module: str, *arguments: str) -> Command:
    """One of the programs in bench/programs."""
    checkout = str(Path(__file__).parents[1])
    return Command(python("-m", f"bench.programs.{module}", *arguments), {"PYTHONPATH": checkout})
