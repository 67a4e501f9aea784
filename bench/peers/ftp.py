"""FTP servers, each with curl for single files and with lftp for trees."""

from __future__ import annotations

from pathlib import Path

from bench.measure import Command
from bench.peers.base import About, Peer, tool
from bench.peers.curl import CurlPeer
from bench.setting import Setting, python, script

_ABOUT = About("no", "not measured", "no", "written in place")
_PARALLEL = 4


class CurlFtp(CurlPeer):
    scheme = "ftp"

    def list_folder(self, at: Setting, name: str) -> Command | None:
        return self.curl(at, "-o", "/dev/null", self.url(at, f"{name}/"))


class Lftp(Peer):
    """The client; the server is that of another class."""

    def _say(self, at: Setting, command: str) -> Command:
        settings = (
            "set ftp:ssl-allow no; set net:max-retries 1; set net:timeout 20; set cmd:fail-exit yes"
        )
        words = f"{settings}; open ftp://{at.host}:{at.port}; {command}"
        return Command((tool("lftp"), "--norc", "-c", words), {"LFTP_HOME": str(at.home)})

    def get(self, at: Setting, name: str, dest: Path) -> Command | None:
        return self._say(at, f"get {name} -o {dest}")

    def put(self, at: Setting, source: Path, name: str) -> Command | None:
        return self._say(at, f"put {source} -o {name}")

    def get_tree(self, at: Setting, name: str, into: Path) -> Command | None:
        return self._say(at, f"mirror --parallel={_PARALLEL} {name} {into / Path(name).name}")

    def put_tree(self, at: Setting, source: Path, into: str) -> Command | None:
        return self._say(at, f"mirror -R --parallel={_PARALLEL} {source} {into}/{source.name}")


class _Vsftpd(Peer):
    def configure(self, at: Setting) -> None:
        (at.home / "empty").mkdir(exist_ok=True)
        yes = """listen anonymous_enable write_enable anon_upload_enable anon_mkdir_write_enable
            anon_other_write_enable
            no_anon_password run_as_launching_user allow_writeable_chroot use_sendfile mdtm_write"""
        lines = [f"{word}=YES" for word in yes.split()]
        lines += [
            "background=NO",
            "local_enable=NO",
            "listen_ipv6=NO",
            "seccomp_sandbox=NO",
            "anon_umask=022",
            "xferlog_enable=NO",
        ]
        lines += [
            f"listen_address={at.host}",
            f"listen_port={at.port}",
            f"anon_root={at.root}",
            f"secure_chroot_dir={at.home}/empty",
        ]
        lines += ["ftp_username=root", "max_clients=2000", "max_per_ip=2000"]
        (at.home / "vsftpd.conf").write_text("\n".join(lines) + "\n")

    def server(self, at: Setting) -> Command | None:
        return Command((tool("vsftpd"), f"{at.home}/vsftpd.conf"))


class VsftpdCurl(_Vsftpd, CurlFtp):
    name = "vsftpd + curl"
    about = _ABOUT
    needs = ("vsftpd", "curl")


class VsftpdLftp(_Vsftpd, Lftp):
    name = "vsftpd + lftp"
    about = _ABOUT
    needs = ("vsftpd", "lftp")


class _Pyftpdlib(Peer):
    def server(self, at: Setting) -> Command | None:
        return Command(
            python(
                "-W",
                "ignore",
                "-m",
                "pyftpdlib",
                "-i",
                at.host,
                "-p",
                str(at.port),
                "-w",
                "-d",
                str(at.root),
            )
        )


class PyftpdlibCurl(_Pyftpdlib, CurlFtp):
    name = "pyftpdlib + curl"
    about = _ABOUT
    needs = ("curl",)
    modules = ("pyftpdlib",)


class PyftpdlibLftp(_Pyftpdlib, Lftp):
    name = "pyftpdlib + lftp"
    about = _ABOUT
    needs = ("lftp",)
    modules = ("pyftpdlib",)


class AioftpCurl(CurlFtp):
    name = "aioftp + curl"
    about = _ABOUT
    needs = ("curl",)
    modules = ("aioftp",)

    def server(self, at: Setting) -> Command | None:
        return script("aioftp_server", at.host, str(at.port), str(at.root))
