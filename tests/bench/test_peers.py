"""What peers write for their servers, and the commands of their clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.arena import Network
from bench.measure import Command
from bench.peers.all import PEERS, SYNCED_PEERS
from bench.peers.base import Peer
from bench.peers.ftp import VsftpdCurl, VsftpdLftp
from bench.peers.nginx import Nginx
from bench.peers.openssh import Sftp
from bench.peers.rsync import Rsync
from bench.setting import Certificate, Setting

ALL = (*PEERS, *SYNCED_PEERS)


@pytest.fixture
def at(tmp_path: Path) -> Setting:
    home = tmp_path / "home"
    home.mkdir()
    return Setting(tmp_path / "share", home, "127.0.0.1", 9100)


def argv(command: Command | None) -> tuple[str, ...]:
    assert command is not None
    return command.argv


def test_peers_have_names_of_their_own() -> None:
    assert len({peer.name for peer in ALL}) == len(ALL)


@pytest.mark.parametrize("peer", ALL, ids=lambda peer: peer.name)
def test_every_peer_says_what_it_does_and_can_get(peer: Peer, at: Setting) -> None:
    assert all((peer.about.verifies, peer.about.encrypts, peer.about.syncs, peer.about.publishes))
    written = " ".join(argv(peer.get(at, "a-name", at.home / "dest"))) + "".join(
        path.read_text() for path in at.home.iterdir()
    )
    assert "a-name" in written


def test_a_peer_that_is_not_installed_is_named_with_what_it_needs() -> None:
    class Unknown(Peer):
        needs = ("no-such-program",)
        modules = ("no_such_module",)

    assert Unknown().missing() == "not installed: no-such-program, Python module no_such_module"


def test_rsync_serves_the_share_as_who_runs_it(at: Setting) -> None:
    Rsync().configure(at)
    text = (at.home / "rsyncd.conf").read_text()
    assert f"[share]\npath = {at.root}\nread only = no\n" in text and "use chroot = no" in text
    assert argv(Rsync().put_tree(at, Path("/data/tree"), "in"))[-2:] == (
        "/data/tree",
        "rsync://127.0.0.1:9100/share/in/",
    )


def test_nginx_takes_puts_and_keeps_its_temporary_files_at_home(at: Setting) -> None:
    Nginx().configure(at)
    text = (at.home / "nginx.conf").read_text()
    assert "listen 127.0.0.1:9100 backlog=1024;" in text and f"root {at.root};" in text
    assert "dav_methods PUT" in text and f"client_body_temp_path {at.home}/client_body;" in text
    assert (at.home / "client_body").is_dir()
    assert argv(Nginx().get(at, "big", Path("/out/big")))[-1] == "http://127.0.0.1:9100/big"


def test_nginx_encrypts_with_the_certificate_and_curl_trusts_it(at: Setting) -> None:
    secure = Setting(
        at.root, at.home, at.host, at.port, Certificate(Path("/c/cert.pem"), Path("/c/key.pem"))
    )
    Nginx().configure(secure)
    text = (at.home / "nginx.conf").read_text()
    assert (
        "listen 127.0.0.1:9100 ssl" in text
        and "ssl_certificate /c/cert.pem; ssl_certificate_key /c/key.pem;" in text
    )
    words = argv(Nginx().get(secure, "big", Path("/out/big")))
    assert "/c/cert.pem" in words and words[-1] == "https://127.0.0.1:9100/big"


def test_vsftpd_stays_in_the_foreground_and_lets_anyone_write(at: Setting) -> None:
    VsftpdCurl().configure(at)
    lines = (at.home / "vsftpd.conf").read_text().splitlines()
    assert {
        "background=NO",
        "anon_upload_enable=YES",
        "listen_port=9100",
        f"anon_root={at.root}",
    } <= set(lines)
    assert all(line.count("=") == 1 and " " not in line for line in lines)


def test_lftp_mirrors_trees_both_ways(at: Setting) -> None:
    assert argv(VsftpdLftp().get_tree(at, "tree", Path("/out")))[-1].endswith(
        "mirror --parallel=4 tree /out/tree"
    )
    assert argv(VsftpdLftp().put_tree(at, Path("/data/tree"), "in"))[-1].endswith(
        "mirror -R --parallel=4 /data/tree in/tree"
    )


def test_sftp_reads_its_command_from_a_batch(at: Setting) -> None:
    words = argv(Sftp().put(at, Path("/data/big"), "in/big"))
    assert (at.home / "batch").read_text() == f"put /data/big {at.root}/in/big\n" and str(
        at.home / "batch"
    ) in words


def test_many_clients_of_curl_are_one_process(at: Setting) -> None:
    commands = Nginx().get_many(at, "file", 3, Path("/out"))
    assert commands is not None and len(commands) == 1
    assert (
        commands[0].argv.count("http://127.0.0.1:9100/file") == 3 and "/out/3" in commands[0].argv
    )


def test_a_network_puts_its_prefix_before_a_command() -> None:
    network = Network("10.77.0.1", client_prefix=("ip", "netns", "exec", "b"))
    assert Command(("curl", "x"), {"A": "1"}).behind(network.client_prefix) == Command(
        ("ip", "netns", "exec", "b", "curl", "x"), {"A": "1"}
    )
